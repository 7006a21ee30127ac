"""A small classifier of pictures, trained the same way every time.

Of a data set's own pictures, trained once and cached, it judges drawn ones: how often does it see
the class that was asked for, and how do its features differ? The recipe is fixed, so that figures
compare; change `RECIPE` when it changes. It has a seed of its own and trains at one thread, so that
neither who calls nor how many cores there are changes a bit of it.

Shapes: pictures (B, C, H, W) uint8; logits (B, classes).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.arithmetic import in_bfloat16
from training.pictures.cache import cache_folder
from training.pictures.data import Pictures

RECIPE = "cnn-32-64-128-v4"
EXTRACTOR = f"classifier {RECIPE}"
_EPOCHS = 8
_BATCH = 128
_PEAK_RATE = 2e-3
_AT_ONCE = 500


class Classifier(nn.Module):
    """Three convolutions, each at half the resolution of the one before, and two linear layers."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        widths = (channels, 32, 64, 128)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.dropout = nn.Dropout(0.4)
        self.hidden = nn.Linear(widths[-1] * 16, 256)
        self.head = nn.Linear(256, classes)

    def features(self, x: Tensor) -> Tensor:
        """(B, 256): what the last layer sees, after its ReLU."""
        for index, (convolution, norm) in enumerate(
            zip(self.convolutions, self.norms, strict=True)
        ):
            x = F.relu(norm(convolution(x)))
            if index < 2:
                x = F.max_pool2d(x, 2)
        x = self.dropout(F.adaptive_avg_pool2d(x, 4).flatten(1))
        return F.relu(self.hidden(x))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.features(x)))
        return logits


def cached_classifier(
    data: Pictures, *, device: torch.device, say: Callable[[str], None]
) -> Classifier:
    """The classifier for this training data, from the cache or trained now."""
    path = cache_folder() / f"classifier-{RECIPE}-{data.fingerprint[:16]}.safetensors"
    if path.is_file():
        classifier = _untrained(data.images.shape[1], len(data.classes), device)
        classifier.load_state_dict(load_file(path))
        return classifier.eval()
    say(f"training the classifier ({_EPOCHS} epochs; once, cached as {path})")
    classifier = train_classifier(
        data.images, data.labels, classes=len(data.classes), device=device, say=say
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    save_file({k: v.contiguous().cpu() for k, v in classifier.state_dict().items()}, temporary)
    temporary.replace(path)
    return classifier


def train_classifier(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    *,
    classes: int,
    device: torch.device,
    say: Callable[[str], None],
    epochs: int = _EPOCHS,
    seed: int = 0,
) -> Classifier:
    """A classifier of these pictures, ready to judge others."""
    with _repeatable(seed, device):
        classifier = _untrained(images.shape[1], classes, device)
        _train(classifier, images, labels, epochs=epochs, seed=seed, say=say)
    return classifier.eval()


@torch.inference_mode()
def predict(classifier: Classifier, images: Tensor) -> Tensor:
    """The most likely class of each picture, uint8: (B,) int64."""
    device = next(classifier.parameters()).device
    return torch.cat(
        [
            classifier(to_pixels(part).to(device)).argmax(1).cpu()
            for part in torch.split(images, _AT_ONCE)
        ]
    )


def to_pixels(images: Tensor) -> Tensor:
    """Stored uint8 pictures as float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def _untrained(channels: int, classes: int, device: torch.device) -> Classifier:
    # Channels last: it trains in two thirds of the time, and judges in the order it trained in.
    classifier = Classifier(channels, classes)
    return classifier.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@contextmanager
def _repeatable(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers from ``seed`` and one thread inside; outside, everything as it was."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # of first weights and dropout
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _train(
    classifier: Classifier,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    *,
    epochs: int,
    seed: int,
    say: Callable[[str], None],
) -> None:
    device = next(classifier.parameters()).device
    optimizer = torch.optim.AdamW(
        classifier.parameters(), lr=_PEAK_RATE, weight_decay=0.01, fused=True
    )
    batches = -(-len(images) // _BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _PEAK_RATE, total_steps=max(epochs * batches, 2)
    )
    order = np.random.default_rng(seed)
    classifier.train()
    for epoch in range(epochs):
        right = 0
        for chosen in np.array_split(order.permutation(len(images)), batches):
            pictures = to_pixels(torch.tensor(images[chosen]))
            pictures = pictures.to(device=device, memory_format=torch.channels_last)
            wanted = torch.from_numpy(labels[chosen]).to(device)
            with in_bfloat16(device):
                logits = classifier(pictures)
            loss = F.cross_entropy(logits.float(), wanted)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rate.step()
            right += int((logits.argmax(1) == wanted).sum())
        say(
            f"classifier epoch {epoch + 1}/{epochs}: {right / len(images):.1%} of what it trains on"
        )
