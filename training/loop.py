"""The training loop (Ho et al. 2020, Algorithm 1), with classes, EMA and exact resume.

Every random choice is a function of (seed, step): the order of the pictures, their timesteps,
noise, flips, dropped labels, and dropout. So a resumed run repeats what an uninterrupted one
would have done, and there is no generator state to save.

Shapes: B pictures of (C, H, W) in [-1, 1].
"""

import hashlib
import math
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from models.checkpoint import (
    RESUME,
    publish,
    read_manifest,
    save_checkpoint,
    steps_of,
    verify,
)
from models.ema import EMA
from models.manifest import Manifest, step_name
from models.prediction import target
from models.unet import UNet
from training.config import Config
from training.data import Pictures
from training.errors import TrainingError
from training.pictures import save_png, strip
from training.progress import Progress

REPORTS = "reports"
_STRIP_ROWS = 10


class Trainer:
    """One run: network, optimizer and EMA at some step, and where its checkpoints go."""

    def __init__(
        self, config: Config, data: Pictures, *, out: Path, device: torch.device, commit: str
    ) -> None:
        self.config, self.data, self.out, self.device = config, data, out, device
        self.commit = commit
        self.step = 0
        torch.manual_seed(config.train.seed)
        shape = config.network.build(
            config.data,
            len(data.classes),
            null_class=config.train.label_dropout > 0 and bool(data.classes),
        )
        self.network = UNet(shape).to(device)
        self.ema = EMA(self.network, decay=config.train.ema_decay)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=config.train.learning_rate,
            betas=(0.9, config.train.beta2),
            weight_decay=config.train.weight_decay,
            fused=True,
        )
        schedule = config.diffusion.build_schedule()
        self._alphas = torch.tensor(schedule.alphas, dtype=torch.float32, device=device)
        self._sigmas = torch.tensor(schedule.sigmas, dtype=torch.float32, device=device)
        self._order = _EpochOrder(len(data), config.train.seed)

    @property
    def folder(self) -> Path:
        """The model's folder: checkpoints, LATEST and reports."""
        return self.out / self.config.name

    def run(self, *, until: int) -> None:
        """Train up to step ``until``; SIGTERM and Ctrl-C save a checkpoint and stop early.

        Raises:
            TrainingError: the loss is no longer a number.
        """
        train = self.config.train
        losses: list[Tensor] = []
        saved = self.step
        with (
            _stop_signals() as stop,
            Progress(start=self.step, until=until, batch_size=train.batch_size) as progress,
        ):
            while self.step < until and not stop.is_set():
                losses.append(self.train_step())
                if self.step % 10 == 0 or self.step == until:
                    loss = float(torch.stack(losses).mean())
                    losses.clear()
                    self._require_finite(loss, saved)
                    progress.update(self.step, loss=loss)
                if self.step % train.report_every == 0 or self.step == until:
                    progress.note(f"strip: {self.report()}")
                if self.step % train.save_every == 0:
                    saved = self.step
                    progress.note(f"checkpoint: {self.save()}")
            if self.step != saved:
                progress.note(f"checkpoint: {self.save()}")
            if stop.is_set():
                progress.note(f"stopped at step {self.step}; go on with --resume")

    def train_step(self) -> Tensor:
        """One optimizer step; returns the detached loss."""
        train, diffusion = self.config.train, self.config.diffusion
        generator = self._generator()
        indices = self._order.batch(self.step, train.batch_size)
        x_0 = torch.from_numpy(self.data.images[indices]).to(self.device).float() / 127.5 - 1
        labels = torch.from_numpy(self.data.labels[indices]).to(self.device)
        rows = len(x_0)

        def uniform() -> Tensor:
            return torch.rand(rows, device=self.device, generator=generator)

        if self.config.data.flip:
            x_0 = torch.where((uniform() < 0.5)[:, None, None, None], x_0.flip(-1), x_0)
        t = torch.randint(diffusion.timesteps, (rows,), device=self.device, generator=generator)
        noise = torch.randn(x_0.shape, device=self.device, generator=generator)
        null_class = self.network.config.null_class
        if null_class is not None:
            labels = torch.where(uniform() < train.label_dropout, null_class, labels)
        classes = labels if self.network.config.num_class_embeds else None

        alpha, sigma = self._alphas[t][:, None, None, None], self._sigmas[t][:, None, None, None]
        x_t = alpha * x_0 + sigma * noise
        with torch.autocast(self.device.type, torch.bfloat16, enabled=train.bf16):
            output = self.network(x_t, t, classes)
        wanted = target(diffusion.prediction, x_0, noise, alpha, sigma)
        loss: Tensor = (output.float() - wanted).square().mean()

        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), train.clip_norm)
        self.optimizer.step()
        self.ema.update(self.network)
        self.step += 1
        return loss.detach()

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to the final rate at ``train.steps``."""
        train = self.config.train
        if step < train.warmup_steps:
            return train.learning_rate * (step + 1) / train.warmup_steps
        done = (step - train.warmup_steps) / max(1, train.steps - train.warmup_steps)
        half_cosine = (1 + math.cos(math.pi * min(1.0, done))) / 2
        span = train.learning_rate - train.final_learning_rate
        return train.final_learning_rate + span * half_cosine

    def report(self) -> Path:
        """Draw the denoising strip of the averaged weights from one fixed noise."""
        diffusion, defaults = self.config.diffusion, self.config.publish.defaults()
        network = UNet(self.network.config).to(self.device).eval()
        self.ema.copy_to(network)
        table = diffusion.build_table(defaults.sampler, defaults.steps)
        classes = len(self.data.classes) if network.config.num_class_embeds else 0
        image = strip(
            network,
            table,
            seeds=torch.arange(_STRIP_ROWS),
            labels=torch.arange(_STRIP_ROWS) % classes if classes else None,
            guidance_scale=defaults.guidance_scale
            if network.config.null_class is not None
            else 1.0,
            clip=diffusion.clip,
        )
        path = self.folder / REPORTS / f"{step_name(self.step)}.png"
        save_png(image, path)
        return path

    def save(self) -> Path:
        """Write a checkpoint, move LATEST to it, and drop all but the newest few."""
        dtype = torch.bfloat16 if self.config.publish.dtype == "bf16" else torch.float32
        train = self.config.train
        manifest = Manifest(
            name=self.config.name,
            step=self.step,
            network=self.network.config,
            diffusion=self.config.diffusion,
            classes=self.data.classes if self.network.config.num_class_embeds else (),
            defaults=self.config.publish.defaults(),
            training={
                "ema": {"decay": train.ema_decay, "updates": self.ema.updates},
                "data": {"pictures": len(self.data), "sha256": self.data.fingerprint},
                "pictures_seen": self.step * train.batch_size,
                "git_commit": self.commit,
                "config": self.config.to_json(),
            },
        )
        folder = save_checkpoint(
            self.out,
            manifest,
            weights={name: value.to(dtype) for name, value in self.ema.weights.items()},
            resume=self._resume_state(),
        )
        publish(self.out, self.config.name, self.step)
        for old in steps_of(self.folder)[: -self.config.publish.keep]:
            shutil.rmtree(self.folder / step_name(old))
        return folder

    def resume(self) -> None:
        """Continue from the newest checkpoint of this name.

        Raises:
            TrainingError: there is none, or it was trained with another network or other data.
            CheckpointError: its resume state is missing or damaged.
        """
        steps = steps_of(self.folder)
        if not steps:
            raise TrainingError(f"{self.folder} has no checkpoint to resume; leave out --resume")
        folder = self.folder / step_name(steps[-1])
        manifest = read_manifest(folder)
        if manifest.network != self.network.config:
            raise TrainingError(
                f"{folder} was trained with another [network]; start afresh with another --name"
            )
        before = manifest.training.get("config", {}).get("train", {})
        for name in ("seed", "batch_size"):
            now = getattr(self.config.train, name)
            if before.get(name, now) != now:
                raise TrainingError(
                    f"{folder} was trained with train.{name} = {before[name]}, not {now}: the "
                    "order of the pictures would change; keep it, or start with another --name"
                )
        if manifest.diffusion != self.config.diffusion:
            raise TrainingError(
                f"{folder} was trained with another [diffusion]; start with another --name"
            )
        fingerprint = manifest.training.get("data", {}).get("sha256")
        if fingerprint != self.data.fingerprint:
            raise TrainingError(f"{folder} was trained on other data; start with another --name")
        verify(folder, manifest, name=RESUME)
        self._load_resume_state(load_file(folder / RESUME))

    def _resume_state(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = {
            "step": torch.tensor(self.step),
            "ema_updates": torch.tensor(self.ema.updates),
        }
        for name, parameter in self.network.named_parameters():
            state[f"network.{name}"] = parameter
            state[f"ema.{name}"] = self.ema.weights[name]
            for key, value in self.optimizer.state[parameter].items():
                state[f"optimizer.{key}.{name}"] = value
        return state

    @torch.no_grad()
    def _load_resume_state(self, state: Mapping[str, Tensor]) -> None:
        self.step = int(state["step"])
        self.ema.updates = int(state["ema_updates"])
        for name, parameter in self.network.named_parameters():
            parameter.copy_(state[f"network.{name}"])
            self.ema.weights[name].copy_(state[f"ema.{name}"])
            self.optimizer.state[parameter] = {
                key: state[f"optimizer.{key}.{name}"].to(self.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }

    def _generator(self) -> torch.Generator:
        text = f"{self.config.train.seed}/{self.step}".encode()
        seed = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
        torch.manual_seed(seed)  # dropout draws from the global generator
        return torch.Generator(self.device).manual_seed(seed)

    def _require_finite(self, loss: float, saved: int) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} by step {self.step}; the last good checkpoint is step "
                f"{saved}; resume with a lower train.learning_rate"
            )


class _EpochOrder:
    """An endless stream of indices: each epoch is its own permutation of the data."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._epochs: dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}

    def batch(self, step: int, size: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Indices of batch ``step``; batches run on across the ends of epochs."""
        positions = np.arange(step * size, (step + 1) * size)
        epochs = positions // self._count
        needed = set(epochs.tolist())
        self._epochs = {
            e: self._epochs[e] if e in self._epochs else self._permutation(e) for e in needed
        }
        return np.concatenate(
            [self._epochs[e][positions[epochs == e] % self._count] for e in sorted(needed)]
        )

    def _permutation(self, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        key = np.random.Philox(key=[self._seed, epoch])
        return np.random.Generator(key).permutation(self._count)


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM or SIGINT sets, so that a run stops between two steps."""
    stop = threading.Event()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {s: signal.signal(s, handle) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
