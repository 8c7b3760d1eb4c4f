"""Who is using a gallery: at most one indexer, at most one change of model, and at most one server.

All are operating-system locks, so a process that dies in any way gives them back; the JSON file beside each lock only
says who holds it, and is ignored as soon as the lock is free. Readers need no lock at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from peyda.errors import GalleryBusy
from peyda.gallery.directory import storage_error, write_json_atomically

if TYPE_CHECKING:
    from filelock import BaseFileLock

WRITER_NAME = "writer"
SERVER_NAME = "server"
UPGRADE_NAME = "upgrade"
# A reader that asks whether a server is there holds its lock for an instant; a starting server waits that out.
_SERVER_TIMEOUT_S = 2.0


class WriterLock:
    """The right to change a gallery; a context manager.

    Args:
        directory: The gallery directory.
        timeout_s: How long to wait for another indexer to finish.

    Raises:
        GalleryBusy: On entering, when another process is indexing; says who and since when.
        StorageError: On entering, when the directory is read-only or gone.
    """

    _name = WRITER_NAME
    _is_what = "is being indexed already"
    _hint = "Wait until it is done, or stop it with Ctrl-C; searching works meanwhile."

    def __init__(self, directory: str | os.PathLike[str], *, timeout_s: float = 0.0) -> None:
        self._directory = Path(directory)
        self._timeout_s = timeout_s
        self._held: BaseFileLock | None = None

    def __enter__(self) -> Self:
        lock = _file_lock(self._directory / f"{self._name}.lock")
        if not _acquire(lock, self._timeout_s):
            raise self._busy()
        self._held = lock
        try:
            write_json_atomically(self._directory / f"{self._name}.json", _whoami())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._held is not None:
            with contextlib.suppress(OSError):
                (self._directory / f"{self._name}.json").unlink(missing_ok=True)
            self._held.release()
            self._held = None

    def _busy(self) -> GalleryBusy:
        who = _read(self._directory / f"{self._name}.json")
        holder = f"process {who['pid']} on {who.get('host', '?')}, since {who.get('since', '?')}" if who else "another"
        return GalleryBusy(
            f"{self._directory} {self._is_what} ({holder})",
            hint=self._hint,
        )


class UpgradeLock(WriterLock):
    """The right to make and remove generations of vectors; a context manager, with errors as of `WriterLock`.

    Indexing goes on beside it: who switches to another generation takes the `WriterLock` too, for a moment.
    """

    _name = UPGRADE_NAME
    _is_what = "is being brought over to another model already"
    _hint = "Wait until it is done, or stop it with Ctrl-C and run the same command again; searching works meanwhile."


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The server that holds a gallery: its address (`http://127.0.0.1:8000`), process and gallery."""

    url: str
    pid: int
    gallery_id: str


class ServerPresence:
    """Held by `peyda serve` for as long as it answers; a context manager.

    Args:
        directory: The gallery directory.
        info: What clients need to find the server.

    Raises:
        GalleryBusy: On entering, when another server holds the gallery.
        StorageError: On entering, when the directory is read-only or gone.
    """

    def __init__(self, directory: str | os.PathLike[str], info: ServerInfo) -> None:
        self._directory = Path(directory)
        self._info = info
        self._held: BaseFileLock | None = None

    def __enter__(self) -> Self:
        lock = _file_lock(self._directory / f"{SERVER_NAME}.lock")
        if not _acquire(lock, _SERVER_TIMEOUT_S):
            other = ServerPresence.find(self._directory)
            raise GalleryBusy(
                f"{self._directory} is being served already" + (f" at {other.url}" if other else ""),
                hint="Use that server, or stop it first.",
            )
        self._held = lock
        try:
            value = {"url": self._info.url, "pid": self._info.pid, "gallery_id": self._info.gallery_id}
            write_json_atomically(self._directory / f"{SERVER_NAME}.json", value)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._held is not None:
            with contextlib.suppress(OSError):
                (self._directory / f"{SERVER_NAME}.json").unlink(missing_ok=True)
            self._held.release()
            self._held = None

    @staticmethod
    def find(directory: str | os.PathLike[str]) -> ServerInfo | None:
        """The server that holds this gallery now, or None; files left by one that died are ignored. Never raises."""
        folder = Path(directory)
        value = _read(folder / f"{SERVER_NAME}.json")
        if value is None or not _is_locked(folder / f"{SERVER_NAME}.lock"):
            return None
        try:
            return ServerInfo(str(value["url"]), int(value["pid"]), str(value["gallery_id"]))
        except (KeyError, TypeError, ValueError):
            return None


def is_being_indexed(directory: str | os.PathLike[str]) -> bool:
    """Whether some process holds the `WriterLock` now."""
    return _is_locked(Path(directory) / f"{WRITER_NAME}.lock")


def is_being_upgraded(directory: str | os.PathLike[str]) -> bool:
    """Whether some process holds the `UpgradeLock` now."""
    return _is_locked(Path(directory) / f"{UPGRADE_NAME}.lock")


def _file_lock(path: Path) -> BaseFileLock:
    from filelock import FileLock  # imported late: a search never needs it

    return FileLock(path, thread_local=False)


def _acquire(lock: BaseFileLock, timeout_s: float) -> bool:
    from filelock import Timeout

    try:
        lock.acquire(timeout=timeout_s)
    except Timeout:
        return False
    except OSError as error:
        raise storage_error(f"cannot lock {lock.lock_file}", error) from error
    return True


def _is_locked(path: Path) -> bool:
    """Whether some process holds the lock, without waiting and, on POSIX, without the right to write."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows
        lock = _file_lock(path)
        if _acquire(lock, 0.0):
            lock.release()
            return False
        return True
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _whoami() -> dict[str, Any]:
    import socket

    since = datetime.fromtimestamp(time.time()).isoformat(sep=" ", timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
