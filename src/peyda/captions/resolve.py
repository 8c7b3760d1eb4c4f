"""From the image names of a table to files: by path under a directory, otherwise by file name anywhere in it.

Tables carry paths from the machine that made them (`flickr8k/NAME.jpg`), so the file name alone is asked where the
path leads nowhere. A name never leads out of the directory: `..`, absolute paths and drive letters do not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from peyda.captions.schema import photo_name
from peyda.errors import DataError

NOT_FOUND = "not_found"
AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class ResolvedImages:
    """What became of each name.

    Attributes:
        paths: Name → its file, with symbolic links resolved, so that two names of one file give one path.
        missing: Name → why it has no file: "not_found", or "ambiguous" where several files have that file name and
            the path does not say which.
    """

    paths: Mapping[str, str]
    missing: Mapping[str, str]


class ImageFinder:
    """Finds the files of image names under a directory, one name at a time.

    The directory is walked at most once, and only if some path leads nowhere. Composed and decomposed Unicode file
    names are the same (a copy from macOS has the latter).

    Raises:
        DataError: The directory is none.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._root = os.fspath(directory)
        if not os.path.isdir(self._root):
            raise DataError(f"there is no directory {self._root}", hint="name the directory that holds the photographs")
        self._by_file_name: dict[str, set[str]] | None = None

    def find(self, name: str) -> tuple[str, str]:
        """(file, "") of an image name, or ("", why it has none)."""
        found = _by_path(name, self._root)
        if found is not None:
            return found, ""
        if self._by_file_name is None:
            self._by_file_name = _index(self._root)
        candidates = self._by_file_name.get(photo_name(name), set())
        if len(candidates) != 1:
            return "", AMBIGUOUS if candidates else NOT_FOUND
        return next(iter(candidates)), ""


def resolve_images(images: Iterable[str], directory: str | os.PathLike[str]) -> ResolvedImages:
    """Find the file of each name under `directory`.

    Raises:
        DataError: `directory` is not a directory that can be listed.
    """
    finder = ImageFinder(directory)
    paths: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name in images:
        path, reason = finder.find(name)
        if reason:
            missing[name] = reason
        else:
            paths[name] = path
    return ResolvedImages(paths, missing)


def _by_path(name: str, root: str) -> str | None:
    if "\0" in name:
        return None
    for written in dict.fromkeys((name, name.replace("\\", "/"))):
        relative = os.path.normpath(written)
        if os.path.isabs(relative):  # fine where it points into the directory all the same
            relative = os.path.relpath(relative, os.path.abspath(root))
        if os.path.splitdrive(relative)[0] or relative.split(os.sep)[0] == os.pardir:
            continue
        path = os.path.join(root, relative)
        if os.path.isfile(path):
            return os.path.realpath(path)
    return None


def _index(root: str) -> dict[str, set[str]]:
    """File name → the files of that name under `root`; linked folders are walked too, each real folder once."""
    files: dict[str, set[str]] = {}
    walked = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in walked:
            folders.clear()  # a link back up, or a second link to the same place
            continue
        walked.add(real)
        for name in names:
            files.setdefault(photo_name(name), set()).add(os.path.realpath(os.path.join(real, name)))
    return files
