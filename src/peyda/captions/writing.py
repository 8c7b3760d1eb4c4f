"""Writing caption tables as a stream, at once or not at all: beside the table, renamed when all is well.

What is written reads back the same, with two exceptions: TSV has no way to hold a tab or a line break (they become
spaces), and text that is no Unicode (half a surrogate pair) becomes U+FFFD everywhere but in JSON lines. Jobs that
write row by row and may be killed have `appending`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Any, Protocol

from peyda.captions.parts import part_file
from peyda.captions.plain import as_text, unquoted
from peyda.captions.schema import TABLE_VERSION, VERSION_KEY, is_score
from peyda.errors import DataError, StorageError

WRITABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq", ".csv.gz", ".tsv.gz", ".jsonl.gz")

_PARQUET_ROWS = 20_000
_BREAKS = re.compile(r"[\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class TableWriter(Protocol):
    """Takes rows, one at a time."""

    columns: tuple[str, ...]

    def write(self, row: Mapping[str, object]) -> None:
        """Write one row. A column that it lacks is empty.

        Raises:
            ValueError: The row has a column that the table has not (a mistake of the caller).
            DataError: A value does not fit its column: text in a `score_` column of Parquet.
            StorageError: The disk is full, or gone.
        """

    def flush(self) -> None:
        """Hand what was written to the system, so that a kill of this process loses none of it."""


@contextmanager
def open_writer(path: str | os.PathLike[str], columns: Sequence[str]) -> Iterator[TableWriter]:
    """Write a table; it appears under its name when the block ends well, and an older one stays until then.

    Args:
        path: CSV, TSV, JSON lines or Parquet by its ending, `.gz` for the text formats.
        columns: All columns, in order.

    Raises:
        DataError: No format of that ending can be written.
        StorageError: The folder cannot be written.
        ValueError: A column twice, or none.
    """
    name = os.fspath(path)
    check_writable(name)
    columns = checked(columns)
    with storage(name), ExitStack() as undo:
        temporary = undo.enter_context(part_file(name))
        opened = undo.enter_context(ExitStack())  # closed before the file is removed
        writer = opened.enter_context(_opened(temporary, name, columns))
        undo = undo.pop_all()
    try:
        yield GuardedWriter(writer, name)
    except BaseException:
        with suppress(OSError):
            undo.__exit__(*sys.exc_info())
        raise
    with storage(name), undo:
        opened.close()
        _sync(temporary)
        os.replace(temporary, name)


def check_writable(path: str) -> None:
    """Refuse a path whose ending names no format that can be written, before any work is done for it.

    Raises:
        DataError: It names none, or Parquet without pyarrow.
    """
    if not path.lower().endswith(WRITABLE_SUFFIXES):
        raise DataError(f"{path} names no table format that can be written", hint=f"use {', '.join(WRITABLE_SUFFIXES)}")
    if path.lower().endswith((".parquet", ".pq")):
        _pyarrow(path)


class GuardedWriter:
    """A writer whose failures name the table; what else fails in the caller's block stays what it is."""

    def __init__(self, writer: TableWriter, name: str) -> None:
        self.columns = writer.columns
        self._writer = writer
        self._name = name

    def write(self, row: Mapping[str, object]) -> None:
        """As `TableWriter.write`."""
        try:
            self._writer.write(row)
        except OSError as error:
            raise _cannot_write(self._name, error) from error

    def flush(self) -> None:
        """As `TableWriter.flush`."""
        with storage(self._name):
            self._writer.flush()


def checked(columns: Sequence[str]) -> tuple[str, ...]:
    """The columns of a new table; a ValueError where there are none, or one twice."""
    if not columns or len(set(columns)) != len(columns):
        raise ValueError(f"a table needs columns, each once: {columns!r}")
    return tuple(columns)


@contextmanager
def _opened(path: str, name: str, columns: tuple[str, ...]) -> Iterator[TableWriter]:
    lower = name.lower()
    if lower.endswith((".parquet", ".pq")):
        with _ParquetTable(path, name, columns) as writer:
            yield writer
        return
    if lower.endswith(".gz"):
        # No name and no time in the header: the same rows give the same bytes.
        with (
            open(path, "wb") as raw,
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="") as file,
        ):
            yield text_writer(lower.removesuffix(".gz"), file, columns, with_header=True)
        return
    with open(path, "w", encoding="utf-8", newline="") as plain:
        yield text_writer(lower, plain, columns, with_header=True)


def text_writer(name: str, file: IO[str], columns: tuple[str, ...], *, with_header: bool) -> TableWriter:
    """The writer of a text format, by the ending of `name`."""
    suffix = os.path.splitext(name.lower())[1]
    if suffix == ".csv":
        return _CsvTable(file, columns, with_header)
    if suffix == ".tsv":
        return _TsvTable(file, columns, with_header)
    return _JsonLinesTable(file, columns, with_header)


class _TextTable:
    """What the text formats share."""

    def __init__(self, file: IO[str], columns: tuple[str, ...], with_header: bool) -> None:
        self.columns = columns
        self._file = file
        self._known = set(columns)
        if with_header:
            self._write_header()

    def _write_header(self) -> None:
        pass

    def _texts(self, row: Mapping[str, object]) -> list[str]:
        if not self._known.issuperset(row):
            raise ValueError(f"columns that the table has not: {sorted(set(row) - self._known)}")
        texts = [as_text(row.get(name)) for name in self.columns]
        return [_SURROGATE.sub("\ufffd", text) if not text.isascii() else text for text in texts]

    def flush(self) -> None:
        self._file.flush()


class _CsvTable(_TextTable):
    def __init__(self, file: IO[str], columns: tuple[str, ...], with_header: bool) -> None:
        self._minimal = csv.writer(file, lineterminator="\n")
        # csv quotes a carriage return only where it ends lines: readers would take a bare one for a line break.
        self._quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        super().__init__(file, columns, with_header)

    def _write_header(self) -> None:
        self._minimal.writerow(self.columns)

    def write(self, row: Mapping[str, object]) -> None:
        texts = self._texts(row)
        (self._quoting if any("\r" in text for text in texts) else self._minimal).writerow(texts)


class _TsvTable(_TextTable):
    def _write_header(self) -> None:
        self._file.write("\t".join(self.columns) + "\n")

    def write(self, row: Mapping[str, object]) -> None:
        texts = [_BREAKS.sub(" ", text) for text in self._texts(row)]
        # A reader takes quotes around a whole field off; where they are the caption's own, it gets another pair.
        self._file.write("\t".join(text if unquoted(text) == text else _quoted(text) for text in texts) + "\n")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


class _JsonLinesTable(_TextTable):
    def write(self, row: Mapping[str, object]) -> None:
        if not self._known.issuperset(row):
            raise ValueError(f"columns that the table has not: {sorted(set(row) - self._known)}")
        record = {name: _json_value(row.get(name)) for name in self.columns}
        line = json.dumps(record, ensure_ascii=False, allow_nan=False)
        if not line.isascii() and _SURROGATE.search(line):
            line = json.dumps(record, ensure_ascii=True, allow_nan=False)
        self._file.write(line + "\n")


def _json_value(value: object) -> Any:
    if value is None or value == "" or (isinstance(value, float) and as_text(value) == ""):
        return None
    if isinstance(value, bool | int | str):
        return value
    return float(value) if isinstance(value, float) and abs(value) != float("inf") else as_text(value)


class _ParquetTable:
    """Row groups of some thousand rows; scores are numbers, `kept` is true or false, the rest is text."""

    def __init__(self, path: str, name: str, columns: tuple[str, ...]) -> None:
        pa, parquet = _pyarrow(name)
        self.columns = columns
        self._pa = pa
        self._name = name
        self._pending: list[list[Any]] = [[] for _ in columns]
        self._known = set(columns)
        kinds = [pa.float64() if is_score(one) else pa.bool_() if one == "kept" else pa.string() for one in columns]
        self._schema = pa.schema(list(zip(columns, kinds, strict=True)), metadata={VERSION_KEY: str(TABLE_VERSION)})
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")

    def __enter__(self) -> _ParquetTable:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self._writer.close()

    def write(self, row: Mapping[str, object]) -> None:
        if not self._known.issuperset(row):
            raise ValueError(f"columns that the table has not: {sorted(set(row) - self._known)}")
        values = [self._value(name, row.get(name)) for name in self.columns]
        for column, value in zip(self._pending, values, strict=True):
            column.append(value)
        if len(self._pending[0]) >= _PARQUET_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._pending[0]:
            arrays = [self._pa.array(one, kind.type) for one, kind in zip(self._pending, self._schema, strict=True)]
            self._writer.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema))
            self._pending = [[] for _ in self.columns]

    def _value(self, name: str, value: object) -> object:
        text = as_text(value)
        if is_score(name):
            try:
                return float(text) if text else None
            except ValueError:
                raise DataError(
                    f"{self._name}: {name} holds {text[:40]!r}, which is no number",
                    hint="scores are numbers; name the column otherwise, or write CSV or JSON lines",
                ) from None
        if name == "kept":
            return _truth(text, self._name)
        return _SURROGATE.sub("\ufffd", text) if not text.isascii() else text


def _truth(text: str, source: str) -> bool | None:
    known = {"": None, "true": True, "1": True, "false": False, "0": False}
    if text.lower() not in known:
        raise DataError(f"{source}: kept holds {text[:40]!r}", hint="kept is true, false or empty")
    return known[text.lower()]


def _pyarrow(path: str) -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{path} is Parquet, and pyarrow is not installed", hint="pip install 'peyda[parquet]', or write .csv"
        ) from error
    return pa, parquet


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def storage(path: str) -> Iterator[None]:
    """Failures of the disk, as errors that name the table."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: str, error: OSError) -> StorageError:
    return StorageError(
        f"{path} cannot be written: {error.strerror or error}", hint="check the folder, its rights and its space"
    )
