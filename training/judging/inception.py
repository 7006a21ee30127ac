"""Inception v3 as the Fréchet inception distance has it, up to its pooled features.

Szegedy et al. 2016 (arXiv:1512.00567, Fig. 5 to 7), with what TensorFlow's network of 2015-12-05
does otherwise than torchvision's: means do not count padding, and the last block takes a maximum.
Parameters are named as torchvision names them. Shapes: pixels (B, 3, 299, 299) in [-1, 1];
features (B, 2048).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# One convolution: name, channels out, kernel, padding; a stride where it is not 1.
_Path = Sequence[tuple[str, int, tuple[int, int], tuple[int, int]]]


class Convolution(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self,
        inside: int,
        outside: int,
        kernel: tuple[int, int],
        padding: tuple[int, int] = (0, 0),
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outside, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Block(nn.Module):
    """Paths side by side, their channels one after the other; the last may pool first.

    Attributes:
        forks: names whose two convolutions both see what came before them.
    """

    def __init__(self, inside: int, paths: Sequence[_Path], *, pool: str, stride: int = 1) -> None:
        super().__init__()
        self._pool, self._stride = pool, stride
        self._paths: list[list[str]] = []
        self.width = inside if stride == 2 else 0
        for path in paths:
            before, names = inside, list[str]()
            for index, (name, width, kernel, padding) in enumerate(path):
                last = index == len(path) - 1
                convolution = Convolution(
                    before, width, kernel, padding, stride if last and stride == 2 else 1
                )
                self.add_module(name, convolution)
                names.append(name)
                if not name.endswith("a"):  # the first of a fork: the second sees the same
                    before = width
            self._paths.append(names)
            self.width += width * (2 if names[-1].endswith("b") else 1)

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for names in self._paths:
            y = self._pooled(x) if names[0] == "branch_pool" else x
            for name in names:
                convolution = self.get_submodule(name)
                if name.endswith("a"):
                    found.append(convolution(y))
                else:
                    y = convolution(y)
            found.append(y)
        if self._stride == 2:
            found.append(F.max_pool2d(x, 3, 2))
        return torch.cat(found, 1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self._pool == "max":
            return F.max_pool2d(x, 3, 1, 1)
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class InceptionV3(nn.Module):
    """The network without its classes."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, (3, 3), stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, (3, 3))
        self.Conv2d_2b_3x3 = Convolution(32, 64, (3, 3), (1, 1))
        self.Conv2d_3b_1x1 = Convolution(64, 80, (1, 1))
        self.Conv2d_4a_3x3 = Convolution(80, 192, (3, 3))
        width = 192
        self._blocks: list[str] = []
        for name, paths, pool, stride in _blocks():
            block = Block(width, paths, pool=pool, stride=stride)
            self.add_module(name, block)
            self._blocks.append(name)
            width = block.width

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, 2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = F.max_pool2d(x, 3, 2)
        for name in self._blocks:
            x = self.get_submodule(name)(x)
        return x.mean((2, 3))


def _blocks() -> list[tuple[str, list[_Path], str, int]]:
    """Name, paths, pooling and stride of each block, in order."""
    one, three, five = (1, 1), (3, 3), (5, 5)
    flat, pad, wide = (0, 0), (1, 1), (2, 2)
    row, column = ((1, 7), (0, 3)), ((7, 1), (3, 0))

    def figure_5(pooled: int) -> list[_Path]:
        return [
            [("branch1x1", 64, one, flat)],
            [("branch5x5_1", 48, one, flat), ("branch5x5_2", 64, five, wide)],
            [
                ("branch3x3dbl_1", 64, one, flat),
                ("branch3x3dbl_2", 96, three, pad),
                ("branch3x3dbl_3", 96, three, pad),
            ],
            [("branch_pool", pooled, one, flat)],
        ]

    def figure_6(middle: int) -> list[_Path]:
        return [
            [("branch1x1", 192, one, flat)],
            [
                ("branch7x7_1", middle, one, flat),
                ("branch7x7_2", middle, *row),
                ("branch7x7_3", 192, *column),
            ],
            [
                ("branch7x7dbl_1", middle, one, flat),
                ("branch7x7dbl_2", middle, *column),
                ("branch7x7dbl_3", middle, *row),
                ("branch7x7dbl_4", middle, *column),
                ("branch7x7dbl_5", 192, *row),
            ],
            [("branch_pool", 192, one, flat)],
        ]

    across, down = ((1, 3), (0, 1)), ((3, 1), (1, 0))
    figure_7: list[_Path] = [
        [("branch1x1", 320, one, flat)],
        [
            ("branch3x3_1", 384, one, flat),
            ("branch3x3_2a", 384, *across),
            ("branch3x3_2b", 384, *down),
        ],
        [
            ("branch3x3dbl_1", 448, one, flat),
            ("branch3x3dbl_2", 384, three, pad),
            ("branch3x3dbl_3a", 384, *across),
            ("branch3x3dbl_3b", 384, *down),
        ],
        [("branch_pool", 192, one, flat)],
    ]
    halve_6a: list[_Path] = [
        [("branch3x3", 384, three, flat)],
        [
            ("branch3x3dbl_1", 64, one, flat),
            ("branch3x3dbl_2", 96, three, pad),
            ("branch3x3dbl_3", 96, three, flat),
        ],
    ]
    halve_7a: list[_Path] = [
        [("branch3x3_1", 192, one, flat), ("branch3x3_2", 320, three, flat)],
        [
            ("branch7x7x3_1", 192, one, flat),
            ("branch7x7x3_2", 192, *row),
            ("branch7x7x3_3", 192, *column),
            ("branch7x7x3_4", 192, three, flat),
        ],
    ]
    return [
        ("Mixed_5b", figure_5(32), "mean", 1),
        ("Mixed_5c", figure_5(64), "mean", 1),
        ("Mixed_5d", figure_5(64), "mean", 1),
        ("Mixed_6a", halve_6a, "none", 2),
        ("Mixed_6b", figure_6(128), "mean", 1),
        ("Mixed_6c", figure_6(160), "mean", 1),
        ("Mixed_6d", figure_6(160), "mean", 1),
        ("Mixed_6e", figure_6(192), "mean", 1),
        ("Mixed_7a", halve_7a, "none", 2),
        ("Mixed_7b", figure_7, "mean", 1),
        ("Mixed_7c", figure_7, "max", 1),
    ]
