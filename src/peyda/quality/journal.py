"""Scores that an interrupted run had finished, so that the next one does not work them out again.

One small file for each score column beside the table to be written, deleted when that is whole. 12 bytes a score: a
64-bit hash of what it depends on, and the number; after a line that says which model it was.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from peyda.errors import StorageError
from peyda.types import Float32

_VERSION = 1
_ENTRY = np.dtype([("key", "<u8"), ("score", "<f4")])


class ScoreJournal:
    """The scores of one column, kept on disk while the table is being written.

    Args:
        table: The table to be written; the journal is `.<its name>.<column>.scores` beside it.
        column: The score column.
        fingerprint: Of the model; a journal of another model is begun anew.

    Raises:
        StorageError: The file cannot be written.
    """

    def __init__(self, table: str, column: str, fingerprint: str) -> None:
        folder, name = os.path.split(table)
        self.path = os.path.join(folder, f".{name}.{column}.scores")
        self._header = json.dumps({"version": _VERSION, "column": column, "model": fingerprint}).encode() + b"\n"
        try:
            os.makedirs(folder or ".", exist_ok=True)
            self._keys, self._scores = self._read()
            self._file: BinaryIO = open(self.path, "ab")  # noqa: SIM115 - closed by close() and remove()
            if self._file.tell() == 0:
                self._file.write(self._header)
        except OSError as error:
            raise self._error(error) from error

    def _read(self) -> tuple[npt.NDArray[np.uint64], Float32]:
        """What an earlier run left, sorted by key; a half-written last entry is cut off."""
        entries = np.empty(0, _ENTRY)
        try:
            with open(self.path, "r+b") as file:
                if file.readline() == self._header:
                    start = file.tell()
                    data = file.read()
                    whole = len(data) // _ENTRY.itemsize
                    entries = np.frombuffer(data[: whole * _ENTRY.itemsize], _ENTRY)
                    file.truncate(start + whole * _ENTRY.itemsize)
                else:
                    file.truncate(0)
        except FileNotFoundError:
            pass
        order = np.argsort(entries["key"], kind="stable")
        return entries["key"][order], entries["score"][order]

    def __len__(self) -> int:
        """Scores that an earlier run left."""
        return len(self._keys)

    def known(self, inputs: Sequence[tuple[str, ...]]) -> tuple[Float32, npt.NDArray[np.bool_]]:
        """The scores that are there, `Float32[n]`, and whether each is, `Bool[n]`."""
        scores = np.full(len(inputs), np.nan, np.float32)
        if not len(self._keys):
            return scores, np.zeros(len(inputs), bool)
        keys = _keys(inputs)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        found = self._keys[at] == keys
        scores[found] = self._scores[at[found]]
        return scores, found

    def add(self, inputs: Sequence[tuple[str, ...]], scores: Float32) -> None:
        """Keep scores; they survive a kill of the process.

        Raises:
            StorageError: The disk is full, or gone.
        """
        entries = np.empty(len(inputs), _ENTRY)
        entries["key"], entries["score"] = _keys(inputs), scores
        try:
            self._file.write(entries.tobytes())
            self._file.flush()
        except OSError as error:
            raise self._error(error) from error

    def close(self) -> None:
        """Close the file; what is in it stays for the next run."""
        self._file.close()

    def remove(self) -> None:
        """The table is whole: the journal is no longer needed."""
        self.close()
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._error(error) from error

    def _error(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self.path} cannot be written: {error.strerror or error}", hint="check the folder, its rights and space"
        )


def _keys(inputs: Sequence[tuple[str, ...]]) -> npt.NDArray[np.uint64]:
    digests = [
        hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest() for parts in inputs
    ]
    return np.frombuffer(b"".join(digests), "<u8")
