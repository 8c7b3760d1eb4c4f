"""Folders as filters: a folder matches its whole subtree, and names are bytes because file systems say so."""

from __future__ import annotations

import os
from hashlib import blake2b

_SEPARATOR = os.fsencode(os.sep)


def folder_bytes(folder: str) -> bytes:
    """The folder's bytes on disk, without trailing separators; the root is `b""`. Surrogate escapes are honoured."""
    return os.fsencode(folder).rstrip(_SEPARATOR)


def is_within(folder: bytes, ancestor: bytes) -> bool:
    """Whether `folder` is `ancestor` or lies below it (`/a/bc` does not lie below `/a/b`)."""
    return folder == ancestor or folder.startswith(ancestor + _SEPARATOR)


def ancestor_keys(folder: bytes) -> list[str]:
    """One ASCII keyword for the folder and for each of its ancestors, for engines that filter by keyword.

    Keywords are hashes: engines want valid UTF-8, file names need not be.
    """
    keys = [folder_key(folder)]
    while folder:
        folder = folder.rpartition(_SEPARATOR)[0]
        keys.append(folder_key(folder))
    return keys


def folder_key(folder: bytes) -> str:
    """The keyword of one folder."""
    return blake2b(folder, digest_size=16).hexdigest()
