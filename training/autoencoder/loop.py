"""An autoencoder's training run, and the folder that it keeps.

    <out>/<name>/config.json, diffusion_pytorch_model.safetensors   as diffusers writes: the average
    <out>/<name>/resume.safetensors   what training needs to go on
    <out>/<name>/report.json          PSNR on unseen pictures, the data, the configuration
    <out>/<name>/reports/0000500.png  unseen pictures, and under each what became of it

Every random choice is a function of (seed, step), so a resumed run repeats what an uninterrupted
one would have done.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.autoencoder import Autoencoder, AutoencoderError, new_autoencoder
from models.companions import AUTOENCODER_WEIGHTS, CONFIG
from models.ema import EMA
from models.manifest import step_name
from training.autoencoder.objective import loss, psnr
from training.autoencoder.settings import Settings
from training.encoding.latents import REPORT
from training.errors import TrainingError
from training.pictures.data import Pictures
from training.run.learner import Outcome
from training.run.loader import EpochOrder
from training.run.objective import step_seed
from training.run.progress import Progress
from training.run.stopping import Watch, stop_signals
from training.sheets import grid, save_png

RESUME, REPORTS = "resume.safetensors", "reports"
_SHOWN = 10
_JUDGED = 256  # unseen pictures that PSNR is measured on
_CHECK_EVERY = 10
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class AutoencoderTrainer:
    """One run: a network, its average, and where both are written."""

    def __init__(
        self,
        settings: Settings,
        train: Pictures,
        test: Pictures,
        *,
        out: Path,
        device: torch.device,
    ) -> None:
        self.settings, self.folder = settings, out / settings.name
        self._train, self._test, self._device = train, test, device
        self.step = 0
        self.words = settings.autoencoder.words(settings.data)
        torch.manual_seed(settings.train.seed)
        self.network: Any = self._new()
        self.ema = EMA(self.network, decay=settings.train.ema_decay)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.train.learning_rate, weight_decay=0.0
        )
        self._order = EpochOrder(len(train), settings.train.seed)

    def run(self, *, until: int) -> None:
        """Train up to step ``until``; SIGTERM and Ctrl-C save and stop early.

        Raises:
            TrainingError: the loss is no longer a number.
        """
        train, watch = self.settings.train, Watch(self.step)
        with (
            stop_signals() as stop,
            Progress(start=self.step, until=until, batch_size=train.batch_size) as progress,
        ):
            last = self.step >= until
            while not last:
                watch.add(self.advance())
                last = self.step == until or stop.is_set()
                if self.step % _CHECK_EVERY == 0 or last:
                    progress.update(self.step, loss=watch.check(self.step, None), last=last)
                if self.step % train.report_every == 0 or last:
                    progress.note(f"{self.report()}: PSNR {self.measure():.2f} dB")
                if self.step % train.save_every == 0 or last:
                    self.save()

    def advance(self) -> Outcome:
        """Take one optimizer step."""
        train = self.settings.train
        value = loss(self.network, self._batch(), train, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self.optimizer.step()
        self.ema.update()
        self.step += 1
        return Outcome(value.detach(), norm, torch.zeros(()))

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to zero at ``train.steps``."""
        train = self.settings.train
        if step < train.warmup_steps:
            return train.learning_rate * (step + 1) / train.warmup_steps
        done = (step - train.warmup_steps) / max(1, train.steps - train.warmup_steps)
        return train.learning_rate * (1 + math.cos(math.pi * min(1.0, done))) / 2

    def _batch(self) -> Tensor:
        train = self.settings.train
        indices = self._order.batch(self.step, train.batch_size)
        x = _pixels(self._train, indices).to(self._device)
        if self.settings.data.flip:
            generator = torch.Generator().manual_seed(step_seed(train.seed, self.step, "flip"))
            flip = (torch.rand(len(x), generator=generator) < 0.5).to(self._device)
            x = torch.where(flip[:, None, None, None], x.flip(-1), x)
        return x

    def measure(self) -> float:
        """Mean PSNR of the average's reconstructions of unseen pictures, in dB."""
        average, count = self._average(), min(_JUDGED, len(self._test))
        values = []
        for start in range(0, count, 32):
            x = _pixels(self._test, slice(start, min(start + 32, count))).to(self._device)
            values.append(psnr(average.decode(average.encode(x)), x))
        return float(torch.cat(values).mean())

    def report(self) -> Path:
        """Draw unseen pictures, and under each what the average makes of it."""
        x = _pixels(self._test, slice(0, min(_SHOWN, len(self._test)))).to(self._device)
        average = self._average()
        both = torch.cat([x, average.decode(average.encode(x))])
        path = self.folder / REPORTS / f"{step_name(self.step)}.png"
        save_png(grid(both, columns=len(x), scale=2), path)
        return path

    def save(self) -> Path:
        """Write the folder; each file is replaced whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.folder / CONFIG, lambda path: path.write_text(json.dumps(self.words, indent=2)))
        _write(
            self.folder / AUTOENCODER_WEIGHTS,
            lambda path: save_file(self.ema.weights, path, metadata={"format": "pt"}),
        )
        facts = {
            "step": self.step,
            "psnr": round(self.measure(), 3),
            "judged": min(_JUDGED, len(self._test)),
            "data": self._train.fingerprint,
            "settings": self.settings.to_json(),
        }
        _write(self.folder / REPORT, lambda path: path.write_text(json.dumps(facts, indent=1)))
        _write(self.folder / RESUME, lambda path: save_file(self._state(), path))
        return self.folder

    def resume(self) -> None:
        """Go on from what ``save`` wrote.

        Raises:
            TrainingError: nothing is there, it is damaged, or it was another run.
        """
        path = self.folder / RESUME
        try:
            state, facts = load_file(path), json.loads((self.folder / REPORT).read_bytes())
        except (OSError, SafetensorError, ValueError) as error:
            raise TrainingError(f"{path} cannot be resumed: {error}") from error
        before, now = facts["settings"], json.loads(json.dumps(self.settings.to_json()))
        for section in ("autoencoder", "data"):
            # Only what was known then: a setting that is newer had no other value.
            known = {key: now[section].get(key) for key in before[section]}
            if before[section] != known or facts["data"] != self._train.fingerprint:
                raise TrainingError(
                    f"{self.folder} was trained with another [{section}] or other pictures; start "
                    "afresh with another --name"
                )
        self.step, self.ema.updates = int(state["step"]), int(state["step"])
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(state[f"network.{name}"])
                self.ema.weights[name].copy_(state[f"ema.{name}"])
                self.optimizer.state[parameter] = {
                    key: state[f"{key}.{name}"].clone() for key in _MOMENTS
                }

    def _state(self) -> dict[str, Tensor]:
        state = {"step": torch.tensor(self.step)}
        for name, parameter in self.network.named_parameters():
            state[f"network.{name}"] = parameter.detach()
            state[f"ema.{name}"] = self.ema.weights[name]
            moments = self.optimizer.state[parameter]
            state |= {f"{key}.{name}": moments[key] for key in _MOMENTS}
        return {name: value.cpu().contiguous() for name, value in state.items()}

    def _average(self) -> Autoencoder:
        network = self._new()
        self.ema.copy_to(network)
        return Autoencoder(network)

    def _new(self) -> Any:
        try:
            return new_autoencoder(self.words).to(self._device)
        except AutoencoderError as error:
            raise TrainingError(f"[autoencoder] {error}") from error


def _pixels(data: Pictures, indices: Any) -> Tensor:
    return torch.from_numpy(np.array(data.images[indices])).float() / 127.5 - 1


def _write(path: Path, write: Callable[[Path], object]) -> None:
    part = path.with_name(f".{path.name}.part")
    write(part)
    part.chmod(0o644)
    part.replace(path)
