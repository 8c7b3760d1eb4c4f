"""What became of every address, line by line: a file that survives any kill, and tells the next run what is left."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from peyda.captions.appending import append_writer
from peyda.captions.reading import open_reader
from peyda.captions.web.failures import PASSING_REASONS
from peyda.captions.writing import TableWriter

LEDGER_FILE = "ledger.jsonl"

COLUMNS = ("url", "image", "reason", "detail", "tries", "format", "width_px", "height_px", "size_bytes", "content_hash")


@dataclass(frozen=True, slots=True)
class Entry:
    """The last word on one address: `image` is its file's name in the folder, "" where there is none."""

    image: str
    reason: str
    size_bytes: int


@contextmanager
def open_ledger(folder: str) -> Iterator[tuple[dict[str, Entry], TableWriter]]:
    """What earlier runs wrote, and a writer for this one's.

    Raises:
        DataError: The ledger is damaged beyond a half last line.
        StorageError: It cannot be written.
    """
    path = os.path.join(folder, LEDGER_FILE)
    with append_writer(path, COLUMNS) as writer:  # mends the end of the file first
        yield read_ledger(folder), writer


def read_ledger(folder: str) -> dict[str, Entry]:
    """Address → its last entry; empty where there is no ledger yet.

    Raises:
        DataError: It cannot be read.
    """
    path = os.path.join(folder, LEDGER_FILE)
    if not os.path.exists(path) or os.path.getsize(path) == 0:
        return {}
    found: dict[str, Entry] = {}
    with open_reader(path, format="JSONL", duplicates="keep") as reader:
        for row in reader:
            size = row.get("size_bytes", "")
            found[row["url"]] = Entry(
                row["image"] if not row["reason"] else "", row["reason"], int(size) if size.isdecimal() else 0
            )
    return found


def is_settled(entry: Entry, folder: str, *, retry_failed: bool) -> bool:
    """Whether an address needs no further request: its file is there, whole, or its failure will not pass."""
    if entry.image:
        try:
            return os.path.getsize(os.path.join(folder, *entry.image.split("/"))) == entry.size_bytes
        except OSError:
            return False
    return not retry_failed and entry.reason not in PASSING_REASONS


def failure_line(url: str, reason: str, detail: str, tries: int) -> Mapping[str, object]:
    """A ledger line of a failure."""
    return {"url": url, "reason": reason, "detail": detail, "tries": tries}
