"""Writing caption tables as a stream: at once or not at all, or row by row for jobs that may be killed.

`open_writer` writes beside the table and renames at the end. `append_writer` adds to a file that an earlier run began:
a half-written last row is cut off first. What is written reads back the same, with one exception each: TSV has no way
to hold a tab or a line break (they become spaces), and text that is no Unicode (half a surrogate pair) becomes U+FFFD
everywhere but in JSON lines.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Any, Protocol

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
    columns = _checked(columns)
    with _storage(name), ExitStack() as undo:
        temporary = _temporary(name)
        undo.callback(_remove, temporary)
        opened = undo.enter_context(ExitStack())  # closed before the file is removed
        writer = opened.enter_context(_opened(temporary, name, columns))
        undo = undo.pop_all()
    try:
        yield _Guarded(writer, name)
    except BaseException:
        with suppress(OSError):
            undo.__exit__(*sys.exc_info())
        raise
    with _storage(name), undo:
        opened.close()
        _sync(temporary)
        os.replace(temporary, name)


@contextmanager
def append_writer(path: str | os.PathLike[str], columns: Sequence[str]) -> Iterator[TableWriter]:
    """Add rows to a table that may be there already; rows are kept as they are written, whatever happens later.

    Opening it mends the end of the file: do so before reading what earlier runs wrote.

    Args:
        path: CSV, TSV or JSON lines by its ending; neither Parquet nor compressed files can be added to.
        columns: All columns, in order; those of the file, if it is there.

    Raises:
        DataError: The format cannot be added to, or the file has other columns.
        StorageError: The file cannot be written.
    """
    name = os.fspath(path)
    columns = _checked(columns)
    if not name.lower().endswith((".csv", ".tsv", ".jsonl", ".ndjson")):
        raise DataError(f"rows cannot be added to {name}", hint="use .jsonl, .csv or .tsv, and convert it at the end")
    with _storage(name):
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        is_lines = name.lower().endswith((".jsonl", ".ndjson"))
        has_rows = (_end_last_line(name) if is_lines else False) or _cut_half_row(name)
        if has_rows and not is_lines:
            _check_header(name, columns)
        file = open(name, "a", encoding="utf-8", newline="")  # noqa: SIM115 - closed below
        writer = _Guarded(_text_writer(name, file, columns, with_header=not has_rows), name)
    try:
        yield writer
    finally:
        with _storage(name):
            file.close()


def check_writable(path: str) -> None:
    """Refuse a path whose ending names no format that can be written, before any work is done for it.

    Raises:
        DataError: It names none, or Parquet without pyarrow.
    """
    if not path.lower().endswith(WRITABLE_SUFFIXES):
        raise DataError(f"{path} names no table format that can be written", hint=f"use {', '.join(WRITABLE_SUFFIXES)}")
    if path.lower().endswith((".parquet", ".pq")):
        _pyarrow(path)


class _Guarded:
    """A writer whose failures name the table; what else fails in the caller's block stays what it is."""

    def __init__(self, writer: TableWriter, name: str) -> None:
        self.columns = writer.columns
        self._writer = writer
        self._name = name

    def write(self, row: Mapping[str, object]) -> None:
        try:
            self._writer.write(row)
        except OSError as error:
            raise _cannot_write(self._name, error) from error

    def flush(self) -> None:
        with _storage(self._name):
            self._writer.flush()


def _temporary(name: str) -> str:
    """An empty file beside `name`, with the rights that a new file has."""
    folder = os.path.dirname(name) or "."
    os.makedirs(folder, exist_ok=True)
    descriptor, path = tempfile.mkstemp(dir=folder, prefix=f".{os.path.basename(name)[:80]}.", suffix=".part")
    os.close(descriptor)
    os.chmod(path, 0o666 & ~_umask())
    return path


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):  # renamed by now
        os.unlink(path)


def _checked(columns: Sequence[str]) -> tuple[str, ...]:
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
            yield _text_writer(lower.removesuffix(".gz"), file, columns, with_header=True)
        return
    with open(path, "w", encoding="utf-8", newline="") as plain:
        yield _text_writer(lower, plain, columns, with_header=True)


def _text_writer(name: str, file: IO[str], columns: tuple[str, ...], *, with_header: bool) -> TableWriter:
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


def _end_last_line(path: str) -> bool:
    """End a last line of JSON that lacks nothing but its end; whether that was so.

    A reader takes such a row as whole, so a job that has read it must find it again.
    """
    try:
        with open(path, "r+b") as file:
            last = b""
            for last in file:  # noqa: B007 - only the last one matters; a line at a time, however long the file
                pass
            if last.endswith(b"\n") or not isinstance(json.loads(last), dict):
                return False
            file.write(b"\n")
            return True
    except (FileNotFoundError, ValueError, RecursionError):
        return False


def _cut_half_row(path: str) -> bool:
    """Cut off a last row that a killed run left unfinished; whether anything is left.

    A row of CSV is whole where the quotes so far are balanced and its line ends.
    """
    is_csv = path.lower().endswith(".csv")
    try:
        file = open(path, "r+b")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        return False
    with file:
        whole = at = 0
        is_open = False
        for line in file:
            at += len(line)
            is_open ^= is_csv and line.count(b'"') % 2 == 1
            if line.endswith(b"\n") and not is_open:
                whole = at
        if whole < at:
            file.truncate(whole)
        return whole > 0


def _check_header(path: str, columns: tuple[str, ...]) -> None:
    with open(path, encoding="utf-8-sig", newline="") as file:
        line = file.readline().rstrip("\r\n")
    found = line.split("\t") if path.lower().endswith(".tsv") else next(csv.reader([line]), [])
    if tuple(found) != columns:
        raise DataError(
            f"{path} is there with other columns: {', '.join(found)}",
            hint=f"delete it to begin anew, or choose another name; the columns now are {', '.join(columns)}",
        )


def _umask() -> int:
    """The process's umask; reading it means setting it for a moment."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _storage(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: str, error: OSError) -> StorageError:
    return StorageError(
        f"{path} cannot be written: {error.strerror or error}", hint="check the folder, its rights and its space"
    )
