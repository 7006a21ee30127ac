"""Weights from another network: where names and shapes match, and class tables row by row.

A class table's rows go by the classes' names, so that classes may be added, and the null class,
whose row is the last, moves. Knows nothing of files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.unet import UNet

CLASS_TABLE = "class_embedding.weight"


@dataclass(frozen=True)
class Table:
    """Which class each row of a class table is: their names in order, and where the null class is.

    Attributes:
        null: the null class's row; None: there is none.
    """

    classes: tuple[str, ...]
    null: int | None

    def rows_for(self, wanted: "Table", count: int) -> list[int | None]:
        """For each of the ``count`` rows of another table, this one's row; None: it has none."""
        rows: list[int | None] = [None] * count
        for row, name in enumerate(wanted.classes):
            rows[row] = self.classes.index(name) if name in self.classes else None
        if wanted.null is not None:
            rows[wanted.null] = self.null
        return rows


@dataclass(frozen=True)
class Inherited:
    """A network's first weights, and what of them is another's.

    Attributes:
        kept: how many tensors are the other network's.
        new: names of those that are not, or not whole.
    """

    weights: Mapping[str, Tensor]
    kept: int
    new: tuple[str, ...]


def inherit(
    network: UNet, weights: Mapping[str, Tensor], *, ours: Table, theirs: Table
) -> Inherited:
    """A network's weights, another's wherever name and shape are the same.

    A class that only we have begins as what the other draws without a class.

    Args:
        network: as it begins otherwise.
        weights: the other's.
    """
    kept, new = 0, list[str]()
    found: dict[str, Tensor] = {}
    for name, fresh in network.state_dict().items():
        other = weights.get(name)
        if other is None or other.shape[1:] != fresh.shape[1:]:
            found[name] = fresh
            new.append(name)
        elif name == CLASS_TABLE:
            rows = theirs.rows_for(ours, len(fresh))
            found[name] = grown(other.to(fresh), rows, beginning=_unconditional(other, theirs))
            kept += 1
            new += [f"the class {ours.classes[i]!r}" for i in _added(rows, ours)]
        elif other.shape == fresh.shape:
            found[name] = other.to(fresh)
            kept += 1
        else:
            found[name] = fresh
            new.append(name)
    return Inherited(found, kept, tuple(new))


def grown(table: Tensor, rows: Sequence[int | None], *, beginning: Tensor) -> Tensor:
    """A table with these rows of another, and ``beginning`` (D,) where there is none."""
    first = beginning.to(table)
    return torch.stack([first if row is None else table[row] for row in rows])


def grown_state(
    state: Mapping[str, Tensor], rows: Sequence[int | None], theirs: Table
) -> dict[str, Tensor]:
    """What resuming needs, with another class table: weights, averages and moments alike.

    Moments of rows that are new begin at zero.
    """
    found = dict(state)
    for name, table in state.items():
        if name.endswith(CLASS_TABLE) and table.ndim:
            moments = name.startswith("optimizer.")
            beginning = torch.zeros_like(table[0]) if moments else _unconditional(table, theirs)
            found[name] = grown(table, rows, beginning=beginning)
    return found


def _unconditional(table: Tensor, theirs: Table) -> Tensor:
    """(D,) the null class's row, or where there is none the classes' mean."""
    return table.mean(0) if theirs.null is None else table[theirs.null]


def _added(rows: Sequence[int | None], ours: Table) -> list[int]:
    return [row for row in range(len(ours.classes)) if rows[row] is None]
