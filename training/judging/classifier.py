"""A small classifier of the real pictures, trained once per data set and cached.

It judges drawn pictures: how often does it see the class that was asked for? Its recipe is fixed,
so that figures compare; change `RECIPE` when the recipe changes.

Shapes: pictures (B, C, H, W) in [-1, 1]; logits (B, classes).
"""

import os
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.pictures.cache import cache_folder
from training.pictures.data import Pictures

RECIPE = "cnn-32-64-128-v3"
EXTRACTOR = f"classifier {RECIPE}"
_EPOCHS = 8
_BATCH = 128
_PEAK_RATE = 2e-3


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

    def forward(self, x: Tensor) -> Tensor:
        for index, (convolution, norm) in enumerate(
            zip(self.convolutions, self.norms, strict=True)
        ):
            x = F.relu(norm(convolution(x)))
            if index < 2:
                x = F.max_pool2d(x, 2)
        x = self.dropout(F.adaptive_avg_pool2d(x, 4).flatten(1))
        logits: Tensor = self.head(self.dropout(F.relu(self.hidden(x))))
        return logits


def cached_classifier(
    data: Pictures, *, device: torch.device, say: Callable[[str], None]
) -> Classifier:
    """The classifier for this training data, from the cache or trained now."""
    torch.manual_seed(0)  # of its first weights and its dropout
    classifier = Classifier(data.images.shape[1], len(data.classes)).to(device)
    path = cache_folder() / f"classifier-{RECIPE}-{data.fingerprint[:16]}.safetensors"
    if path.is_file():
        classifier.load_state_dict(load_file(path, device=str(device)))
        return classifier.eval()
    say(f"training the classifier ({_EPOCHS} epochs; once, cached as {path})")
    _train(classifier, data, device=device, say=say)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    save_file({k: v.contiguous().cpu() for k, v in classifier.state_dict().items()}, temporary)
    temporary.replace(path)
    return classifier.eval()


@torch.inference_mode()
def predict(classifier: Classifier, images: Tensor) -> Tensor:
    """The most likely class of each picture: (B,) int64."""
    device = next(classifier.parameters()).device
    return torch.cat(
        [classifier(part.to(device)).argmax(1).cpu() for part in torch.split(images, 500)]
    )


def to_pixels(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    """Stored uint8 pictures as (B, C, H, W) float32 in [-1, 1]."""
    return torch.tensor(images).float() / 127.5 - 1


def _train(
    classifier: Classifier, data: Pictures, *, device: torch.device, say: Callable[[str], None]
) -> None:
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=_PEAK_RATE, weight_decay=0.01)
    batches = -(-len(data) // _BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _PEAK_RATE, total_steps=max(_EPOCHS * batches, 2)
    )
    order = np.random.default_rng(0)
    classifier.train()
    for epoch in range(_EPOCHS):
        right = 0
        for chosen in np.array_split(order.permutation(len(data)), batches):
            images = to_pixels(data.images[chosen]).to(device)
            labels = torch.from_numpy(data.labels[chosen]).to(device)
            with torch.autocast(device.type, torch.bfloat16):
                logits = classifier(images)
            loss = F.cross_entropy(logits.float(), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rate.step()
            right += int((logits.argmax(1) == labels).sum())
        say(f"classifier epoch {epoch + 1}/{_EPOCHS}: {right / len(data):.1%} of the training data")
