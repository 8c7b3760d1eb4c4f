"""What indexing would cost, before it starts: a full listing, and rates measured on a spread sample."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from peyda.encoders import Encoder
from peyda.errors import DataError
from peyda.gallery.catalog import Catalog
from peyda.gallery.changes import ToRead
from peyda.gallery.commit import Encoded, Outcome
from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.pipeline import core_count
from peyda.gallery.scan import Found, distinct_roots, walk
from peyda.gallery.workers import CHUNK, Workers
from peyda.types import Skipped

SAMPLE = 64
_CATALOG_BYTES = 600  # a row of the catalogue with its indexes, measured on paths of some 80 bytes
_STORE_BYTES = 200  # of the store, apart from the vector itself


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would do and cost.

    `photos` files were met, `to_read` of them are new or changed, and reading those took `photos_per_second` on the
    `sampled` ones: so `seconds` in all. `ram_bytes` is the most memory this process has needed so far, which a longer
    run hardly exceeds; `disk_bytes` is what the gallery would grow by, thumbnails aside. `unreadable` folders and files
    could not be looked at; `skipped` of the sample would be skipped.
    """

    photos: int
    to_read: int
    size_bytes: int
    sampled: int
    skipped: int
    unreadable: int
    photos_per_second: float
    seconds: float
    ram_bytes: int
    disk_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping with the field names above."""
        return asdict(self)


def estimate_index(
    encoder: Encoder,
    roots: Sequence[str],
    *,
    directory: GalleryDirectory | None = None,
    workers: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> Estimate:
    """Estimate `index_photos` without writing anything.

    Args:
        encoder: The encoder that would be used.
        roots: Folders or single files; those of `directory` when there are none.
        directory: The gallery, where there is one: what it has already is not counted as work.
        workers: Threads; 0 means one for each core.
        progress: Called with the number of files met so far.

    Raises:
        DataError: No folder at all, or one that does not exist.
        ModelError: The encoder does not work.
    """
    walked = _walked(roots, directory)
    catalog = None if directory is None else directory.catalog(readonly=True)
    try:
        listing = _Listing(catalog)
        listing.take(walk(walked), progress)
    finally:
        if catalog is not None:
            catalog.close()
    rate, outcomes = measure_rate(encoder, listing.sample, workers or core_count())
    return Estimate(
        photos=listing.photos,
        to_read=listing.to_read,
        size_bytes=listing.size_bytes,
        sampled=len(outcomes),
        skipped=sum(not isinstance(outcome, Encoded) for outcome in outcomes),
        unreadable=listing.unreadable,
        photos_per_second=round(rate, 1),
        seconds=round(listing.to_read / rate, 1) if rate > 0 else 0.0,
        ram_bytes=peak_memory_bytes(),
        disk_bytes=listing.to_read * (4 * encoder.embed_dim + _CATALOG_BYTES + _STORE_BYTES),
    )


def peak_memory_bytes() -> int:
    """The most memory this process has held at once; 0 where the platform does not say."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else peak * 1024


class _Listing:
    """Counts, and an even sample of the files to read in bounded memory (reservoir sampling)."""

    def __init__(self, catalog: Catalog | None) -> None:
        self._catalog = catalog
        self._random = random.Random(0)
        self.photos = self.to_read = self.size_bytes = self.unreadable = 0
        self.sample: list[Found] = []

    def take(self, findings: Iterable[Found | Skipped], progress: Callable[[int], None]) -> None:
        for found in findings:
            if isinstance(found, Skipped):
                self.unreadable += 1
                continue
            self.photos += 1
            if self.photos % 500 == 0:
                progress(self.photos)
            if not self._has(found):
                self._count(found)

    def _has(self, found: Found) -> bool:
        known = None if self._catalog is None else self._catalog.photo_at(found.path)
        return known is not None and (known.size_bytes, known.mtime_ns) == (found.size_bytes, found.mtime_ns)

    def _count(self, found: Found) -> None:
        self.to_read += 1
        self.size_bytes += found.size_bytes
        if len(self.sample) < SAMPLE:
            self.sample.append(found)
        elif (place := self._random.randrange(self.to_read)) < SAMPLE:
            self.sample[place] = found


def _walked(roots: Sequence[str], directory: GalleryDirectory | None) -> list[str]:
    walked = distinct_roots(roots) or (list(directory.manifest.roots) if directory is not None else [])
    if not walked:
        raise DataError("there is nothing to estimate", hint="Name a folder: peyda index ~/Pictures --estimate")
    for path in walked:
        if roots and not os.path.exists(path):
            raise DataError(f"there is no file or folder {path!r}", hint="Check the spelling.")
    return walked


def measure_rate(encoder: Encoder, sample: Sequence[Found], count: int) -> tuple[float, list[Outcome]]:
    """Photographs a second over the sample, the loading of the model apart, and what became of them."""
    if not sample:
        return 0.0, []
    encoder.encode_pixels(np.zeros((1, 3, encoder.image_size_px, encoder.image_size_px), np.float32))
    outcomes: list[Outcome] = []
    started = time.perf_counter()
    with Workers(encoder, count, lambda _: False) as workers:
        for start in range(0, len(sample), CHUNK):
            workers.submit([ToRead(found, False) for found in sample[start : start + CHUNK]])
        while workers.in_flight:
            outcomes += workers.collect(1.0) or ()
    return len(outcomes) / (time.perf_counter() - started), outcomes
