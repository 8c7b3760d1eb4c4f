"""How a change of model stands, and what one would cost. Reads only, also while an upgrade is at work."""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from peyda.gallery.commit import Encoded
from peyda.gallery.contents import CONTENTS_NAME, Contents
from peyda.gallery.estimate import SAMPLE, measure_rate
from peyda.gallery.generations import folders, needed_bytes, store_for
from peyda.gallery.locks import is_being_upgraded
from peyda.gallery.pipeline import core_count
from peyda.gallery.scan import Found
from peyda.gallery.verify import gallery_size_bytes
from peyda.types import Photo, Skipped

if TYPE_CHECKING:
    from peyda.encoders import Encoder
    from peyda.gallery.directory import GalleryDirectory


@dataclass(frozen=True, slots=True)
class GenerationStatus:
    """One set of vectors in the gallery. `state` says what for: "current" answers searches, "previous" can be gone back
    to, "unfinished" is of an upgrade that has not ended.

    `embedded` photographs have a vector in it that is of what they are now, `left` have none. `missing` are those of
    the latter that the last run could not read, and why.
    """

    state: Literal["current", "previous", "unfinished"]
    model: str
    store: str
    embedded: int
    left: int
    size_bytes: int
    missing: tuple[Skipped, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping with the field names above."""
        return {**asdict(self), "missing": [one.to_dict() for one in self.missing]}


@dataclass(frozen=True, slots=True)
class UpgradeEstimate:
    """What bringing a gallery over to a model would take.

    `left` of the `photos` have no vector of it yet; reading `sampled` photographs, `unreadable` of which could not be
    read, went at `photos_per_second`: so `seconds` in all. `disk_bytes` would be added; `free_bytes` are free.
    `is_immediate`: the vectors stay, because only the text tower is another.
    """

    model: str
    photos: int
    left: int
    sampled: int
    unreadable: int
    photos_per_second: float
    seconds: float
    disk_bytes: int
    free_bytes: int
    is_immediate: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping with the field names above."""
        return asdict(self)


def upgrade_status(directory: GalleryDirectory) -> tuple[list[GenerationStatus], bool]:
    """Every set of vectors, the one that answers first, and whether an upgrade is at work now.

    Raises:
        GalleryCorrupt, GalleryTooNew, StorageError: Something cannot be read.
    """
    directory.refresh()
    manifest = directory.manifest
    found = [_current(directory)]
    named = {generation.store: generation.model for generation in reversed(manifest.previous)}
    order = [*dict.fromkeys(generation.store for generation in manifest.previous), *folders(directory.path)]
    for name in dict.fromkeys(order):
        if name == manifest.store or not (directory.path / name / CONTENTS_NAME).exists():
            continue
        with Contents(directory.path / name, directory.path, readonly=True) as contents:
            photos, left, _ = contents.counts()
            found.append(
                GenerationStatus(
                    state="previous" if name in named else "unfinished",
                    model=named.get(name) or contents.about().get("model", "?"),
                    store=name,
                    embedded=photos - left,
                    left=left,
                    size_bytes=gallery_size_bytes(directory.path / name),
                    missing=tuple(contents.missing()),
                )
            )
    return found, is_being_upgraded(directory.path)


def _current(directory: GalleryDirectory) -> GenerationStatus:
    with directory.catalog(readonly=True) as catalog, contextlib.closing(directory.store(readonly=True)) as store:
        named, stored = catalog.ids(), store.ids()
    left = len(np.setdiff1d(named, stored))
    size = gallery_size_bytes(directory.path / directory.manifest.store)
    return GenerationStatus(
        "current", directory.manifest.model, directory.manifest.store, len(named) - left, left, size
    )


def estimate_upgrade(
    directory: GalleryDirectory, encoder: Encoder, *, model: str | None = None, workers: int = 0
) -> UpgradeEstimate:
    """Measure on a sample of the gallery's photographs what `upgrade_gallery` would take; writes nothing.

    Args:
        directory: The gallery.
        encoder: The encoder that it would be brought over to.
        model: What to call it; by default its name.
        workers: Threads; 0 means one for each core.

    Raises:
        ModelError: The encoder does not work.
    """
    store = store_for(directory.manifest, encoder)
    is_immediate = store == directory.manifest.store
    with directory.catalog(readonly=True) as catalog:
        photos, sample = _sampled(catalog.iter_photos())
    left = 0 if is_immediate else photos
    if not is_immediate and (directory.path / store / CONTENTS_NAME).exists():
        with Contents(directory.path / store, directory.path, readonly=True) as contents:
            left = contents.counts()[1]
    found = [Found(photo.path, photo.size_bytes, photo.mtime_ns) for photo in sample] if left else []
    rate, outcomes = measure_rate(encoder, found, workers or core_count())
    return UpgradeEstimate(
        model=model or encoder.name,
        photos=photos,
        left=left,
        sampled=len(outcomes),
        unreadable=sum(not isinstance(outcome, Encoded) for outcome in outcomes),
        photos_per_second=round(rate, 1),
        seconds=round(left / rate, 1) if rate > 0 else 0.0,
        disk_bytes=needed_bytes(left, photos, encoder.embed_dim) if left else 0,
        free_bytes=shutil.disk_usage(directory.path).free,
        is_immediate=is_immediate,
    )


def _sampled(photos: Iterable[Photo]) -> tuple[int, list[Photo]]:
    """How many there are, and an even sample of them in bounded memory (reservoir sampling)."""
    dice, sample, count = random.Random(0), list[Photo](), 0
    for photo in photos:
        count += 1
        if len(sample) < SAMPLE:
            sample.append(photo)
        elif (place := dice.randrange(count)) < SAMPLE:
            sample[place] = photo
    return count, sample
