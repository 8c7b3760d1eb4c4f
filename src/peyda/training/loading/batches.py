"""Batches of decoded photographs with their captions, the same for a seed and an epoch whatever the workers.

Every batch has its places in the epoch's order, drawn from (seed, epoch); every place has its own source of randomness.
So a batch depends on nothing before it: `start_batch` goes on in mid-epoch without decoding, and an epoch has as many
batches as `batches_per_epoch` says. A photograph that cannot be read is skipped, told to `on_skip`, and its place goes
to the next photograph of the order that the batch does not have yet (which is seen twice in that epoch).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from peyda.errors import DataError, ImageRefused
from peyda.training.loading.source import PhotoSource
from peyda.types import Float32, Skipped

if TYPE_CHECKING:
    import torch

Preprocess = Callable[[Image.Image], Float32]
"""RGB image → `Float32[3, s, s]`, the same s for all."""

AugmentImage = Callable[[Image.Image, np.random.Generator, Sequence[str]], Image.Image]
"""(image, source of randomness, the captions it is drawn with, before they are augmented) → image."""

AugmentText = Callable[[str, np.random.Generator], str]

_PIXELS, _TEXTS = 0, 1
_CROP_ROOM = 1.5
"""An augmentation that crops still has pixels enough: half the area is left of a side of 1.41."""


@dataclass(frozen=True, slots=True)
class PhotoBatch:
    """One batch.

    Attributes:
        images: `Float32[b, 3, s, s]`.
        photos: `Int64[b]`, numbers of the photographs in the source, all different.
        texts: For each photograph its captions: `captions_per_photo` different ones, or all where it has fewer.
    """

    images: torch.Tensor
    photos: torch.Tensor
    texts: list[list[str]]


@dataclass(slots=True)
class SkipLog:
    """What was skipped, over all epochs, each photograph once. Give it as `on_skip`.

    Attributes:
        counts: Reason → photographs.
        skipped: Each with its reason, in the order in which they came up.
    """

    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[Skipped] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set, repr=False)

    def __call__(self, one: Skipped) -> None:
        """Keep a skipped photograph."""
        if one.path not in self._seen:
            self._seen.add(one.path)
            self.counts[one.reason] += 1
            self.skipped.append(one)

    def __str__(self) -> str:
        """One line for people, such as "3 photographs skipped: truncated 2, empty 1"; "" where there were none."""
        if not self.skipped:
            return ""
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.counts.most_common())
        return f"{len(self.skipped):,} photographs skipped: {reasons}"


def batches_per_epoch(source: PhotoSource, batch: int, *, drop_last: bool = True) -> int:
    """How many batches `photo_batches` gives."""
    return len(source) // batch if drop_last else math.ceil(len(source) / batch)


def photo_batches(
    source: PhotoSource,
    *,
    batch: int,
    seed: int,
    epoch: int,
    captions_per_photo: int = 1,
    preprocess: Preprocess,
    augment_image: AugmentImage | None = None,
    augment_text: AugmentText | None = None,
    workers: int = 0,
    on_skip: Callable[[Skipped], None] | None = None,
    drop_last: bool = True,
    start_batch: int = 0,
) -> Iterator[PhotoBatch]:
    """One epoch, shuffled. Closing the iterator ends its workers.

    Args:
        source: Photographs and captions.
        batch: Photographs in a batch.
        seed: ≥ 0; with `epoch` it decides order, captions and augmentation.
        epoch: ≥ 0.
        captions_per_photo: Captions drawn for each photograph, by their weights.
        preprocess: What the image tower reads. May raise `ImageRefused`.
        augment_image: `ImageAugmentation`, or any function of that kind.
        augment_text: `TypedPersian`, or any function of that kind.
        workers: Threads that read, decode, augment and preprocess at most one batch ahead; 0 does it in between.
        on_skip: Told of each photograph that cannot be read, once an epoch (`SkipLog` counts).
        drop_last: Leave out the photographs that fill no batch; else the last batch is a shorter one.
        start_batch: Where to begin; the batches before it are not decoded.

    Raises:
        DataError: There are fewer photographs, or fewer that can be read, than a batch needs.
        StorageError: The disk is gone.
        ValueError: A number is out of range, or `preprocess` gives something else than `Float32[3, s, s]`.
    """
    if batch < 1 or captions_per_photo < 1 or min(seed, epoch, workers, start_batch) < 0:
        raise ValueError("batch and captions_per_photo are at least 1; seed, epoch, workers, start_batch at least 0")
    if not len(source) or (drop_last and len(source) < batch):
        raise DataError(
            f"{len(source):,} photographs do not fill a batch of {batch:,}",
            hint="take smaller batches or more photographs",
        )
    size = _size_of(preprocess)
    target_px = size if augment_image is None else math.ceil(size * _CROP_ROOM)
    item = _Item(source, seed, epoch, captions_per_photo, preprocess, augment_image, augment_text, target_px, size)
    return _Epoch(item, batch, on_skip, drop_last).run(start_batch, workers)


@dataclass(frozen=True, slots=True)
class _Item:
    """What makes one photograph of a batch; safe to call from several threads."""

    source: PhotoSource
    seed: int
    epoch: int
    captions: int
    preprocess: Preprocess
    augment_image: AugmentImage | None
    augment_text: AugmentText | None
    target_px: int
    size: int

    def make(self, place: int, photo: int) -> _Made | Skipped:
        """The photograph at a place of the epoch's order, or why it cannot be read."""
        lots = np.random.default_rng([self.seed, self.epoch, place, _TEXTS])
        texts = self._draw(photo, lots)
        try:
            image = self.source.read(photo, target_px=self.target_px)
            if self.augment_image is not None:
                rng = np.random.default_rng([self.seed, self.epoch, place, _PIXELS])
                image = self.augment_image(image, rng, texts)
            pixels = np.asarray(self.preprocess(image), np.float32)
        except ImageRefused as refused:
            return Skipped(self.source.photos[photo], refused.reason, refused.message)
        if pixels.shape != (3, self.size, self.size):
            raise ValueError(f"preprocess gives {pixels.shape}, and (3, {self.size}, {self.size}) before")
        if self.augment_text is not None:
            texts = [self.augment_text(text, lots) for text in texts]
        return _Made(photo, pixels, texts)

    def _draw(self, photo: int, lots: np.random.Generator) -> list[str]:
        texts = self.source.texts_of(photo)
        if len(texts) == 1:
            return texts
        count = min(self.captions, len(texts))
        chosen = lots.choice(len(texts), size=count, replace=False, p=self.source.weights_of(photo))
        return [texts[at] for at in chosen.tolist()]


@dataclass(frozen=True, slots=True)
class _Made:
    photo: int
    pixels: Float32
    texts: list[str]


class _Epoch:
    """The order of an epoch, and what was found to be unreadable in it."""

    def __init__(self, item: _Item, batch: int, on_skip: Callable[[Skipped], None] | None, drop_last: bool) -> None:
        self._item = item
        self._batch = batch
        self._on_skip = on_skip
        self._drop_last = drop_last
        self._order: list[int] = np.random.default_rng([item.seed, item.epoch]).permutation(len(item.source)).tolist()
        self._refused: dict[int, Skipped] = {}

    def run(self, start: int, workers: int) -> Iterator[PhotoBatch]:
        """The batches from `start` on."""
        total = batches_per_epoch(self._item.source, self._batch, drop_last=self._drop_last)
        if not workers:
            for number in range(start, total):
                yield self._fill(number, [self._make(place) for place in self._places(number)])
            return
        pool = ThreadPoolExecutor(workers, thread_name_prefix="peyda-loader")
        try:
            ahead: list[Future[_Made | Skipped]] = []
            for number in range(start, total):
                now = ahead or [pool.submit(self._make, place) for place in self._places(number)]
                # The pool takes first what came first, so that this batch is never behind the next one.
                following = self._places(number + 1) if number + 1 < total else ()
                ahead = [pool.submit(self._make, place) for place in following]
                yield self._fill(number, [future.result() for future in now])
        finally:
            pool.shutdown(cancel_futures=True)

    def _places(self, number: int) -> range:
        return range(number * self._batch, min((number + 1) * self._batch, len(self._order)))

    def _make(self, place: int) -> _Made | Skipped:
        return self._item.make(place, self._order[place])

    def _fill(self, number: int, made: Sequence[_Made | Skipped]) -> PhotoBatch:
        """The batch, with the places of unreadable photographs filled by the next ones of the order."""
        places = self._places(number)
        for place, one in zip(places, made, strict=True):
            if isinstance(one, Skipped):
                self._refuse(self._order[place], one)
        spare = self._spare(places)
        kept: list[_Made] = []
        for place, one in zip(places, made, strict=True):
            if isinstance(one, Skipped):
                found = self._next(place, spare)
                if found is None:
                    continue
                one = found
            kept.append(one)
        if not kept or (self._drop_last and len(kept) < self._batch):
            raise self._too_few(len(kept))
        return _collate(kept)

    def _spare(self, places: range) -> Iterator[int]:
        """The photographs of the order after the batch, then those before it."""
        yield from self._order[places.stop :]
        yield from self._order[: places.start]

    def _next(self, place: int, spare: Iterator[int]) -> _Made | None:
        for photo in spare:
            if photo not in self._refused:
                made = self._item.make(place, photo)
                if not isinstance(made, Skipped):
                    return made
                self._refuse(photo, made)
        return None

    def _refuse(self, photo: int, skipped: Skipped) -> None:
        if photo not in self._refused:
            self._refused[photo] = skipped
            if self._on_skip is not None:
                self._on_skip(skipped)

    def _too_few(self, readable: int) -> DataError:
        counts = Counter(one.reason for one in self._refused.values())
        shown = ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common())
        return DataError(
            f"of {len(self._item.source):,} photographs only {readable:,} can be read, and a batch has {self._batch:,}:"
            f" {shown}"
            if readable
            else f"none of {len(self._item.source):,} photographs can be read: {shown}",
            hint=next(iter(self._refused.values())).detail,
        )


def _size_of(preprocess: Preprocess) -> int:
    """The side of what `preprocess` gives, found by trying it: decoding need not give much more."""
    shape = np.shape(preprocess(Image.new("RGB", (64, 64))))
    if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2] or not shape[1]:
        raise ValueError(f"preprocess must give Float32[3, s, s], not a shape {shape}")
    return int(shape[1])


def _collate(made: Sequence[_Made]) -> PhotoBatch:
    import torch

    return PhotoBatch(
        torch.from_numpy(np.stack([one.pixels for one in made])),
        torch.tensor([one.photo for one in made], dtype=torch.int64),
        [one.texts for one in made],
    )
