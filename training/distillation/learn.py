"""`distill tables MODEL --steps K`: learn a table and note it in the model's manifest."""

import argparse
from dataclasses import replace
from pathlib import Path

from models.checkpoint import MANIFEST, load_model, read_manifest, resolve, write_manifest
from models.guidance import check_interval, needs_null_class
from models.manifest import Manifest
from training.config import build_sections, read_toml
from training.devices import pick_device
from training.distillation.tables import Budget, TableLearner
from training.errors import TrainingError
from training.run.progress import Progress
from training.run.stopping import stop_signals

_SAVE_EVERY = 25


def learn(arguments: argparse.Namespace) -> None:
    """Learn a table; SIGTERM and Ctrl-C save and stop early."""
    folder, steps = resolve(arguments.model), arguments.steps
    manifest = read_manifest(folder)
    scale = arguments.guidance_scale
    if scale is None:
        scale = manifest.defaults.guidance_scale
    start, stop = arguments.guidance_interval or manifest.defaults.guidance_interval
    interval = (start, stop)
    _require_learnable(manifest, steps, scale, interval, replacing=arguments.replace)
    raw = read_toml(arguments.config, arguments.set)
    sections = build_sections(arguments.config or "the command line", raw, {"tables": Budget})
    budget: Budget = sections["tables"]
    model = load_model(folder, device=pick_device(arguments.device))
    state = folder.parent / "reports" / f"table-{steps}-{scale:g}.safetensors"

    learner = TableLearner(
        model, steps=steps, guidance_scale=scale, guidance_interval=interval, budget=budget
    )
    plain = learner.held_out()
    if arguments.resume:
        learner.resume(state)
    if not _run(learner, budget, state):
        print(f"stopped at iteration {learner.iteration}; go on with --resume")
        return
    learned = learner.held_out()
    print(
        f"{manifest.version}, {steps} steps, guidance {scale:g}: distance from "
        f"{budget.teacher_steps} steps {plain:.5f} by dpmpp_2m, {learned:.5f} learned"
    )
    if learned >= plain:
        raise TrainingError(
            "the learned table is no better than the solver's own, so it was not kept; give it "
            "more with --set tables.iterations=N or another tables.learning_rate"
        )
    _note(folder, learner)
    state.unlink(missing_ok=True)
    print(f"noted in {folder / MANIFEST}; draw with sampler learned, steps {steps}")


def _run(learner: TableLearner, budget: Budget, state: Path) -> bool:
    """Learn to the end; False if a signal came first."""
    until = budget.iterations
    with (
        stop_signals() as stop,
        Progress(start=learner.iteration, until=until, batch_size=budget.batch) as progress,
    ):
        while learner.iteration < until and not stop.is_set():
            loss = learner.advance()
            ending = learner.iteration == until or stop.is_set()
            progress.update(learner.iteration, loss=loss, last=ending)
            if ending or learner.iteration % _SAVE_EVERY == 0:
                learner.save(state)
    return learner.iteration >= until


def _note(folder: Path, learner: TableLearner) -> None:
    """Write the table into the manifest, in place of one for the same steps and guidance."""
    table, manifest = learner.table(), read_manifest(folder)
    offer = (table.steps, table.guidance_scale)
    others = [t for t in manifest.distilled.tables if (t.steps, t.guidance_scale) != offer]
    tables = sorted([*others, table], key=lambda t: (t.steps, t.guidance_scale))
    distilled = replace(manifest.distilled, tables=tuple(tables))
    write_manifest(folder, replace(manifest, distilled=distilled))


def _require_learnable(
    manifest: Manifest,
    steps: int,
    scale: float,
    interval: tuple[float, float],
    *,
    replacing: bool,
) -> None:
    name, distilled = manifest.version, manifest.distilled
    known = [(table.steps, table.guidance_scale) for table in distilled.tables]
    if (steps, scale) in known and not replacing:
        raise TrainingError(
            f"{name} has a table for {steps} steps at guidance {scale:g}; what was drawn with it "
            "could not be drawn again with another: --replace learns one all the same"
        )
    if distilled.consistency is not None:
        raise TrainingError(f"{name} is a consistency model, which has its own table")
    if not 2 <= steps <= min(50, manifest.diffusion.timesteps):
        raise TrainingError(f"--steps {steps}: tables are learned for 2 to 50 steps")
    if not 0 <= scale <= 20:
        raise TrainingError(f"--guidance-scale {scale:g} is not in 0 ... 20")
    try:
        check_interval("--guidance-interval", interval)
    except ValueError as error:
        raise TrainingError(str(error)) from error
    if distilled.guidance is not None and scale != 1:
        raise TrainingError(
            f"--guidance-scale {scale:g}: the weights of {name} hold guidance of "
            f"{distilled.guidance.scale:g} and take no other; use 1"
        )
    if manifest.classes and manifest.null_class is None and needs_null_class(scale):
        raise TrainingError(f"--guidance-scale {scale:g} needs a null class; {name} lacks one")
