"""An advisory lock on a file that dies with its process, for the vector engine (which only one process may open).

The `filelock` package would do; it costs more to import than a whole search does.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """Exclusive while held; released by `release` or by the death of the process.

    Args:
        path: The lock file; it is created and never removed by this class.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd >= 0

    def try_acquire(self) -> bool:
        """Take the lock if it is free. False when another holder has it or the file cannot be made (read-only disk)."""
        if self.is_held:
            return True
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError:
            return False
        try:
            _lock(fd)
        except OSError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def release(self) -> None:
        """Give the lock back; nothing happens when it is not held."""
        if self.is_held:
            os.close(self._fd)
            self._fd = -1
