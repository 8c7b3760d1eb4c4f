"""Folders and archives as sources of a model: what somebody else downloaded, or exported, and passed on.

An archive is a stranger's: members are listed and judged before one byte is written, nothing but plain files is taken,
under names of our own choosing, and a size that no model has, or that a small archive cannot honestly hold, is refused.
Sources: CWE-22 (paths that escape), CWE-409 (bombs); APPNOTE.TXT for zip, POSIX pax for tar.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from peyda.encoders.hub.fetch import is_as_announced
from peyda.encoders.hub.layout import (
    CARD,
    CONFIG,
    LARGEST_MODEL_BYTES,
    MOST_FILES,
    REQUIRED,
    SourceFile,
    chosen,
    read_object,
)
from peyda.encoders.hub.source import Done, Report, Wanted
from peyda.errors import ModelError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

_CHUNK_BYTES = 1 << 20
_MOST_MEMBERS = 4 * MOST_FILES
_MOST_RATIO = 100
"""Weights compress to some nine tenths; a table of pieces may, much better. Beyond this, it is a bomb."""
_RATIO_SLACK_BYTES = 50_000_000
_DAMAGES = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error)


class FolderSource:
    """A model directory, or a snapshot in a hub's cache, on this machine.

    Args:
        folder: Holds `config.json`, `visual/` and `textual/`. Links to files are followed: a hub's cache consists
            of them.

    Raises:
        ModelError: It holds no model.
        OSError: It cannot be read.
    """

    is_resumable = False

    def __init__(self, folder: Path) -> None:
        self.label = str(folder)
        self._folder = folder
        self._is_stopped = threading.Event()
        entries = [path for part in (folder, folder / "visual", folder / "textual") for path in _plain_files(part)]
        recorded, self.licence = _papers(folder, self.label)
        names = [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in entries]
        self.files = chosen([SourceFile(name, name, size, recorded.get(name, "")) for name, size in names], self.label)

    @property
    def record(self) -> dict[str, str]:
        """The folder's name; its whole path is nobody's business where the model goes next."""
        return {"folder": self._folder.resolve().name}

    def stop(self) -> None:
        """End the copy that is under way."""
        self._is_stopped.set()

    def bring(self, wanted: Sequence[Wanted], report: Report, done: Done) -> None:
        """Copy files; see `Source`.

        Raises:
            ModelError: One changed meanwhile, or is not what the model's manifest recorded.
        """
        for one in wanted:
            with (self._folder / one.file.origin).open("rb") as opened:
                _write(opened, one, report, self._is_stopped, self.label)
            done(one)


class ArchiveSource:
    """A model in a .zip or .tar archive, at its top or in a folder of it.

    Args:
        path: The archive.

    Raises:
        ModelError: It is no archive, no model, or hostile.
        OSError: It cannot be read.
    """

    is_resumable = False

    def __init__(self, path: Path) -> None:
        self.label = str(path)
        self._path = path
        self._is_stopped = threading.Event()
        with _problems(self.label):
            members = list(_members(path, self.label))
        prefix = _prefix([name for name, _ in members], self.label)
        found = [(name[len(prefix) :], name, size) for name, size in members if name.startswith(prefix)]
        self.files = chosen([SourceFile(*one) for one in found], self.label)
        with tempfile.TemporaryDirectory() as folder:
            self._peek(Path(folder))
            recorded, self.licence = _papers(Path(folder), self.label)
        self.files = tuple(replace(file, sha256=recorded.get(file.path, "")) for file in self.files)

    @property
    def record(self) -> dict[str, str]:
        """The archive's name."""
        return {"archive": self._path.name}

    def stop(self) -> None:
        """End the extraction that is under way."""
        self._is_stopped.set()

    def bring(self, wanted: Sequence[Wanted], report: Report, done: Done) -> None:
        """Extract files, in one pass over the archive; see `Source`.

        Raises:
            ModelError: The archive is damaged.
        """
        by_name = {one.file.origin: one for one in wanted}
        with _problems(self.label):
            for name, opened in _contents(self._path, set(by_name)):
                _write(opened, by_name[name], report, self._is_stopped, self.label)
                done(by_name[name])

    def _peek(self, folder: Path) -> None:
        """Extract what says where the model comes from."""
        papers = {CONFIG: CONFIG, CARD: "README.md"}
        wanted = [Wanted(file, folder / papers[file.path]) for file in self.files if file.path in papers]
        self.bring(wanted, lambda *_: None, lambda _: None)


def is_archive(path: str) -> bool:
    """Whether a name is one of an archive that can be read."""
    return path.lower().endswith(ARCHIVES)


def _plain_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file())


def _papers(folder: Path, label: str) -> tuple[dict[str, str], str]:
    """Checksums by path, as an export or a pull of ours recorded them, and the licence; empty where not there."""
    from peyda.encoders.export.licences import read_licence

    own = read_object(folder / CONFIG, label).get("peyda") if (folder / CONFIG).is_file() else None
    own = own if isinstance(own, dict) else {}
    files = own.get("files")
    entries = files.items() if isinstance(files, dict) else ()
    recorded = {path: str(entry.get("sha256", "")) for path, entry in entries if isinstance(entry, dict)}
    return recorded, str(own.get("licence") or read_licence(folder))


def _write(opened: IO[bytes], one: Wanted, report: Report, stop: threading.Event, label: str) -> None:
    size = 0
    with one.part.open("wb") as out:
        while size <= one.file.size_bytes and (chunk := opened.read(_CHUNK_BYTES)):
            if stop.is_set():
                raise ModelError(f"{one.file.origin} of {label}: it was stopped")
            out.write(chunk)
            size += len(chunk)
            report(one.file, size)
        out.flush()
        os.fsync(out.fileno())
    if not is_as_announced(one.part, one.file):
        raise ModelError(
            f"{one.file.origin} of {label} is damaged: it is not what was recorded of it",
            hint="fetch it again from where it comes",
        )


def _prefix(names: list[str], label: str) -> str:
    """What stands before the model's files in an archive: "" or "FOLDER/…/"."""
    found = [name.removesuffix(CONFIG) for name in names if name == CONFIG or name.endswith("/" + CONFIG)]
    found = [prefix for prefix in found if all(prefix + part in names for part in REQUIRED)]
    if len(found) > 1:
        raise ModelError(f"{label} holds {len(found)} models", hint="unpack it, and pull the folder of one of them")
    return found[0] if found else ""


def _hostile(label: str, what: str) -> ModelError:
    return ModelError(f"{label} is refused: {what}", hint="do not use it; get the model from somebody else")


def _checked_name(name: str, label: str) -> str:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name or ":" in parts[0]:
        raise _hostile(label, f"it holds a path that leads out of it ({name[:80]!r})")
    return "/".join(part for part in parts if part not in ("", "."))


def _members(path: Path, label: str) -> Iterator[tuple[str, int]]:
    """Names and lengths of the plain files; anything that is neither file nor folder is refused."""
    total, names = 0, set()
    limit = min(LARGEST_MODEL_BYTES, _MOST_RATIO * path.stat().st_size + _RATIO_SLACK_BYTES)
    walk = _zip_members if path.name.lower().endswith(".zip") else _tar_members
    for count, (name, size, kind) in enumerate(walk(path)):
        clean = _checked_name(name, label)
        total += size
        if count >= _MOST_MEMBERS or total > limit:
            raise _hostile(label, "it would unpack to more than a model can be")
        if kind == "folder":
            continue
        if kind != "file":
            raise _hostile(label, f"{name[:80]!r} is a link or a device, not a file")
        if clean in names:
            raise _hostile(label, f"it holds {name[:80]!r} twice")
        names.add(clean)
        yield clean, size


def _zip_members(path: Path) -> Iterator[tuple[str, int, str]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.flag_bits & 1:
                raise zipfile.BadZipFile("it is encrypted")
            is_plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
            yield info.filename, info.file_size, "folder" if info.is_dir() else "file" if is_plain else "other"


def _tar_members(path: Path) -> Iterator[tuple[str, int, str]]:
    with _open_tar(path) as archive:
        for member in archive:
            is_plain = member.isreg() and not member.issparse()
            yield member.name, member.size, "folder" if member.isdir() else "file" if is_plain else "other"


def _contents(path: Path, names: set[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Files by their cleaned names, each open until the next one is asked for."""
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = _checked_name(info.filename, str(path))
                if name in names and not info.is_dir():
                    with archive.open(info) as opened:
                        yield name, opened
        return
    with _open_tar(path) as tar:
        for member in tar:
            name = _checked_name(member.name, str(path))
            if name in names and member.isreg():
                extracted = tar.extractfile(member)
                if extracted is not None:
                    with extracted:
                        yield name, extracted


class _Measured:
    """A file for tarfile whose single reads are small: a header's announced length is a stranger's."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= 4 * _CHUNK_BYTES:
            raise tarfile.ReadError("a header of it is larger than any")
        return bytes(self._inner.read(size))

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._inner.seek(offset, whence))

    def tell(self) -> int:
        return int(self._inner.tell())


@contextmanager
def _open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    with _decompressed(path) as opened:
        measured: Any = _Measured(opened)
        with tarfile.open(fileobj=measured, mode="r:") as archive:
            yield archive


def _decompressed(path: Path) -> Any:
    lower = path.name.lower()
    if lower.endswith("gz"):
        return gzip.open(path)
    if lower.endswith("bz2"):
        return bz2.open(path)
    if lower.endswith("xz"):
        return lzma.open(path)
    return path.open("rb")


@contextmanager
def _problems(label: str) -> Iterator[None]:
    """What the libraries raise on damaged archives, as errors that name the archive."""
    try:
        yield
    except (*_DAMAGES, NotImplementedError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk, not the archive (bz2 raises it bare)
            raise
        raise ModelError(
            f"{label} cannot be read as an archive: {' '.join(str(error).split())[:200]}",
            hint="fetch it again from where it comes",
        ) from error
