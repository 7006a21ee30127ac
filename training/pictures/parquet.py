"""Pictures in parquet files, as Hugging Face's datasets keeps them: a column of image bytes.

pyarrow is an extra of training, imported when a parquet file is opened. Rows are read a row group
at a time, and the few that were read last are kept.
"""

import dataclasses
import hashlib
import json
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.pictures.decode import Unreadable
from training.pictures.labels import Naming, from_fields
from training.pictures.metadata import Fields
from training.pictures.source import Source

PARQUET = ".parquet"
_KEPT = 2  # row groups: readers go through them in order, several at a time
_MOST_BYTES = 1 << 26  # of one picture


def read_parquet(files: Sequence[Path], path: Path, naming: Naming, *, whole: bool) -> Source:
    """The rows of some files, as one source.

    Args:
        path: what messages call them.
        whole: whether they are in no split.

    Raises:
        TrainingError: a file is damaged or has another shape than the first, or has no pictures.
    """
    table = _Table(files)
    about = table.fields()
    names = [
        f"{file.name}[{row}]"
        for file, rows in zip(files, table.rows, strict=True)
        for row in range(rows)
    ]
    if not names:
        raise TrainingError(f"{path} has no rows")
    remarks = []
    if others := table.passed_over():
        remarks.append(
            f"{path}: the columns {', '.join(others)} are neither text nor numbers and are passed "
            "over"
        )
    own = table.class_names(naming.field)
    renamed = len(own) == len(naming.class_names) and set(own) != set(naming.class_names)
    if own and renamed:
        remarks.append(
            f"{path} calls its classes {', '.join(own[:3])} ...; data.class_names calls them "
            f"{', '.join(naming.class_names[:3])} ..., in this order"
        )
    elif own:  # data.class_names says their order at most
        naming = dataclasses.replace(naming, class_names=own)
    by_field = from_fields(about, path, naming)
    (labels, classes), unusable = by_field or (([0] * len(names), ()), {})
    stamps = [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    return Source(
        names=names,
        labels=labels,
        classes=classes,
        fingerprint=hashlib.sha256("\n".join([table.column, *stamps]).encode()).hexdigest(),
        read=table.read,
        whole=[whole] * len(names),
        about=about,
        unusable=unusable,
        remarks=remarks,
    )


class _Table:
    """Several parquet files of one schema, opened."""

    def __init__(self, files: Sequence[Path]) -> None:
        try:
            import pyarrow as arrow
            from pyarrow import parquet
        except ImportError as error:
            raise TrainingError(
                f"{files[0]} needs pyarrow, which is not installed; pip install 'emaki[parquet]'"
            ) from error
        self._types, self._paths = arrow.types, files
        self._files: list[Any] = []
        for file in files:
            try:
                self._files.append(parquet.ParquetFile(file))
            except (arrow.ArrowException, OSError) as error:
                raise TrainingError(
                    f"{file} is no parquet file that can be read ({error}); fetch it again"
                ) from error
        self._schema = self._files[0].schema_arrow
        for file, opened in zip(files, self._files, strict=True):
            if opened.schema_arrow.names != self._schema.names:
                raise TrainingError(
                    f"{file} has other columns than {files[0].name}: "
                    f"{', '.join(opened.schema_arrow.names)}; give one of them alone"
                )
        self.rows = [file.metadata.num_rows for file in self._files]
        self.column = self._picture_column(files[0])
        # Where each row group begins, in rows of all files; and which it is.
        self._groups: list[tuple[int, int, int]] = []
        first = 0
        for number, file in enumerate(self._files):
            for group in range(file.num_row_groups):
                self._groups.append((first, number, group))
                first += file.metadata.row_group(group).num_rows
        self._kept: OrderedDict[int, list[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def _picture_column(self, file: Path) -> str:
        """The column that holds image bytes, or structs of them."""
        types = self._types

        def holds_bytes(kind: Any) -> bool:
            if types.is_struct(kind):
                inner = [kind.field(i).name for i in range(kind.num_fields)]
                return "bytes" in inner and holds_bytes(kind.field("bytes").type)
            return bool(types.is_binary(kind) or types.is_large_binary(kind))

        found = [str(field.name) for field in self._schema if holds_bytes(field.type)]
        if len(found) > 1:
            found = [name for name in found if name in ("image", "img")]
        if len(found) != 1:
            raise TrainingError(
                f"{file} has no column of pictures' bytes, or several of them; its columns are "
                f"{', '.join(f'{field.name} ({field.type})' for field in self._schema)}; call the "
                "one with the pictures `image`"
            )
        return found[0]

    def class_names(self, field: str) -> tuple[str, ...]:
        """The names that Hugging Face keeps of a column of class numbers; empty without."""
        try:
            about = json.loads((self._schema.metadata or {})[b"huggingface"])
            return tuple(map(str, about["info"]["features"][field]["names"]))
        except (KeyError, TypeError, ValueError):
            return ()

    def fields(self) -> list[Fields | None]:
        """What each row says beside its picture, as far as it is text or numbers."""
        plain = [field.name for field in self._schema if self._is_plain(field.type)]
        if not plain:
            return [{} for _ in range(sum(self.rows))]
        found: list[Fields | None] = []
        for path, file in zip(self._paths, self._files, strict=True):
            try:
                found += file.read(columns=plain).to_pylist()
            except (ValueError, OSError) as error:  # ArrowException is a ValueError, or an OSError
                raise TrainingError(
                    f"{path} is damaged where it says what its pictures are ({error}); fetch it "
                    "again"
                ) from error
        return found

    def passed_over(self) -> list[str]:
        """Columns that are neither text nor numbers, nor the pictures."""
        return [
            field.name
            for field in self._schema
            if field.name != self.column and not self._is_plain(field.type)
        ]

    def _is_plain(self, kind: Any) -> bool:
        types = self._types
        if types.is_dictionary(kind):  # pandas' categories
            kind = kind.value_type
        text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
        number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
        return bool(text or number)

    def read(self, index: int) -> bytes:
        """A row's picture."""
        place = bisect_right(self._groups, index, key=lambda group: group[0]) - 1
        cell = self._group(place)[index - self._groups[place][0]]
        if isinstance(cell, dict):
            if cell.get("bytes") is None and cell.get("path"):
                raise Unreadable(
                    f"the table holds only a path ({cell['path']}), not the picture; write it with "
                    "the pictures embedded"
                )
            cell = cell.get("bytes")
        if cell is None:
            raise Unreadable("the row has no picture")
        if len(cell) > _MOST_BYTES:
            raise Unreadable(f"{len(cell)} bytes are over {_MOST_BYTES}")
        return bytes(cell)

    def _group(self, place: int) -> list[Any]:
        with self._lock:
            if place in self._kept:
                self._kept.move_to_end(place)
                return self._kept[place]
            _, number, group = self._groups[place]
            try:
                column = self._files[number].read_row_group(group, columns=[self.column])
                cells: list[Any] = column.column(0).to_pylist()
            except OSError as error:  # pyarrow's errors of damaged pages are OSErrors
                raise Unreadable(f"row group {group} cannot be read: {error}") from error
            self._kept[place] = cells
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return cells
