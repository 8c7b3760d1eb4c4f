"""A caption table in memory, column by column: what measuring needs. Bigger ones are read row by row (`reading`).

The columns are `peyda.captions.schema`'s; all values are text. A file that names the image otherwise (`file_name`, …)
gets it renamed, and one without `caption_id` gets 0, 1, … counted within each image.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from peyda.captions.formats import DEFAULT_OPTIONS, ReadOptions, SkippedRow
from peyda.captions.reading import find_format, reading
from peyda.captions.schema import VERSION_KEY, check_version, renamings
from peyda.errors import DataError

_SHOWN_VALUES = 8

Where = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class CaptionTable:
    """A caption table in memory, column by column.

    Attributes:
        source: The file it came from.
        columns: Column → its values, all of one length, in file order.
        skipped: Rows of the file that are not in here, and why.
    """

    source: str
    columns: Mapping[str, Sequence[str]]
    skipped: tuple[SkippedRow, ...] = ()

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.columns["image"])

    def column(self, name: str) -> Sequence[str]:
        """The values of one column.

        Raises:
            DataError: There is no such column; the hint names those that there are.
        """
        if name not in self.columns:
            raise DataError(f"{self.source} has no column {name!r}", hint=f"its columns: {', '.join(self.columns)}")
        return self.columns[name]

    def images(self) -> list[str]:
        """The distinct image names, in order of first appearance."""
        return list(dict.fromkeys(self.columns["image"]))

    def select(self, where: Where) -> CaptionTable:
        """The rows in which every column of `where` has the given value (or one of the given values), exactly.

        Raises:
            DataError: A column is not there, or no row is left; the hint names columns or values that there are.
        """
        wanted = {name: {values} if isinstance(values, str) else set(values) for name, values in where.items()}
        kept: list[int] = list(range(len(self)))
        for name, values in wanted.items():
            column = self.column(name)
            found = [row for row in kept if column[row] in values]
            if kept and not found:
                raise DataError(
                    f"no row of {self.source} has {name} = {' or '.join(sorted(values))}"
                    + (" where the other filters hold" if len(wanted) > 1 else ""),
                    hint=f"values of {name}: {_some(column[row] for row in kept)}",
                )
            kept = found
        columns = {name: [values[row] for row in kept] for name, values in self.columns.items()}
        return CaptionTable(self.source, columns, self.skipped)


def read_captions(
    path: str | os.PathLike[str],
    *,
    column: str | None = None,
    where: Where | None = None,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> CaptionTable:
    """Read a caption table whole, of any known format, by the file's ending and content.

    Args:
        path: The file.
        column: A column that must be there, such as "caption_fa".
        where: Rows to keep, as `CaptionTable.select`.
        options: Language, encoding, column names.

    Returns:
        The table. Rows without an image name and lines that cannot be read are in its `skipped`.

    Raises:
        DataError: The file cannot be read, has no image column, no such `column`, or no usable row.
    """
    name = os.fspath(path)
    table_format = find_format(name)
    collector = _Collector(name)
    with reading(name):
        for row in table_format.rows(name, options):
            if isinstance(row, SkippedRow):
                collector.skipped.append(row)
            else:
                collector.add(row.line, row.values)
    table = collector.table()
    if column is not None:
        table.column(column)
    return table.select(where) if where else table


class _Collector:
    """Rows in, columns out."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.skipped: list[SkippedRow] = []
        self._columns: dict[str, list[str]] = {}
        self._count = 0
        self._image_name: str | None = None

    def add(self, line: int, values: Mapping[str, str]) -> None:
        if self._image_name is None:
            self._image_name = next(iter(renamings(list(values), self.source, language=None)), "image")
        check_version(values.get(VERSION_KEY, ""), self.source)
        if not values.get(self._image_name, "").strip():
            self.skipped.append(SkippedRow(line, "no_image", f"the column {self._image_name} is empty"))
            return
        for name, value in values.items():
            canonical = "image" if name == self._image_name else name
            if canonical not in self._columns:
                self._columns[canonical] = [""] * self._count
            self._columns[canonical].append(value)
        self._count += 1
        if len(values) < len(self._columns):
            for column in self._columns.values():
                if len(column) < self._count:
                    column.append("")

    def table(self) -> CaptionTable:
        if self._count == 0:
            first = f"; line {self.skipped[0].line}: {self.skipped[0].detail}" if self.skipped else ""
            raise DataError(f"{self.source} has no usable rows{first}", hint="check that it is the right file")
        if "caption_id" not in self._columns:
            self._columns["caption_id"] = _counted(self._columns["image"])
        return CaptionTable(self.source, self._columns, tuple(self.skipped))


def _counted(images: Iterable[str]) -> list[str]:
    seen: dict[str, int] = {}
    ids = []
    for image in images:
        ids.append(str(seen.get(image, 0)))
        seen[image] = seen.get(image, 0) + 1
    return ids


def _some(values: Iterable[str]) -> str:
    """The first few distinct values, for a hint."""
    distinct = list(dict.fromkeys(values))
    shown = ", ".join(value or '""' for value in distinct[:_SHOWN_VALUES])
    return shown + (", …" if len(distinct) > _SHOWN_VALUES else "")
