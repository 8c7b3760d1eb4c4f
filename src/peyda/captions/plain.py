"""Plain tables: CSV, TSV, JSON lines, a JSON list, Parquet.

Sources: RFC 4180 (CSV), the IANA registration of text/tab-separated-values, jsonlines.org, parquet.apache.org.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from peyda.captions.formats import ReadOptions, Row, Rows, SkippedRow, define_format
from peyda.captions.json_stream import items
from peyda.captions.schema import (
    CAPTION_NAMES,
    ID_NAMES,
    IMAGE_NAMES,
    URL_NAMES,
    VERSION_KEY,
    check_version,
)
from peyda.captions.text import open_text
from peyda.errors import DataError

_DELIMITERS = ",;\t|"  # what the field's "CSV" files are separated by; the header decides
_FIELD_CHARS = 16 << 20
"""Longest field of a CSV file. A caption of a million characters is read; a quote that never closes is found out."""

_CAPTION_LISTS = {
    **{name: name for name in (*CAPTION_NAMES, "caption_en", "caption_fa")},
    **{f"{name}s": name for name in ("caption", "comment", "sentence", "text")},
}
"""Column that may hold a list of captions → what one of them is called."""

_IMAGE_SUFFIX = re.compile(r"\.(jpe?g|png|webp|gif|bmp|tiff?|avif|heic)$", re.IGNORECASE)
_KNOWN_NAMES = {*IMAGE_NAMES, *URL_NAMES, *CAPTION_NAMES, *ID_NAMES, "caption_id", "caption_en", "caption_fa"}


def looks_like_image(field: str) -> bool:
    """Whether a field is a file name of a picture, or a web address."""
    return bool(_IMAGE_SUFFIX.search(field.strip())) or field.strip().startswith(("http://", "https://"))


def headerless_columns(first: Sequence[str]) -> tuple[str, ...] | None:
    """The columns of a file whose first line is data already, guessed; None where the first line is a header.

    It is data where some field is a picture's file name or address, and none is the name of a column.
    """
    names = {field.strip().lower() for field in first}
    at = next((index for index, field in enumerate(first) if looks_like_image(field)), None)
    if at is None or names & _KNOWN_NAMES or len(first) not in (2, 3):
        return None
    image = "url" if first[at].strip().startswith("http") else "image"
    rest = ["caption"] if len(first) == 2 else ["caption_id", "caption"]
    if len(first) == 3 and not first[1].strip().isdecimal():
        rest = ["caption", "caption_2"]
    rest.insert(at, image)
    return tuple(rest)


def _header(fields: Sequence[str], path: str) -> list[str]:
    names = [name.strip() or f"column_{at}" for at, name in enumerate(fields, start=1)]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DataError(f"{path} has two columns named {', '.join(doubled)}", hint="give each column its own name")
    return names


def _csv_start(text: str, options: ReadOptions, path: str) -> tuple[list[str], str, bool]:
    """Columns, delimiter, and whether the first line is a header."""
    delimiter = max(_DELIMITERS, key=text.count)
    fields = next(csv.reader([text], delimiter=delimiter), [])
    if options.header:
        return list(options.header), delimiter, False
    guessed = headerless_columns(fields)
    if guessed is not None:
        return list(guessed), delimiter, False
    return _header(fields, path), delimiter, True


def _csv_columns(path: str, options: ReadOptions) -> Sequence[str]:
    with open_text(path, options.encoding) as file:
        return _csv_start(file.readline(), options, path)[0]


def _read_csv(path: str, options: ReadOptions) -> Rows:
    csv.field_size_limit(max(csv.field_size_limit(), _FIELD_CHARS))
    with open_text(path, options.encoding) as file:
        header, delimiter, is_header = _csv_start(file.readline(), options, path)
        if not is_header:
            file.seek(0)
        first = 2 if is_header else 1
        line = first
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            for fields in reader:
                yield from _row(header, fields, line)
                line = reader.line_num + first  # the header was read apart; the next row starts one line on
        except csv.Error as error:
            raise DataError(
                f"{path}, line {line}: {error}", hint="check the quotes in that line (RFC 4180), or save it as TSV"
            ) from error


def _tsv_start(text: str, options: ReadOptions, path: str) -> tuple[list[str], bool]:
    fields = [unquoted(field) for field in text.rstrip("\r\n").split("\t")]
    if options.header:
        return list(options.header), False
    guessed = headerless_columns(fields)
    return (_header(fields, path), True) if guessed is None else (list(guessed), False)


def _tsv_columns(path: str, options: ReadOptions) -> Sequence[str]:
    with open_text(path, options.encoding) as file:
        return _tsv_start(file.readline(), options, path)[0]


def _read_tsv(path: str, options: ReadOptions) -> Rows:
    with open_text(path, options.encoding) as file:
        header: list[str] | None = None
        for line, text in enumerate(_lines(file), start=1):
            if header is None:
                header, is_header = _tsv_start(text, options, path)
                if is_header:
                    continue
            yield from _row(header, [unquoted(field) for field in text.split("\t")], line)


def _lines(file: Iterator[str]) -> Iterator[str]:
    for text in file:
        yield text.rstrip("\r\n")


def unquoted(field: str) -> str:
    """A field without the quotes that a spreadsheet put around it.

    TSV has no quoting, and a quote that opens a caption must not swallow the lines after it; so quotes go only where
    they enclose the whole field and all inside are doubled.
    """
    inner = field[1:-1]
    if len(field) < 2 or field[0] != '"' or field[-1] != '"' or '"' in inner.replace('""', ""):
        return field
    return inner.replace('""', '"')


def _row(header: list[str], fields: list[str], line: int) -> Rows:
    if not any(field.strip() for field in fields):
        return  # an empty line
    if len(fields) != len(header):
        yield SkippedRow(line, "wrong_columns", f"{len(fields)} fields where the header has {len(header)}")
    else:
        yield Row(line, dict(zip(header, fields, strict=True)))


def _read_jsonl(path: str, options: ReadOptions) -> Rows:
    with open_text(path, options.encoding) as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield SkippedRow(line, "bad_json", f"not JSON: {error}")
                continue
            yield from _record(line, value)


def _read_json(path: str, options: ReadOptions) -> Rows:
    """A list of objects; `line` counts the objects."""
    with open_text(path, options.encoding) as file:
        for number, (_, value) in enumerate(items(file, path), start=1):
            yield from _record(number, value)


def _record(line: int, value: Any) -> Rows:
    if not isinstance(value, dict):
        yield SkippedRow(line, "bad_json", "not a JSON object")
        return
    for one in exploded(value):
        yield Row(line, {str(name).strip(): as_text(part) for name, part in one.items()})


def exploded(record: dict[str, Any]) -> list[dict[str, Any]]:
    """A record with a list of captions as a record for each of them; any other as itself.

    >>> exploded({"image": "a", "captions": ["x", "y"]})
    [{'image': 'a', 'caption': 'x'}, {'image': 'a', 'caption': 'y'}]
    """
    for name, value in record.items():
        if name not in _CAPTION_LISTS or not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            continue
        rest = {other: one for other, one in record.items() if other != name}
        return [rest | {_CAPTION_LISTS[name]: one} for one in value]
    return [record]


def _parquet(path: str) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{path} is Parquet, and pyarrow is not installed", hint="pip install 'peyda[parquet]', or save it as CSV"
        ) from error
    return parquet


@contextmanager
def _open_parquet(path: str) -> Iterator[Any]:
    parquet = _parquet(path)
    import pyarrow as pa

    try:
        with parquet.ParquetFile(path) as file:
            metadata = file.schema_arrow.metadata or {}
            check_version(metadata.get(VERSION_KEY.encode(), b"").decode("ascii", "replace"), path)
            yield file
    except pa.ArrowException as error:
        raise DataError(
            f"{path} cannot be read as Parquet: {error}", hint="write it again, or save it as CSV"
        ) from error


def _parquet_columns(path: str, options: ReadOptions) -> Sequence[str]:
    with _open_parquet(path) as file:
        return [
            _CAPTION_LISTS.get(field.name, field.name)
            if str(field.type).startswith(("list", "large_list"))
            else field.name
            for field in file.schema_arrow
        ]


def _read_parquet(path: str, options: ReadOptions) -> Rows:
    line = 1
    with _open_parquet(path) as file:
        for batch in file.iter_batches(batch_size=8192):
            names = [str(name) for name in batch.schema.names]
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                for one in exploded(dict(zip(names, values, strict=True))):
                    yield Row(line, {name: as_text(value) for name, value in one.items()})
                line += 1


def as_text(value: Any) -> str:
    """A JSON or Parquet value as CSV would hold it; what is missing (null, NaN) is empty."""
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


define_format("CSV", (".csv", ".csv.gz"), _read_csv, columns=_csv_columns)
define_format("TSV", (".tsv", ".tsv.gz"), _read_tsv, columns=_tsv_columns)
define_format("JSONL", (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"), _read_jsonl)
define_format("JSON", (".json", ".json.gz"), _read_json)
define_format("Parquet", (".parquet", ".pq"), _read_parquet, columns=_parquet_columns)
