"""File formats of caption tables: each turns a path into rows of text, one at a time.

A format owns syntax alone: quoting, encodings, compression, one broken line. What the columns mean is
`peyda.captions.table`'s. Sources: RFC 4180 (CSV), the IANA registration of text/tab-separated-values, jsonlines.org.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, cast

from peyda.errors import DataError

_DELIMITERS = ",;\t|"  # what the field's "CSV" files are separated by; the header decides


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
class TableFormat:
    """A format that `read_captions` reads.

    Attributes:
        name: Short name, for messages.
        suffixes: File name endings, lower case, with the dot; empty for a format that `matches` recognises otherwise.
        read: From a path to its rows, in order; raises DataError where the file as a whole cannot be read.
        matches: Whether a path is of this format; by default its ending says so.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[str], Iterator[Row | SkippedRow]]
    matches: Callable[[str], bool] | None = None

    def is_format_of(self, path: str) -> bool:
        """Whether `path` is one of these."""
        if self.matches is not None:
            return self.matches(path)
        return path.lower().endswith(self.suffixes)


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


def _open_text(path: str) -> IO[str]:
    """A UTF-8 text file, gzipped or not; a byte-order mark at its start is no content."""
    if path.lower().endswith(".gz"):
        return cast("IO[str]", gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return open(path, encoding="utf-8-sig", newline="")


def _read_csv(path: str) -> Iterator[Row | SkippedRow]:
    with _open_text(path) as file:
        header_line = file.readline()
        delimiter = max(_DELIMITERS, key=header_line.count)
        header = [name.strip() for name in next(csv.reader([header_line], delimiter=delimiter), [])]
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        line = 2
        try:
            for fields in reader:
                yield from _row(header, fields, line)
                line = reader.line_num + 2  # the header was read apart; the next row starts one line on
        except csv.Error as error:
            raise DataError(
                f"{path}, line {line}: {error}", hint="check the quotes in that line (RFC 4180), or save it as TSV"
            ) from error


def _read_tsv(path: str) -> Iterator[Row | SkippedRow]:
    with _open_text(path) as file:
        header: list[str] | None = None
        for line, text in enumerate(file, start=1):
            fields = [_unquoted(field) for field in text.rstrip("\r\n").split("\t")]
            if header is None:
                header = [name.strip() for name in fields]
            else:
                yield from _row(header, fields, line)


def _unquoted(field: str) -> str:
    """A field without the quotes that a spreadsheet put around it.

    TSV has no quoting, and a quote that opens a caption must not swallow the lines after it; so quotes go only where
    they enclose the whole field and all inside are doubled.
    """
    inner = field[1:-1]
    if len(field) < 2 or field[0] != '"' or field[-1] != '"' or '"' in inner.replace('""', ""):
        return field
    return inner.replace('""', '"')


def _row(header: list[str], fields: list[str], line: int) -> Iterator[Row | SkippedRow]:
    if not any(field.strip() for field in fields):
        return  # an empty line
    if len(fields) != len(header):
        yield SkippedRow(line, "wrong_columns", f"{len(fields)} fields where the header has {len(header)}")
    else:
        yield Row(line, dict(zip(header, fields, strict=True)))


def _read_jsonl(path: str) -> Iterator[Row | SkippedRow]:
    with _open_text(path) as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield SkippedRow(line, "bad_json", f"not JSON: {error}")
                continue
            if isinstance(value, dict):
                yield Row(line, {str(name).strip(): _as_text(one) for name, one in value.items()})
            else:
                yield SkippedRow(line, "bad_json", "not a JSON object")


def _read_parquet(path: str) -> Iterator[Row | SkippedRow]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{path} is Parquet, and pyarrow is not installed", hint="pip install 'peyda[parquet]', or save it as CSV"
        ) from error
    line = 1
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for record in batch.to_pylist():
                    yield Row(line, {str(name): _as_text(value) for name, value in record.items()})
                    line += 1
    except pa.ArrowException as error:
        raise DataError(
            f"{path} cannot be read as Parquet: {error}", hint="write it again, or save it as CSV"
        ) from error


def _as_text(value: Any) -> str:
    """A JSON or Parquet value as CSV would hold it; what is missing (null, NaN) is empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


for _format in (
    TableFormat("CSV", (".csv", ".csv.gz"), _read_csv),
    TableFormat("TSV", (".tsv", ".tsv.gz"), _read_tsv),
    TableFormat("JSONL", (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"), _read_jsonl),
    TableFormat("Parquet", (".parquet", ".pq"), _read_parquet),
):
    register_format(_format)
