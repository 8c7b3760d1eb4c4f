"""Reading caption tables as a stream: canonical rows, one at a time, whatever the file's format.

A million rows pass through in constant memory, but for one number for each key (to find doubled ones) and one for each
image (where caption ids have to be counted).
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from peyda.captions.formats import ReadOptions, Row, SkippedRow, TableFormat, format_of, known_formats
from peyda.captions.schema import URL_NAMES, VERSION_KEY, check_version, key_columns, ordered, renamings, row_key
from peyda.errors import DataError

CaptionRow = dict[str, str]
"""One row: column → text; "" where there is nothing."""

Duplicates = Literal["skip", "error", "keep"]

_SHOWN_KEY_CHARS = 80


@dataclass
class CaptionReader(Iterator[CaptionRow]):
    """An open caption table; iterate over it once.

    Attributes:
        source: The file, as it was named.
        format_name: The format it was read as.
        columns: All columns, in canonical order; every row has them all.
        line: Line of the file (row, for Parquet and JSON) of the row that was given last.
        skipped: Rows so far that were not given, and why.
    """

    source: str
    format_name: str
    columns: tuple[str, ...]
    line: int = 0
    skipped: list[SkippedRow] = field(default_factory=list)
    _rows: Iterator[CaptionRow] = field(default_factory=lambda: iter(()), repr=False)

    def __iter__(self) -> CaptionReader:
        return self

    def __next__(self) -> CaptionRow:
        return next(self._rows)

    def __enter__(self) -> CaptionReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if not all rows were read."""
        close: Callable[[], None] | None = getattr(self._rows, "close", None)
        if close is not None:
            close()


def open_reader(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word of the command line
    options: ReadOptions | None = None,
    duplicates: Duplicates = "skip",
    required: Sequence[str] = (),
) -> CaptionReader:
    """Open a caption table of any known format, or a Hugging Face dataset (`hf:OWNER/NAME`).

    Args:
        path: The file.
        format: Name of its format (`known_formats`); None guesses by ending and content.
        options: Language, encoding, column names.
        duplicates: What becomes of a row whose key was there before: "skip" it with the reason "duplicate_key",
            "error", or "keep" it.
        required: Columns that must be there.

    Returns:
        The reader. Rows without an image name, lines that cannot be read and doubled keys end up in its `skipped`.

    Raises:
        DataError: Here or while iterating: the file cannot be read, is newer than this Peyda, or lacks a column.
    """
    name = os.fspath(path)
    options = options or ReadOptions()
    table_format = find_format(name, format)
    with reading(name):
        columns = table_format.columns_of(name, options)
    reader = CaptionReader(name, table_format.name, ())
    if not columns:
        _explain_empty(reader, table_format, options)
        reader.columns = ("image", "caption_id")
        return _with_required(reader, required)
    renamed = renamings(columns, name, language=options.language or "en")
    names = [renamed.get(column, column) for column in columns]
    url = next((one for one in URL_NAMES if one in columns), None)
    reader.columns = ordered(["image", "caption_id", *(one for one in names if one != VERSION_KEY)])
    _with_required(reader, required)
    reader._rows = _canonical(reader, table_format.rows(name, options), renamed, url, duplicates, "caption_id" in names)
    return reader


def _with_required(reader: CaptionReader, required: Sequence[str]) -> CaptionReader:
    for column in required:
        if column not in reader.columns:
            raise DataError(
                f"{reader.source} has no column {column!r}", hint=f"its columns: {', '.join(reader.columns)}"
            )
    return reader


def find_format(path: str, name: str | None = None) -> TableFormat:
    """The format of that name, or the one that a file's ending and content tell.

    Raises:
        DataError: There is none.
    """
    if name is None:
        found = format_of(path)
        if found is None:
            endings = ", ".join(suffix for one in reversed(known_formats()) for suffix in one.suffixes)
            raise DataError(f"{path} is no caption table of a known format", hint=f"known endings: {endings}")
        return found
    chosen = next((one for one in known_formats() if one.name.lower() == name.lower()), None)
    if chosen is None:
        names = ", ".join(one.name for one in reversed(known_formats()))
        raise DataError(f"there is no table format {name!r}", hint=f"known ones: {names}")
    return chosen


def _explain_empty(reader: CaptionReader, table_format: TableFormat, options: ReadOptions) -> None:
    """A file without columns has no rows either; why its lines cannot be read is worth keeping."""
    with reading(reader.source):
        for row in table_format.rows(reader.source, options):
            if isinstance(row, SkippedRow):
                reader.skipped.append(row)


def _canonical(
    reader: CaptionReader,
    rows: Iterator[Row | SkippedRow],
    renamed: dict[str, str],
    url: str | None,
    duplicates: Duplicates,
    has_ids: bool,
) -> Iterator[CaptionRow]:
    blank = dict.fromkeys(reader.columns, "")
    keys = key_columns(reader.columns)
    seen: set[int] = set()
    counts: dict[str, int] = {}
    with reading(reader.source):
        for row in rows:
            reader.line = row.line
            if isinstance(row, SkippedRow):
                reader.skipped.append(row)
                continue
            values = blank | {renamed.get(name, name): value for name, value in row.values.items()}
            check_version(values.pop(VERSION_KEY, ""), reader.source)
            if not values["image"].strip() and url is not None:
                values["image"] = values[url]
            if not values["image"].strip():
                reader.skipped.append(SkippedRow(row.line, "no_image", "the column image is empty"))
                continue
            if not has_ids:
                count = counts.get(values["image"], 0)
                values["caption_id"], counts[values["image"]] = str(count), count + 1
            elif duplicates != "keep" and _is_duplicate(reader, values, keys, seen, duplicates):
                continue
            yield values


def _is_duplicate(
    reader: CaptionReader, values: CaptionRow, keys: Sequence[str], seen: set[int], duplicates: Duplicates
) -> bool:
    # 64 bits of hash instead of each key: among a million rows, two meet by chance once in 40 million files.
    key = row_key(values, keys)
    mark = hash(key)
    if mark not in seen:
        seen.add(mark)
        return False
    shown = ", ".join(f"{name} {value[:_SHOWN_KEY_CHARS]}" for name, value in zip(keys, key, strict=True))
    if duplicates == "error":
        raise DataError(
            f"{reader.source}, line {reader.line}: a second row with {shown}",
            hint="give every caption of an image its own caption_id",
        )
    reader.skipped.append(SkippedRow(reader.line, "duplicate_key", f"a second row with {shown}"))
    return True


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Failures of reading, as errors that a user can act on."""
    try:
        yield
    except UnicodeError as error:
        reason = getattr(error, "reason", None) or str(error)
        raise DataError(
            f"{source} is not UTF-8 text: {reason}",
            hint="save it again as UTF-8 (iconv -f WINDOWS-1256 -t UTF-8 IN > OUT), or name its encoding",
        ) from error
    except LookupError as error:  # an encoding that Python does not know; a KeyError is a mistake of ours
        if isinstance(error, KeyError | IndexError):
            raise
        raise DataError(f"{source} cannot be read: {error}", hint="use a name such as utf-8 or cp1256") from error
    except (OSError, EOFError, zlib.error) as error:  # the latter two: a gzip file cut short or damaged
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{source} cannot be read: {reason}", hint="check the path and its permissions") from error
