"""Walking folders of photographs: which files are candidates, and which folders a person would not mean.

The walk never fails and never opens a photograph: what cannot be listed comes out as `Skipped`. It holds one folder's
handle for each level and no list of files, so a million files cost no more memory than ten.

Symbolic links to files are followed (a photograph is where its name is); links to folders are not, which makes loops
impossible: a link that leads out of what is being indexed is reported, so that a person can name it as a path of its
own. Hidden files and folders, and the folders in `JUNK_FOLDERS`, are left out without a word.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import NamedTuple

from peyda.gallery.catalog import CATALOG_NAME
from peyda.gallery.directory import MANIFEST_NAME
from peyda.gallery.reasons import LINKED_FOLDER, MISSING_FOLDER, NOT_A_FILE, UNREADABLE, UNREADABLE_FOLDER, VANISHED
from peyda.images import SUPPORTED_SUFFIXES
from peyda.images.sniff import sniff
from peyda.types import Skipped

JUNK_FOLDERS = frozenset(
    name.casefold()
    for name in (
        "$RECYCLE.BIN",
        "@eaDir",
        "#recycle",
        "#snapshot",
        "__MACOSX",
        "__pycache__",
        "lost+found",
        "node_modules",
        "System Volume Information",
    )
)
_SNIFF_BYTES = 1024


class Found(NamedTuple):
    """A file that may be a photograph."""

    path: str
    size_bytes: int
    mtime_ns: int


class Scope:
    """A set of folders and files, and which of them a path lies under. All paths absolute."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = set(paths)

    def add(self, paths: Iterable[str]) -> None:
        """Widen the scope."""
        self._paths.update(paths)

    def covers(self, path: str) -> bool:
        """Whether `path` is one of the scope's paths or lies under one."""
        return bool(self._paths) and self.root_of(path) is not None

    def root_of(self, path: str) -> str | None:
        """The outermost path of the scope that holds `path`, or None."""
        return next((root for root in _ancestors(path) if root in self._paths), None)


def _ancestors(path: str) -> list[str]:
    """`path` and the folders above it, outermost first."""
    found = [path]
    while (parent := os.path.dirname(path)) != path:
        found.append(parent)
        path = parent
    return found[::-1]


def distinct_roots(paths: Iterable[str]) -> list[str]:
    """Absolute paths without repetitions and without those that the walk of another one reaches anyway."""
    absolute = dict.fromkeys(os.path.abspath(path) for path in paths)
    return [path for path in absolute if not _is_reached(path, absolute)]


def _is_reached(path: str, roots: Container[str]) -> bool:
    """Whether the walk of another root comes by: only plain folders lie between that root and `path`."""
    step = path
    while (parent := os.path.dirname(step)) != step:
        # A hidden folder, or a link to one, that was named on its own is meant.
        if is_left_out(os.path.basename(step)) or os.path.islink(step):
            return False
        if parent in roots:
            return True
        step = parent
    return False


def walk(roots: Sequence[str]) -> Iterator[Found | Skipped]:
    """Every candidate under `roots` (folders or single files), and everything that could not be looked at."""
    for root in roots:
        try:
            status = os.stat(root)
        except OSError as error:
            yield _missing_root(root, error)
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _walk_folder(root, roots)
        elif stat.S_ISREG(status.st_mode):
            yield Found(root, status.st_size, status.st_mtime_ns)
        else:
            yield Skipped(root, NOT_A_FILE, "This is neither a file nor a folder.")


def _walk_folder(root: str, roots: Sequence[str]) -> Iterator[Found | Skipped]:
    pending = [root]
    while pending:
        folder = pending.pop()
        if _is_gallery(folder):
            continue
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_left_out(entry.name):
                        continue
                    if _is_folder(entry):
                        pending.append(entry.path)
                    elif (outcome := _look_at(entry, roots)) is not None:
                        yield outcome
        except OSError as error:
            yield Skipped(folder, UNREADABLE_FOLDER, f"This folder cannot be listed: {error.strerror}.")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False  # `_look_at` will say what is wrong with it


def _look_at(entry: os.DirEntry[str], roots: Sequence[str]) -> Found | Skipped | None:
    suffix = os.path.splitext(entry.name)[1].casefold()
    if suffix and suffix not in SUPPORTED_SUFFIXES:
        return _linked_folder(entry, roots)
    try:
        status = entry.stat()
    except OSError as error:
        if not suffix:
            return None
        is_gone = error.errno == errno.ENOENT
        detail = "The file went away, or this link leads nowhere." if is_gone else f"{error.strerror}."
        return Skipped(entry.path, VANISHED if is_gone else UNREADABLE, detail)
    if stat.S_ISDIR(status.st_mode):
        return _linked_folder(entry, roots)
    if not stat.S_ISREG(status.st_mode):
        # Reading a pipe or a device could wait for ever.
        return (
            Skipped(entry.path, NOT_A_FILE, "This is a pipe, a socket or a device, not a regular file.")
            if suffix
            else None
        )
    if not suffix and not _sniffs_like_image(entry.path):
        return None
    return Found(entry.path, status.st_size, status.st_mtime_ns)


def _linked_folder(entry: os.DirEntry[str], roots: Sequence[str]) -> Skipped | None:
    try:
        if not entry.is_symlink() or not entry.is_dir():
            return None
        target = os.path.realpath(entry.path)
    except OSError:
        return None
    if Scope(os.path.realpath(root) for root in roots).covers(target):
        return None
    return Skipped(entry.path, LINKED_FOLDER, f"Links to folders are not followed; this one leads to {target}")


def _sniffs_like_image(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return sniff(file.read(_SNIFF_BYTES)) is not None
    except OSError:
        return False


def is_left_out(name: str) -> bool:
    """Whether a file or folder of that name is hidden or junk, unless it is named on its own."""
    return name.startswith(".") or name.casefold() in JUNK_FOLDERS


def _is_gallery(folder: str) -> bool:
    """A gallery's thumbnails are no photographs, wherever it lies."""
    return all(os.path.exists(os.path.join(folder, name)) for name in (MANIFEST_NAME, CATALOG_NAME))


def _missing_root(root: str, error: OSError) -> Skipped:
    return Skipped(root, MISSING_FOLDER, f"This folder is not there ({error.strerror}); its photographs are kept.")


class Presence:
    """Whether a path is really gone, and not only out of reach with its disk.

    A photograph counts as gone when nothing has its name any more while the root it was indexed under is there and
    holds something: the empty folder that an unmounted disk leaves behind removes nothing.

    Args:
        roots: The folders the gallery knows.
    """

    def __init__(self, roots: Iterable[str]) -> None:
        self._roots = Scope(roots)

    def is_gone(self, path: str) -> bool:
        """True when there is no such file and its root is well."""
        return not os.path.lexists(path) and self.is_reachable(path)

    def root_of(self, path: str) -> str:
        """The root that `path` was indexed under; outside all roots, its own folder."""
        root = self._roots.root_of(path)
        return os.path.dirname(path) if root is None or root == path else root

    def is_reachable(self, path: str) -> bool:
        """Whether the root of `path` is there and holds something."""
        return holds_something(self.root_of(path))


def holds_something(folder: str) -> bool:
    """Whether `folder` can be listed and is not empty."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
