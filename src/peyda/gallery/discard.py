"""Giving up the vectors that do not answer searches. Refuses to lose what is nowhere else."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from peyda.errors import GalleryCorrupt, GalleryError
from peyda.gallery.contents import CONTENTS_NAME, Contents
from peyda.gallery.generations import folders, sweep_trash, throw_away
from peyda.gallery.locks import UpgradeLock, WriterLock
from peyda.gallery.verify import gallery_size_bytes

if TYPE_CHECKING:
    from peyda.gallery.directory import GalleryDirectory


def discard_old(directory: GalleryDirectory, *, allow_missing: bool = False) -> int:
    """Delete all vectors but those that answer searches, of unfinished upgrades too. Returns the bytes freed.

    Args:
        directory: The gallery.
        allow_missing: Also when photographs have a vector nowhere else.

    Raises:
        GalleryError: Some have.
        GalleryBusy: Another process is indexing or changing the model.
        StorageError: The disk is read-only or gone.
    """
    with UpgradeLock(directory.path), WriterLock(directory.path):
        directory.refresh()
        sweep_trash(directory.path)
        old = [name for name in folders(directory.path) if name != directory.manifest.store]
        if not allow_missing and (count := _held_only_by(directory, old)):
            raise GalleryError(
                f"{count:,} photographs have old vectors only: the present model could not read them yet",
                hint="Plug in their disk and run: peyda index. To give their vectors up: "
                "peyda gallery upgrade --discard-old --allow-missing",
            )
        freed = sum(gallery_size_bytes(directory.path / name) for name in old)
        directory.forget_previous()
        for name in old:
            throw_away(directory.path, name)
        return freed


def _held_only_by(directory: GalleryDirectory, old: list[str]) -> int:
    """How many photographs have no vector that answers searches, but one in an old generation."""
    with directory.catalog(readonly=True) as catalog, contextlib.closing(directory.store(readonly=True)) as store:
        missing = np.setdiff1d(catalog.ids(), store.ids()).tolist()
    most = 0
    for name in old if missing else ():
        # Notes that cannot be read would not lead back to a vector either.
        with contextlib.suppress(GalleryCorrupt):
            if (directory.path / name / CONTENTS_NAME).exists():
                with Contents(directory.path / name, directory.path) as contents:
                    most = max(most, contents.count_held(missing))
    return most
