"""Half-written tables: the file beside a table that takes its place in the end, and what killed runs left of such.

Whoever writes holds a lock on the file, which the system lets go when the process ends, however it ends. So a later
run can tell the leftovers of a killed one from the file of a run that is still writing the same table, and removes
them.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_SUFFIX = ".part"
_NAME_CHARACTERS = 80
_TRIES = 100


@contextmanager
def part_file(name: str) -> Iterator[str]:
    """An empty file beside `name`, with the rights that a new file has; removed at the end if it is still there.

    Files that killed runs left there for the same table are removed first.

    Raises:
        OSError: The folder cannot be written.
    """
    folder = os.path.dirname(name) or "."
    os.makedirs(folder, exist_ok=True)
    prefix = f".{os.path.basename(name)[:_NAME_CHARACTERS]}."
    _remove_leftovers(folder, prefix)
    descriptor, path = _made(folder, prefix)
    try:
        if sys.platform == "win32":  # a file that is open cannot be renamed there; nor removed by another run
            os.close(descriptor)
            descriptor = -1
        os.chmod(path, 0o666 & ~_umask())
        yield path
    finally:
        with suppress(FileNotFoundError):  # renamed by now
            os.unlink(path)
        if descriptor >= 0:
            os.close(descriptor)


def _made(folder: str, prefix: str) -> tuple[int, str]:
    """A new file, open and locked."""
    for _ in range(_TRIES):
        descriptor, path = tempfile.mkstemp(dir=folder, prefix=prefix, suffix=_SUFFIX)
        # Between its making and its locking another run may have taken it for a leftover.
        if _try_lock(descriptor) is not False and os.path.exists(path):
            return descriptor, path
        os.close(descriptor)
    raise OSError(f"no temporary file stays in {folder}")


def _remove_leftovers(folder: str, prefix: str) -> None:
    leftover = re.compile(re.escape(prefix) + r"[a-z0-9_]{8}" + re.escape(_SUFFIX))
    for entry in os.listdir(folder):
        if not leftover.fullmatch(entry):
            continue
        path = os.path.join(folder, entry)
        with suppress(OSError):  # gone, or another user's
            descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                if _try_lock(descriptor):
                    os.unlink(path)
            finally:
                os.close(descriptor)


def _try_lock(descriptor: int) -> bool | None:
    """Whether the lock was free and is held now; None where the system or the disk has no such locks."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _umask() -> int:
    """The process's umask; reading it means setting it for a moment."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
