"""The registry of table formats, and what a format is: it turns a path into rows of text, one at a time.

A format owns syntax alone: quoting, encodings, compression, one broken line. What the columns mean is
`peyda.captions.schema`'s. The formats themselves are in `plain` (CSV, TSV, JSON, Parquet) and `published` (the shapes
in which the field's datasets come).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """One row that is not used. `line` counts from 1 in the file; `reason` is a stable code, `detail` a sentence."""

    line: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row as text: column → value, "" where there is none."""

    line: int
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a reader may be told.

    Attributes:
        language: The language of captions that do not say theirs; "" takes English, and of a multilingual file both
            English and Persian.
        encoding: Of a text file; "" is UTF-8, or UTF-16 where a byte-order mark says so.
        header: The column names of a CSV or TSV file without a header line.
        images_dir: Where photographs go that a data set carries inside; "" leaves them.
    """

    language: str = ""
    encoding: str = ""
    header: tuple[str, ...] = ()
    images_dir: str = ""


DEFAULT_OPTIONS = ReadOptions()

Rows = Iterator[Row | SkippedRow]


@dataclass(frozen=True, slots=True)
class TableFormat:
    """A format that `open_reader` and `read_captions` read.

    Attributes:
        name: Short name, for messages and `--format`.
        suffixes: File name endings, lower case, with the dot; empty for a format that `matches` recognises otherwise.
        read: From a path to its rows, in order; raises DataError where the file as a whole cannot be read.
        matches: Whether a path is of this format; by default its ending says so.
        read_with: As `read`, with options; where given, it is used instead.
        columns: The columns, without reading all rows; where missing, the rows are read twice.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[str], Rows]
    matches: Callable[[str], bool] | None = None
    read_with: Callable[[str, ReadOptions], Rows] | None = None
    columns: Callable[[str, ReadOptions], Sequence[str]] | None = None

    def is_format_of(self, path: str) -> bool:
        """Whether `path` is one of these."""
        if self.matches is not None:
            return self.matches(path)
        return path.lower().endswith(self.suffixes)

    def rows(self, path: str, options: ReadOptions = DEFAULT_OPTIONS) -> Rows:
        """The rows of `path`, in order."""
        return self.read(path) if self.read_with is None else self.read_with(path, options)

    def columns_of(self, path: str, options: ReadOptions = DEFAULT_OPTIONS) -> tuple[str, ...]:
        """The columns of `path`, in order of first appearance."""
        if self.columns is not None:
            return tuple(self.columns(path, options))
        names: dict[str, None] = {}
        for row in self.rows(path, options):
            if isinstance(row, Row):
                names.update(dict.fromkeys(row.values))
        return tuple(names)


_FORMATS: dict[str, TableFormat] = {}


def register_format(table_format: TableFormat) -> None:
    """Add a format, or replace the one of the same name. Later ones are asked first."""
    _FORMATS.pop(table_format.name, None)
    _FORMATS[table_format.name] = table_format


def known_formats() -> list[TableFormat]:
    """All formats, in the order in which they are asked."""
    return list(reversed(_FORMATS.values()))


def format_of(path: str) -> TableFormat | None:
    """The format of `path`, or None where no format claims it."""
    return next((one for one in known_formats() if one.is_format_of(path)), None)


def define_format(
    name: str,
    suffixes: tuple[str, ...],
    read_with: Callable[[str, ReadOptions], Rows],
    *,
    columns: Callable[[str, ReadOptions], Sequence[str]] | None = None,
    matches: Callable[[str], bool] | None = None,
) -> None:
    """Register a format that takes options."""
    register_format(
        TableFormat(name, suffixes, lambda path: read_with(path, DEFAULT_OPTIONS), matches, read_with, columns)
    )
