"""What a run shows of itself now and then: a strip, what it has learned, and a page of it all."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.autoencoder import preview
from models.ema import EMA
from models.manifest import Manifest, step_name
from models.sample import strip_steps, to_uint8
from models.unet import UNet, UNetConfig
from training.config import Run
from training.judging.neighbours import find_nearest
from training.metrics import read_metrics
from training.pictures.data import Pictures
from training.run.heldout import HeldOut, Measured, copying
from training.run.lesson import Lesson
from training.run.page import write_page
from training.run.scalars import REPORTS, Scalars
from training.run.strips import Strip
from training.sheets import GAP, moments, save_png, scroll

_ROWS = 10
_FRAMES = 9
_NEIGHBOURS_OF = 100_000  # training pictures at most; of more, looking would take too long


class Reporter:
    """Draws and measures the averaged weights.

    Args:
        folder: the model's.
        held_out: measures the loss on both kinds of pictures; None: it is not measured.
    """

    def __init__(
        self,
        config: Run,
        data: Pictures,
        lesson: Lesson,
        *,
        folder: Path,
        device: torch.device,
        held_out: HeldOut | None,
    ) -> None:
        self._config, self._data, self._lesson = config, data, lesson
        self._folder, self._device, self._held_out = folder, device, held_out
        self._said = ""

    def report(
        self,
        step: int,
        manifest: Manifest,
        ema: EMA,
        *,
        scalars: Scalars | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> Path:
        """Draw the strip, from one fixed noise; measure; and write the page.

        Raises:
            OSError: there is no room.
        """
        network = self._averaged(manifest.network, ema)
        sequence = self._moments(network, manifest)
        latent = manifest.latent
        path = self._folder / REPORTS / f"{step_name(step)}.png"
        scale = 2 * latent.size[0] // network.config.size[0] if latent else 2
        show = partial(preview, weights=latent.preview) if latent else None
        save_png(scroll(sequence, scale=scale, show=show), path)
        if scalars is not None:
            scalars.show(step, path)
            self._measure(manifest, network, scalars, say)
            write_page(
                self._folder,
                manifest,
                self._data,
                strip=Strip(path, self._row_names(), self._steps(manifest), gap=GAP * scale),
                nearest=self._nearest(sequence[:, -1]) if latent is None else None,
                warning=self._said,
            )
        return path

    def _averaged(self, shape: UNetConfig, ema: EMA) -> UNet:
        network = UNet(shape).to(self._device).eval()
        ema.copy_to(network)
        return network

    def _moments(self, network: UNet, manifest: Manifest) -> Tensor:
        defaults = manifest.defaults
        inputs = self._lesson.inputs
        null = inputs.null if inputs else None
        guided = network.config.null_class is not None or null is not None
        return moments(
            network,
            manifest.build_table(
                defaults.sampler, defaults.steps, guidance_scale=defaults.guidance_scale
            ),
            seeds=torch.arange(_ROWS),
            labels=self._conditions(),
            null=null,
            guidance_scale=defaults.guidance_scale if guided else 1.0,
            guidance_interval=defaults.guidance_interval,
            clip=self._config.diffusion.clip,
            frames=_FRAMES,
        )

    def _rows(self) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
        """The first classes, or captions from all over; None where there are neither."""
        if self._data.captions:
            return np.linspace(0, len(self._data.captions) - 1, _ROWS).astype(np.int64)
        classes = len(self._data.classes)
        return np.arange(_ROWS) % classes if classes else None

    def _conditions(self) -> Tensor | None:
        rows, inputs = self._rows(), self._lesson.inputs
        if rows is None:
            return None
        return torch.from_numpy(rows) if inputs is None else inputs.conditions(rows)

    def _row_names(self) -> list[str]:
        rows = self._rows()
        names = self._data.captions or self._data.classes
        return [""] * _ROWS if rows is None else [names[row] for row in rows]

    def _steps(self, manifest: Manifest) -> list[str]:
        steps = manifest.defaults.steps
        return [f"{k} of {steps}" for k in strip_steps(steps, _FRAMES)]

    def _measure(
        self, manifest: Manifest, network: UNet, scalars: Scalars, say: Callable[[str], None]
    ) -> None:
        """Note the loss on both kinds of pictures, and say when the network begins to copy."""
        if self._held_out is None:
            return
        step = manifest.step
        found = self._held_out.measure(step, network)
        scalars.note(step, held_out={k: v for k, v in asdict(found).items() if k != "step"})
        held_out = {} if found.unseen is None else {"held_out_loss": found.unseen}
        scalars.add(step, **held_out, training_loss=found.seen)
        # Other pictures have another loss: what was measured on those before says nothing of it.
        changes = manifest.training.get("data", {}).get("changes", [])
        self._said = copying(history(self._folder, after=changes[-1]["step"] if changes else -1))
        if self._said:
            say(f"warning: {self._said}; the nearest training pictures stand in report.html")

    def _nearest(self, drawn: Tensor) -> Tensor | None:
        """(B, 1 + K, C, H, W) uint8: each drawn picture, and the training pictures nearest it."""
        if not 1 < len(self._data) <= _NEIGHBOURS_OF:
            return None
        pixels = to_uint8(drawn).cpu()
        indices = find_nearest(pixels, self._data.images).indices
        theirs = torch.from_numpy(self._data.images[indices.numpy()])
        return torch.cat([pixels[:, None], theirs], dim=1)


def history(folder: Path, *, after: int) -> list[Measured]:
    """What was measured at each report of a run after a step."""
    return [
        Measured(line["step"], **line["held_out"])
        for line in read_metrics(folder)
        if isinstance(line.get("held_out"), dict) and line["step"] > after
    ]
