"""A gallery on disk: its manifest, the rule that a gallery belongs to one image tower, and where its parts lie.

```text
GALLERY/
├── manifest.json     what this gallery is (written last when it is made, replaced whole ever after)
├── catalog.sqlite    which photographs exist (`peyda.gallery.catalog`)
├── store/            their vectors (`peyda.gallery.store`)
├── thumbnails/       made by the server, free to delete
├── writer.lock/json  who is indexing     (`peyda.gallery.locks`)
└── server.lock/json  who is serving
```

This module knows no photographs and no vectors. Everything it writes goes to a temporary file and is renamed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from peyda.errors import GalleryCorrupt, GalleryError, GalleryMismatch, GalleryNotFound, GalleryTooNew, StorageError
from peyda.persian import NORMALIZER_VERSION

if TYPE_CHECKING:
    from peyda.gallery.catalog import Catalog
    from peyda.gallery.store.protocol import Store

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
STORE_NAME = "store"
THUMBNAILS_NAME = "thumbnails"
# What a `create` that was killed may have left behind: such a directory may be made a gallery again.
_OWN_NAMES = ("catalog.", "scan.", "writer.", "server.", MANIFEST_NAME, STORE_NAME, THUMBNAILS_NAME)


class ImageTower(Protocol):
    """What a gallery remembers of its model. An `Encoder` is one, and so is anything else with these three."""

    @property
    def name(self) -> str:
        """Short name, e.g. "mini"."""

    @property
    def embed_dim(self) -> int:
        """Length of an embedding."""

    @property
    def visual_fingerprint(self) -> str:
        """Hex digest over the image tower alone."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a gallery is.

    `model` is what `peyda.load_encoder` takes: a name or an absolute directory. `roots` are the absolute folders that a
    bare `peyda index` walks again, in the order they were first given.
    """

    gallery_id: str
    model: str
    visual_fingerprint: str
    embed_dim: int
    normalizer_version: str
    created_at: str
    roots: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping; names that are not valid UTF-8 stay readable because JSON escapes their surrogates."""
        return {**asdict(self), "roots": list(self.roots)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Manifest:
        """The inverse of `to_dict`; unknown keys are ignored. Raises KeyError, TypeError or ValueError on nonsense."""
        return cls(
            gallery_id=str(value["gallery_id"]),
            model=str(value["model"]),
            visual_fingerprint=str(value["visual_fingerprint"]),
            embed_dim=int(value["embed_dim"]),
            normalizer_version=str(value["normalizer_version"]),
            created_at=str(value["created_at"]),
            roots=tuple(str(root) for root in value["roots"]),
            schema_version=int(value["schema_version"]),
        )


def default_gallery_dir() -> Path:
    """Where the gallery lies when no argument says otherwise: what the settings say. Raises ConfigError."""
    from peyda.config import load_settings

    return Path(load_settings().gallery)


def write_json_atomically(path: Path, value: object) -> None:
    """Replace `path` with `value` as ASCII JSON: after a crash the file is the old one or the new one, never half.

    Raises:
        StorageError: The disk is full, read-only or gone.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="ascii") as file:
            json.dump(value, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise storage_error(f"cannot write {path}", error) from error


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut, where the platform can."""
    if os.name == "nt":  # pragma: no cover - a directory cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def storage_error(what: str, error: Exception) -> StorageError:
    """The one way an `OSError` (or SQLite's) becomes something a user can act on."""
    reason = getattr(error, "strerror", None) or str(error)
    return StorageError(
        f"{what}: {reason}",
        hint="Free some disk space or check that the disk is there and writable, then run the same command again: "
        "it goes on where it stopped.",
    )


class GalleryDirectory:
    """One gallery on disk; make one with `create`, `open` or `open_or_create`.

    Args:
        path: The directory.
        manifest: What it holds.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    def __repr__(self) -> str:
        return f"GalleryDirectory({str(self.path)!r}, model={self.manifest.model!r})"

    @classmethod
    def create(cls, path: str | os.PathLike[str], encoder: ImageTower, *, model: str | None = None) -> GalleryDirectory:
        """Make an empty gallery for the image tower of `encoder`.

        Args:
            path: A directory that does not exist yet or is empty.
            encoder: The encoder whose vectors it will hold.
            model: What `load_encoder` takes to find that encoder again; by default its name.

        Raises:
            GalleryError: There is a gallery already, or other files.
            GalleryBusy: Another process is making one there.
            StorageError: The directory cannot be made.
        """
        import uuid

        from peyda.gallery.locks import WriterLock

        directory = Path(os.path.abspath(path))
        try:
            directory.mkdir(parents=True, exist_ok=True)
            strangers = [entry.name for entry in os.scandir(directory) if not entry.name.startswith(_OWN_NAMES)]
        except OSError as error:
            raise storage_error(f"cannot make a gallery in {directory}", error) from error
        if strangers:
            raise GalleryError(
                f"{directory} holds other files, e.g. {strangers[0]!r}",
                hint=f"Give an empty or a new directory: peyda index PHOTOS --gallery {directory / 'peyda-gallery'}",
            )
        manifest = Manifest(
            gallery_id=uuid.uuid4().hex,
            model=model or encoder.name,
            visual_fingerprint=encoder.visual_fingerprint,
            embed_dim=encoder.embed_dim,
            normalizer_version=NORMALIZER_VERSION,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        made = cls(directory, manifest)
        with WriterLock(directory):
            if (directory / MANIFEST_NAME).exists():
                hint = f"Search it: peyda search TEXT --gallery {directory}"
                raise GalleryError(f"{directory} is a gallery already", hint=hint)
            # The manifest comes last: a directory with one has all its parts, so readers need no "not yet" branches.
            made.catalog().close()
            made.store().close()
            write_json_atomically(directory / MANIFEST_NAME, manifest.to_dict())
        return made

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> GalleryDirectory:
        """Open the gallery in `path` by reading its manifest, no more.

        Raises:
            GalleryNotFound: There is none.
            GalleryTooNew: A newer Peyda wrote it.
            GalleryCorrupt: Its manifest cannot be read.
        """
        directory = Path(os.path.abspath(path))
        return cls(directory, _read_manifest(directory))

    @classmethod
    def open_or_create(
        cls, path: str | os.PathLike[str], encoder: ImageTower, *, model: str | None = None
    ) -> GalleryDirectory:
        """`open` and `check`, or `create` where there is no gallery yet. Raises what those raise."""
        try:
            opened = cls.open(path)
        except GalleryNotFound:
            try:
                return cls.create(path, encoder, model=model)
            except GalleryError:
                if not (Path(path) / MANIFEST_NAME).exists():
                    raise
                opened = cls.open(path)  # somebody else made it in the meantime
        opened.check(encoder)
        return opened

    def check(self, encoder: ImageTower) -> None:
        """Refuse an encoder that did not make these vectors.

        Raises:
            GalleryMismatch: Another image tower, another length of vector, or another text normaliser.
        """
        made = self.manifest
        if made.embed_dim != encoder.embed_dim or made.visual_fingerprint != encoder.visual_fingerprint:
            raise GalleryMismatch(
                f"{self.path} was made with the model {made.model!r} ({made.embed_dim}-d, image tower "
                f"{made.visual_fingerprint[:12]}), not with {encoder.name!r} ({encoder.embed_dim}-d, image tower "
                f"{encoder.visual_fingerprint[:12]})",
                hint=f"Use its own model (--model {made.model}), or make another gallery: "
                f"peyda index PHOTOS --model {encoder.name} --gallery NEW_DIR",
            )
        if made.normalizer_version != NORMALIZER_VERSION:
            raise GalleryMismatch(
                f"{self.path} was made with version {made.normalizer_version} of the text normaliser; "
                f"this is version {NORMALIZER_VERSION}",
                hint="Make the gallery anew: peyda index PHOTOS --gallery NEW_DIR",
            )

    def catalog(self, *, readonly: bool = False) -> Catalog:
        """Open the catalogue. Only the holder of the `WriterLock` may open it to write."""
        from peyda.gallery.catalog import Catalog

        return Catalog(self.path, readonly=readonly)

    def store(self, *, readonly: bool = False) -> Store:
        """Open the vectors. Only the holder of the `WriterLock` may open them to write."""
        from peyda.gallery.store import open_store

        return open_store(self.path / STORE_NAME, self.manifest.embed_dim, readonly=readonly)

    @property
    def thumbnails(self) -> Path:
        """Where a server keeps thumbnails; may not exist."""
        return self.path / THUMBNAILS_NAME

    def add_roots(self, roots: Iterable[str]) -> None:
        """Remember folders to walk again; those known already stay where they are. For the writer only."""
        merged = tuple(dict.fromkeys((*self.manifest.roots, *roots)))
        if merged != self.manifest.roots:
            self.manifest = replace(self.manifest, roots=merged)
            write_json_atomically(self.path / MANIFEST_NAME, self.manifest.to_dict())

    def refresh(self) -> None:
        """Read the manifest again: another process may have added roots."""
        self.manifest = _read_manifest(self.path)


def _read_manifest(directory: Path) -> Manifest:
    path = directory / MANIFEST_NAME
    try:
        text = path.read_text(encoding="ascii")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise GalleryNotFound(
            f"there is no gallery in {directory}",
            hint=f"Make one from a folder of photographs: peyda index PHOTOS --gallery {directory}",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _corrupt(path, error) from error
    try:
        value = json.loads(text)
        version = int(value["schema_version"])
        if version > SCHEMA_VERSION:
            raise GalleryTooNew(
                f"{directory} was written by a newer Peyda (schema {version}; this one knows {SCHEMA_VERSION})",
                hint="Update Peyda: pip install --upgrade peyda",
            )
        return Manifest.from_dict(value)
    except (KeyError, TypeError, ValueError) as error:
        raise _corrupt(path, error) from error


def _corrupt(path: Path, error: Exception) -> GalleryCorrupt:
    return GalleryCorrupt(
        f"{path} cannot be read: {error}",
        hint="Restore it from a backup, or make the gallery anew: peyda index PHOTOS --gallery NEW_DIR",
    )
