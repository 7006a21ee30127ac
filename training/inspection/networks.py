"""A network level by level: channels, resolution, parameters, and the memory it trains in.

Activation memory is measured, not estimated: what autograd keeps for one picture's backward pass
in float32, each tensor counted once, where it is first kept. A batch keeps that many times as
much, bf16 autocast half (on CPU). The optimizer's and the parameters' own memory come on top.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor, nn

from models.checkpoint import read_manifest, resolve
from models.unet import UNet, UNetConfig
from training.charts import grouped_bars, panels, to_image
from training.config import load_config
from training.encoding.inputs import network_shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MIB = 2**20
_TOKENS = 24  # of the text that a network with text is shown


@dataclass(frozen=True)
class Level:
    """One part of the network.

    Attributes:
        size: (height, width) in pixels.
        activation_bytes: kept for the backward pass of one picture, float32.
    """

    name: str
    channels: int
    size: tuple[int, int]
    attention: bool
    parameters: int
    activation_bytes: int


@dataclass(frozen=True)
class Inspected:
    """A network's levels in the order in which a picture passes them."""

    name: str
    levels: tuple[Level, ...]

    @property
    def parameters(self) -> int:
        return sum(level.parameters for level in self.levels)

    @property
    def activation_bytes(self) -> int:
        return sum(level.activation_bytes for level in self.levels)

    def to_json(self) -> dict[str, Any]:
        """Plain data: the levels and their total."""
        return {
            "name": self.name,
            "levels": [{**vars(level), "size": list(level.size)} for level in self.levels],
            "total": {
                "parameters": self.parameters,
                "activation_bytes": self.activation_bytes,
            },
        }


def read_network(path: Path, *, classes: int | None = None) -> tuple[str, UNetConfig]:
    """The name and shape of a training configuration's or a checkpoint's network.

    Args:
        path: a TOML file, a checkpoint folder or a model folder.
        classes: of the data, where a configuration does not name them.

    Raises:
        TrainingError, CheckpointError: it cannot be read.
    """
    if path.is_dir():
        manifest = read_manifest(resolve(path))
        return manifest.version, manifest.network
    config = load_config(path)
    count = len(config.data.class_names) if classes is None else classes
    return config.name, network_shape(config, count)


def inspect_network(name: str, config: UNetConfig) -> Inspected:
    """Build a network with random weights and watch one picture pass through it."""
    network = UNet(config)
    last = len(config.block_channels) - 1
    where: list[tuple[str, int, list[nn.Module | None]]] = [
        ("in", 0, [network.conv_in, network.time_embedding, network.class_embedding])
    ]
    where += [(f"down {level}", level, [network.down_blocks[level]]) for level in range(last + 1)]
    where += [("mid", last, [network.mid_block])]
    where += [
        (f"up {level}", level, [network.up_blocks[last - level]])
        for level in reversed(range(last + 1))
    ]
    where += [("out", 0, [network.conv_norm_out, network.conv_out])]
    parts = {name: [part for part in modules if part is not None] for name, _, modules in where}
    kept = _kept_bytes(network, parts)
    levels = []
    for part, level, _ in where:
        attention = config.mid_attention if part == "mid" else config.attention_levels[level]
        height, width = (side // 2**level for side in config.size)
        levels.append(
            Level(
                name=part,
                channels=config.block_channels[level],
                size=(height, width),
                attention=attention and part not in ("in", "out"),
                parameters=sum(p.numel() for m in parts[part] for p in m.parameters()),
                activation_bytes=kept[part],
            )
        )
    return Inspected(name, tuple(levels))


def _kept_bytes(network: UNet, parts: dict[str, list[nn.Module]]) -> dict[str, int]:
    """Bytes that autograd keeps in each part for one picture, parameters left out."""
    config, present = network.config, "in"
    kept = dict.fromkeys(parts, 0)
    parameters = {p.untyped_storage().data_ptr() for p in network.parameters()}
    seen: dict[int, Tensor] = {}  # holding them keeps their addresses from being used again

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters and storage.data_ptr() not in seen:
            seen[storage.data_ptr()] = tensor
            kept[present] += storage.nbytes()
        return tensor

    def enter(name: str) -> None:
        nonlocal present
        present = name

    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: enter(name))
        for name, modules in parts.items()
        for module in modules
    ]
    rows = 2  # of a single picture some views are kept where any batch needs a copy
    labels = torch.zeros(rows, dtype=torch.int64) if config.num_class_embeds else None
    if config.text is not None:
        labels = torch.zeros(rows, _TOKENS, config.text.width)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.zeros(rows, config.channels, *config.size), torch.zeros(rows), labels)
    for hook in hooks:
        hook.remove()
    return {name: total // rows for name, total in kept.items()}


def to_json(networks: Sequence[Inspected]) -> dict[str, Any]:
    """One network as it is; two as ``{"a": ..., "b": ...}``."""
    if len(networks) == 1:
        return networks[0].to_json()
    return {key: one.to_json() for key, one in zip("ab", networks, strict=True)}


def to_table(networks: Sequence[Inspected]) -> str:
    """The levels for people, two networks side by side."""
    empty = " " * len(_row(networks[0].levels[0]))
    lines = ["  |  ".join(f"{one.name[: len(empty)]:<{len(empty)}}" for one in networks)]
    head = (
        f"{'level':<7} {'channels':>8} {'pixels':>9} {'attention':>9} {'parameters':>12} {'MiB':>8}"
    )
    lines.append("  |  ".join(head for _ in networks))
    lines += [
        "  |  ".join(empty if level is None else _row(level) for level in levels)
        for levels in zip_longest(*(one.levels for one in networks))
    ]
    totals = [
        f"{'total':<36} {one.parameters:>12,} {one.activation_bytes / _MIB:>8.2f}"
        for one in networks
    ]
    lines.append("  |  ".join(totals))
    lines.append("MiB: activations kept for one picture's backward pass, float32")
    return "\n".join(line.rstrip() for line in lines)


def _row(level: Level) -> str:
    pixels = f"{level.size[0]}x{level.size[1]}"
    attention = "yes" if level.attention else "-"
    return (
        f"{level.name:<7} {level.channels:>8} {pixels:>9} {attention:>9} "
        f"{level.parameters:>12,} {level.activation_bytes / _MIB:>8.2f}"
    )


def to_plot(networks: Sequence[Inspected]) -> Image.Image:
    """Parameters and activation memory per level."""
    figure, (parameters, memory) = panels(2)
    names = [level.name for level in max((one.levels for one in networks), key=len)]

    def bars(axes: "Axes", measure: Callable[[Level], float]) -> None:
        groups = {}
        for letter, one in zip("AB", networks, strict=False):
            values = {level.name: measure(level) for level in one.levels}
            label = one.name if len(networks) == 1 else f"{letter}: {one.name}"
            groups[label] = [values.get(name, 0.0) for name in names]
        grouped_bars(axes, names, groups)
        axes.set_xlabel("level, in the order of the forward pass")
        axes.legend(frameon=False)

    bars(parameters, lambda level: level.parameters / 1e6)
    parameters.set(title="Parameters", ylabel="millions")
    bars(memory, lambda level: level.activation_bytes / _MIB)
    memory.set(title="Activations kept for one picture (float32)", ylabel="MiB")
    return to_image(figure)
