"""A gallery on disk: its manifest, the rule that a gallery belongs to one image tower, and where its parts lie.

```text
GALLERY/
├── manifest.json     what this gallery is (written last when it is made, replaced whole ever after)
├── catalog.sqlite    which photographs exist (`peyda.gallery.catalog`)
├── store/            their vectors (`peyda.gallery.store`); after a change of model, in vectors-…/ beside it
├── thumbnails/       made by the server, free to delete
├── writer.lock/json  who is indexing     (`peyda.gallery.locks`)
├── upgrade.lock/json who is changing the model
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

from peyda.errors import (
    GalleryCorrupt,
    GalleryError,
    GalleryMismatch,
    GalleryNotFound,
    GalleryTooNew,
    StorageError,
)
from peyda.persian import NORMALIZER_VERSION

if TYPE_CHECKING:
    from peyda.gallery.catalog import Catalog
    from peyda.gallery.generations import Generation
    from peyda.gallery.store.protocol import Store

SCHEMA_VERSION = 2
_FIRST_SCHEMA = 1  # what a gallery whose model was never changed still is: an older Peyda reads it rightly
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
    bare `peyda index` walks again, in the order they were first given. `store` is the folder of the vectors that answer
    searches; `previous` are generations that one can go back to, the latest first.
    """

    gallery_id: str
    model: str
    visual_fingerprint: str
    embed_dim: int
    normalizer_version: str
    created_at: str
    roots: tuple[str, ...] = ()
    store: str = STORE_NAME
    previous: tuple[Generation, ...] = ()

    @property
    def schema_version(self) -> int:
        """The oldest schema whose readers find the right vectors here."""
        return _FIRST_SCHEMA if self.store == STORE_NAME else SCHEMA_VERSION

    @property
    def current(self) -> Generation:
        """The generation that answers searches."""
        from peyda.gallery.generations import Generation

        return Generation(self.model, self.visual_fingerprint, self.embed_dim, self.normalizer_version, self.store)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping; names that are not valid UTF-8 stay readable because JSON escapes their surrogates."""
        previous = [generation.to_dict() for generation in self.previous]
        return {
            **asdict(self),
            "roots": list(self.roots),
            "previous": previous,
            "schema_version": self.schema_version,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Manifest:
        """The inverse of `to_dict`; unknown keys are ignored. Raises KeyError, TypeError or ValueError on nonsense."""
        store: str = STORE_NAME
        previous: tuple[Generation, ...] = ()
        if value.get("store", STORE_NAME) != STORE_NAME or value.get("previous"):
            # Only where a model was changed: a search must not pay for what other galleries need.
            from peyda.gallery.generations import Generation, checked_name

            store = checked_name(value.get("store", STORE_NAME))
            previous = tuple(Generation.from_dict(one) for one in value.get("previous", ()))
        return cls(
            gallery_id=str(value["gallery_id"]),
            model=str(value["model"]),
            visual_fingerprint=str(value["visual_fingerprint"]),
            embed_dim=int(value["embed_dim"]),
            normalizer_version=str(value["normalizer_version"]),
            created_at=str(value["created_at"]),
            roots=tuple(str(root) for root in value["roots"]),
            store=store,
            previous=previous,
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
                hint=f"Use its own model (--model {made.model}), or bring the gallery over to the other one: "
                f"{self._upgrade_command(encoder)}, or make another gallery: "
                f"peyda index PHOTOS --model {encoder.name} --gallery NEW_DIR",
            )
        if made.normalizer_version != NORMALIZER_VERSION:
            raise GalleryMismatch(
                f"{self.path} was made with version {made.normalizer_version} of the text normaliser; "
                f"this is version {NORMALIZER_VERSION}",
                hint=f"Bring it over: {self._upgrade_command(encoder)}, "
                "or make the gallery anew: peyda index PHOTOS --gallery NEW_DIR",
            )

    def _upgrade_command(self, encoder: ImageTower) -> str:
        import shlex

        from peyda.gallery.generations import name_of

        # Its name may lead to another model of that name, or nowhere: where it lies tells.
        path = getattr(getattr(encoder, "info", encoder), "path", None)
        model = encoder.name if path is None else name_of(path)
        return f"peyda gallery upgrade --model {shlex.quote(model)} --gallery {shlex.quote(os.fspath(self.path))}"

    def catalog(self, *, readonly: bool = False) -> Catalog:
        """Open the catalogue. Only the holder of the `WriterLock` may open it to write."""
        from peyda.gallery.catalog import Catalog

        return Catalog(self.path, readonly=readonly)

    def store(self, *, readonly: bool = False) -> Store:
        """Open the vectors that answer searches. Only the holder of the `WriterLock` may open them to write."""
        from peyda.gallery.store import open_store

        manifest = self.manifest  # of one moment: another thread may put a new one in its place
        return open_store(self.path / manifest.store, manifest.embed_dim, readonly=readonly)

    @property
    def thumbnails(self) -> Path:
        """Where a server keeps thumbnails; may not exist."""
        return self.path / THUMBNAILS_NAME

    def add_roots(self, roots: Iterable[str]) -> None:
        """Remember folders to walk again; those known already stay where they are. For the writer only."""
        merged = tuple(dict.fromkeys((*self.manifest.roots, *roots)))
        if merged != self.manifest.roots:
            self._replace_manifest(roots=merged)

    def switch_to(self, generation: Generation) -> None:
        """Let another generation answer searches, and remember the present one. For the writer only.

        Raises:
            StorageError: The disk is full, read-only or gone; nothing has changed.
        """
        older = [one for one in self.manifest.previous if one != generation]
        self._replace_manifest(
            model=generation.model,
            visual_fingerprint=generation.visual_fingerprint,
            embed_dim=generation.embed_dim,
            normalizer_version=generation.normalizer_version,
            store=generation.store,
            previous=(self.manifest.current, *older),
        )

    def forget_previous(self) -> None:
        """Drop the generations that one could go back to from the manifest. For the writer only."""
        if self.manifest.previous:
            self._replace_manifest(previous=())

    def _replace_manifest(self, **changes: Any) -> None:
        manifest = replace(self.manifest, **changes)
        write_json_atomically(self.path / MANIFEST_NAME, manifest.to_dict())
        self.manifest = manifest

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
