"""Adding rows to a table, for jobs that may be killed: each row stays once it is flushed, a half one is cut off.

A job that goes on opens its file here first (which mends the end), and only then reads what earlier runs wrote.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from peyda.captions.writing import GuardedWriter, TableWriter, checked, storage, text_writer
from peyda.errors import DataError


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
    columns = checked(columns)
    if not name.lower().endswith((".csv", ".tsv", ".jsonl", ".ndjson")):
        raise DataError(f"rows cannot be added to {name}", hint="use .jsonl, .csv or .tsv, and convert it at the end")
    with storage(name):
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        is_lines = name.lower().endswith((".jsonl", ".ndjson"))
        has_rows = (_end_last_line(name) if is_lines else False) or _cut_half_row(name)
        if has_rows and not is_lines:
            _check_header(name, columns)
        file = open(name, "a", encoding="utf-8", newline="")  # noqa: SIM115 - closed below
        writer = GuardedWriter(text_writer(name, file, columns, with_header=not has_rows), name)
    try:
        yield writer
    finally:
        with storage(name):
            file.close()


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
