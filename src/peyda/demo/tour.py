"""The searches of the demo, and the credits of its photographs (`LICENSES.csv` beside them)."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields

from peyda.errors import StorageError

SAMPLE_TOUR = ("گربه", "فنجان قهوه", "مردی در حال عکاسی", "ساختمان کنار دریاچه", "گل", "موتورسیکلت")
OWN_PHOTOS_TOUR = ("آدم‌ها کنار هم", "دریا و ساحل", "کوه پوشیده از برف", "سگ", "غذا روی میز", "شب در شهر")

CREDITS_FILE = "LICENSES.csv"


@dataclass(frozen=True, slots=True)
class Credit:
    """Who made one photograph and under which terms. `file` is its name in the folder that holds the credits."""

    file: str
    title: str
    author: str
    licence: str
    source: str


def write_credits(folder: str, all_credits: Iterable[Credit]) -> None:
    """Write `LICENSES.csv` into `folder`, at once or not at all, ordered by file name.

    Raises:
        StorageError: The folder cannot be written.
    """
    rows = sorted(all_credits, key=lambda credit: credit.file)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow([field.name for field in fields(Credit)])
                writer.writerows(astuple(row) for row in rows)
            os.replace(temporary, os.path.join(folder, CREDITS_FILE))
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise cannot_write(folder, error) from error


def read_credits(folder: str) -> dict[str, Credit]:
    """Credits by file name; empty when there are none, or none that can be read (they are for showing only)."""
    try:
        with open(os.path.join(folder, CREDITS_FILE), encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    names = [field.name for field in fields(Credit)]
    found = (Credit(**{name: row.get(name) or "" for name in names}) for row in rows)
    return {credit.file: credit for credit in found if credit.file}


def write_photo(folder: str, name: str, data: bytes) -> None:
    """Write one photograph, at once or not at all.

    Raises:
        StorageError: The folder cannot be written.
    """
    path = os.path.join(folder, name)
    temporary = os.path.join(folder, f".{name}.part")  # no suffix of a photograph: an indexer passes it by
    try:
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(folder, error) from error


def make_folder(folder: str) -> None:
    """Make `folder` and its parents where they are missing.

    Raises:
        StorageError: It cannot be made.
    """
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(folder: str, error: OSError) -> StorageError:
    """The error for a folder of demo photographs that cannot be written."""
    return StorageError(
        f"cannot write demo photographs into {folder}: {error.strerror or error}",
        hint="Free some space or make the folder writable, then try again; PEYDA_HOME names another place.",
    )
