"""Generations: the vectors of one model each, side by side in one gallery.

```text
GALLERY/store/                          the vectors a gallery was made with
GALLERY/vectors-<fingerprint>-<dim>/    those of a model that it was brought over to, or is being brought over to
GALLERY/trash-<name>/                   being deleted
```

The manifest names the generation that answers searches and those that one can go back to; a folder that it does not
name belongs to an upgrade that has not ended. Owns names, sizes and removal; `upgrade` decides.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peyda.gallery.directory import STORE_NAME, storage_error

if TYPE_CHECKING:
    from peyda.gallery.directory import ImageTower, Manifest

_PREFIX = "vectors-"
_TRASH = "trash-"
# Whatever a manifest says, nothing but these is ever opened or deleted as a generation.
_NAME = re.compile(rf"{STORE_NAME}|{_PREFIX}[0-9a-zA-Z-]+")
_INDEX_SHARE = 0.6  # of the vectors: the graph that big galleries get, measured with benchmarks/bench_store.py
_INDEX_FROM = 20_000
_ROW_BYTES = 500  # of a photograph beside its vector: the store's journal, and what `contents` notes


@dataclass(frozen=True, slots=True)
class Generation:
    """The vectors of one model: `store` is their folder, the rest as in `Manifest`."""

    model: str
    visual_fingerprint: str
    embed_dim: int
    normalizer_version: str
    store: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping with the field names above."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Generation:
        """The inverse of `to_dict`; unknown keys are ignored. Raises KeyError, TypeError or ValueError on nonsense."""
        return cls(
            model=str(value["model"]),
            visual_fingerprint=str(value["visual_fingerprint"]),
            embed_dim=int(value["embed_dim"]),
            normalizer_version=str(value["normalizer_version"]),
            store=checked_name(value["store"]),
        )

    def is_of(self, tower: ImageTower) -> bool:
        """Whether that image tower made, or would make, these vectors."""
        return (self.visual_fingerprint, self.embed_dim) == (tower.visual_fingerprint, tower.embed_dim)


def checked_name(name: object) -> str:
    """The folder name of a generation. Raises ValueError for any other text: a manifest must not lead elsewhere."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a folder of vectors")
    return name


def store_for(manifest: Manifest, tower: ImageTower) -> str:
    """The folder that holds, or will hold, the vectors of an image tower: known ones are found again."""
    for generation in (manifest.current, *manifest.previous):
        if generation.is_of(tower):
            return generation.store
    return checked_name(f"{_PREFIX}{tower.visual_fingerprint[:16]}-{tower.embed_dim}")


def lasting_name(model: str | os.PathLike[str]) -> str:
    """What finds a model again from any working directory: the name of an installed one, otherwise an absolute path.

    Raises:
        ModelError: There is no such model.
    """
    from peyda.encoders.registry import resolve_model

    return name_of(resolve_model(model))


def name_of(path: Path) -> str:
    """The name of a model that is installed in that directory; of any other directory, the absolute path."""
    from peyda.encoders.registry import embedded_models_dir, user_models_dir

    path = Path(os.path.abspath(path))
    if path.parent == user_models_dir() or (
        path.parent == embedded_models_dir() and not (user_models_dir() / path.name / "config.json").is_file()
    ):
        return path.name
    return str(path)


def folders(directory: Path) -> list[str]:
    """Names of all folders of vectors in a gallery, sorted."""
    return sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and _NAME.fullmatch(entry.name))


def throw_away(directory: Path, name: str) -> None:
    """Delete one folder of vectors. A kill half-way leaves only litter that `sweep_trash` removes.

    Raises:
        StorageError: The disk does not allow it.
    """
    trash = directory / f"{_TRASH}{checked_name(name)}"
    try:
        shutil.rmtree(trash, ignore_errors=True)
        os.rename(directory / name, trash)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(f"cannot delete {directory / name}", error) from error
    shutil.rmtree(trash, ignore_errors=True)


def sweep_trash(directory: Path) -> None:
    """Finish what a `throw_away` that was killed has begun."""
    for path in directory.glob(f"{_TRASH}*"):
        shutil.rmtree(path, ignore_errors=True)


def needed_bytes(missing: int, photos: int, dim: int) -> int:
    """About how much the disk must have room for: `missing` more vectors, and the graph of a big gallery."""
    vectors = missing * (4 * dim + _ROW_BYTES)
    return vectors + (round(_INDEX_SHARE * photos * 4 * dim) if photos > _INDEX_FROM else 0)
