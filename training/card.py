"""A model's card: `README.md` in the Hugging Face Hub's format, made of the manifest.

The front matter is YAML, in which every JSON value is one. Knows no weights.
"""

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.companions import AUTOENCODER, called
from models.manifest import Manifest, step_name

CARD = "README.md"
PICTURE = "strip.png"
_CLASSES = 50  # that are named
_UNKNOWN = "unknown"  # the Hub's word
_CALLED = {"kernel": "kid"}  # figures by names that people know


def write_card(folder: Path, manifest: Manifest, *, strips: Path, diffusers: bool) -> Path:
    """Write a folder's card, and the newest strip beside it, where there is one.

    Args:
        strips: the folder that has strips, by step.
        diffusers: whether the folder is one that diffusers reads.
    """
    drawn = strips / f"{step_name(manifest.step)}.png"
    paths = sorted(path for path in strips.glob("*.png") if path.name <= drawn.name)
    if paths:
        shutil.copyfile(paths[-1], folder / PICTURE)
    text = to_card(manifest, picture=PICTURE if paths else None, diffusers=diffusers)
    path = folder / CARD
    path.write_text(text, encoding="utf-8")
    return path


def to_card(manifest: Manifest, *, picture: str | None, diffusers: bool) -> str:
    """The card's text; ``picture`` is a file beside it."""
    parts = [
        _front_matter(manifest, diffusers=diffusers),
        f"# {manifest.name}",
        _summary(manifest),
        f"![from noise to pictures]({picture})" if picture else "",
        "## Use\n\n" + _use(manifest, diffusers=diffusers),
        "## Data\n\n" + _data(manifest),
        "## Training\n\n" + _training(manifest),
        "## Figures\n\n" + _figures(manifest),
        "## Licence\n\n" + _licence(manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def licence_of(manifest: Manifest) -> str:
    """What `publish.license` said when it was trained."""
    return str(manifest.training.get("config", {}).get("publish", {}).get("license", _UNKNOWN))


def _front_matter(manifest: Manifest, *, diffusers: bool) -> str:
    task = "text-to-image" if manifest.text else "unconditional-image-generation"
    fields: dict[str, Any] = {
        "license": licence_of(manifest),
        "library_name": "diffusers" if diffusers else "emaki",
        "pipeline_tag": task,
        "tags": ["diffusion", "emaki", *(["class-conditional"] if manifest.classes else [])],
    }
    metrics = headline(manifest.quality)
    if metrics:
        result = {
            "task": {"type": task},
            "dataset": {"name": "unseen pictures of its own data", "type": "custom"},
            "metrics": [{"type": name, "value": value} for name, value in metrics.items()],
        }
        fields["model-index"] = [{"name": manifest.name, "results": [result]}]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def headline(quality: Mapping[str, Any]) -> dict[str, float]:
    """The few figures of a manifest's ``quality`` that are worth a line or a column each."""
    found: dict[str, float] = {}
    agreement = quality.get("class_agreement") or {}
    if "drawn" in agreement:
        found["class agreement"] = agreement["drawn"]
    evaluation = quality.get("evaluation") or {}
    for name, one in (evaluation.get("features") or {}).items():
        for key in ("frechet", "kernel", "precision", "recall"):
            if key in one:
                found[f"{_CALLED.get(key, key)} ({name})"] = one[key]["drawn"]
    return found


def _summary(manifest: Manifest) -> str:
    channels, height, width = manifest.picture_shape
    kind = {1: "grey", 3: "colour", 4: "colour with transparency"}[channels]
    told = "without a class"
    if manifest.classes:
        names = ", ".join(manifest.classes[:_CLASSES])
        more = len(manifest.classes) - _CLASSES
        told = f"of {len(manifest.classes)} classes: {names}"
        told += f" and {more} others" if more > 0 else ""
    if manifest.text:
        told = "from text"
    return f"A diffusion model that draws pictures of {width}x{height} pixels ({kind}) {told}."


def _use(manifest: Manifest, *, diffusers: bool) -> str:
    d = manifest.defaults
    settings = f"Defaults: `{d.sampler}`, {d.steps} steps, guidance {d.guidance_scale:g}."
    if not diffusers:
        words = ""
        if manifest.text and manifest.text.examples:
            words = f" --prompt {shlex.quote(manifest.text.examples[0])}"
        return (
            f"`python -m training sample .{words} --out grid.png` in this folder, or let a worker "
            f"of Emaki serve the one above. {settings}"
        )
    kind = "StableDiffusionPipeline" if manifest.text or manifest.latent else "DDPMPipeline"
    labels = (
        "\n\nIts network wants `class_labels`, which DDPMPipeline does not give: call "
        "`pipeline.unet`, or serve it with Emaki."
        if manifest.classes
        else ""
    )
    return (
        f"```python\nfrom diffusers import {kind}\n\npipeline = {kind}.from_pretrained(FOLDER)\n```"
        f"{labels}\n\n`python -m training convert FOLDER checkpoints/{manifest.name}` makes it "
        f"Emaki's again. {settings}"
    )


def _data(manifest: Manifest) -> str:
    data = manifest.training.get("data", {})
    if not data:
        return "Not known: the weights were converted from elsewhere."
    held_out = data.get("held_out") or 0
    kept = f"{held_out:.0%} more were held out" if held_out else "none were held out of them"
    lines = [
        f"{data.get('pictures')} pictures, made to fit by `{data.get('resize')}`; {kept}, "
        f"{data.get('unreadable', 0)} files could not be read. sha256 of pixels and labels: "
        f"`{data.get('sha256')}`."
    ]
    if data.get("sources"):
        lines.append(f"From {sources_in_words(data['sources'])}.")
    lines += [
        f"After step {change['step']}: {change_in_words(change)}."
        for change in data.get("changes", [])
    ]
    return "\n\n".join(lines)


def sources_in_words(sources: Sequence[Mapping[str, Any]]) -> str:
    """A manifest's data sets; a weight is how often each picture is shown for once of others."""
    return ", ".join(
        one["name"] + ("" if one["weight"] == 1 else f" (weight {one['weight']:g})")
        for one in sources
    )


def change_in_words(change: Mapping[str, Any]) -> str:
    """One entry of a manifest's `training.data.changes`."""
    said = f"{change['added']} pictures added, {change['removed']} removed"
    if change["classes"]:
        said += f", new classes {', '.join(change['classes'])}"
    if "sources_before" in change:
        said += f"; they were from {sources_in_words(change['sources_before'])} before"
    return said


def _training(manifest: Manifest) -> str:
    training = manifest.training
    train = training.get("config", {}).get("train", {})
    diffusion = manifest.diffusion
    lines = [
        f"{diffusion.schedule} schedule of {diffusion.timesteps} timesteps, predicts "
        f"`{diffusion.prediction}`; {manifest.step} steps"
        + (
            f" of {train['batch_size']} pictures, AdamW at {train['learning_rate']:g}, EMA "
            f"{train['ema_decay']:g}"
            if {"batch_size", "learning_rate", "ema_decay"} <= set(train)
            else ""
        )
        + "."
    ]
    lines += _encoders(manifest)
    parents: list[Mapping[str, Any]] = training.get("lineage", [])
    if parents:
        lines.append(
            "Begun from " + ", from ".join(one["model"] for one in reversed(parents)) + "."
        )
    return "\n\n".join(lines)


def _encoders(manifest: Manifest) -> list[str]:
    """What its words and its pictures are to the network, where a run of ours has noted it."""
    config, lines = manifest.training.get("config", {}), []
    if manifest.text and config.get("text"):
        lines.append(
            f"Reads {manifest.text.tokens} tokens of a caption as states of the text encoder "
            f"`{called(config['text']['encoder'])}`."
        )
    if manifest.latent:
        named = config.get("latent") or {"autoencoder": AUTOENCODER}  # a student names none
        height, width = manifest.network.size
        found, how_well = manifest.training.get("reconstruction"), ""
        if found:
            how_well = f" (PSNR {found['psnr']:.1f} dB on {found['pictures']} unseen pictures)"
        lines.append(
            f"Draws latents of {width}x{height}, which the autoencoder "
            f"`{called(named['autoencoder'])}` decodes{how_well}."
        )
    return lines


def _figures(manifest: Manifest) -> str:
    metrics = headline(manifest.quality)
    if not metrics:
        return "None measured yet (`python -m training evaluate`)."
    evaluation = manifest.quality.get("evaluation") or manifest.quality["class_agreement"]
    rows = "\n".join(f"| {name} | {value:g} |" for name, value in metrics.items())
    return (
        f"Measured on {evaluation.get('images')} drawn pictures, {evaluation.get('sampler')}, "
        f"{evaluation.get('steps')} steps.\n\n| figure | value |\n|---|---|\n{rows}"
    )


def _licence(manifest: Manifest) -> str:
    licence = licence_of(manifest)
    if licence == _UNKNOWN:
        return (
            "Not said. Pictures have owners: say under which licence the weights may be used with "
            "`publish.license`, in the Hub's words (`cc-by-4.0`, `apache-2.0`, `other`)."
        )
    return f"`{licence}`."
