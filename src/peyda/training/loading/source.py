"""Photographs and their captions, wherever they are stored: what every trainer of images with text reads.

Holds names, texts and weights in memory, pixels never. Texts are as people wrote them, with half-spaces and all:
augmentation (`typed`) works on those, and whoever feeds a text tower normalises (`peyda.persian.normalize`) or not, as
that tower was made.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from peyda.captions import ReadOptions
from peyda.errors import DataError
from peyda.training.loading.gather import ONE_SPLIT, Gathered, Splits
from peyda.training.loading.tables import FileImages, Where, read_table
from peyda.types import Skipped

_LEAST_WEIGHT = 1e-9
"""Against the largest weight of a photograph: what is to be drawn must not vanish in rounding."""


class PhotoReader(Protocol):
    """Where the pixels are. `read` is called from several threads at once."""

    def read(self, number: int, target_px: int) -> Image.Image:
        """One photograph, upright, in RGB.

        Raises:
            ImageRefused: It cannot be read.
        """


class PhotoSource(Protocol):
    """What `photo_batches` asks of a source: `PhotoCaptions`, or a part of one. Called from several threads at once."""

    @property
    def photos(self) -> Sequence[str]:
        """Names, for the list of what was skipped."""

    def __len__(self) -> int:
        """The number of photographs."""

    def texts_of(self, number: int) -> list[str]:
        """See `PhotoCaptions.texts_of`."""

    def weights_of(self, number: int) -> npt.NDArray[np.float64]:
        """See `PhotoCaptions.weights_of`."""

    def read(self, number: int, *, target_px: int) -> Image.Image:
        """See `PhotoCaptions.read`."""


@dataclass(frozen=True, slots=True)
class PhotoCaptions:
    """Photographs with at least one caption each.

    Attributes:
        photos: Names: the file, or `SHARD/MEMBER`.
        skipped: Photographs, samples and shards that are not in here, and why.
        left_out: Captions that are not in here: reason ("not_kept", "other_split", "no_split", "no_text", …) → count.
        held_out: Identities of photographs that the source has in other splits.
        identities: For each photograph what makes it the same one in another source.
    """

    photos: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    held_out: frozenset[str] = frozenset()
    identities: tuple[str, ...] = field(default=(), repr=False)
    _captions: tuple[Mapping[str, float], ...] = field(default=(), repr=False)
    _reader: PhotoReader = field(default_factory=lambda: FileImages(()), repr=False)

    @classmethod
    def from_table(
        cls,
        table_path: str | os.PathLike[str],
        images_dir: str | os.PathLike[str],
        split: str | None = "train",
        column: str = "caption_fa",
        *,
        split_table: str | os.PathLike[str] | None = None,
        where: Where | None = None,
        weight_column: str | None = None,
        options: ReadOptions | None = None,
    ) -> PhotoCaptions:
        """Read a caption table (any format of `peyda captions`) and find its photographs.

        Rows that a filter rejected (`kept` false), of another split, or without a text are left out and counted; a
        photograph without a file is skipped with its name.

        Args:
            table_path: The table.
            images_dir: The folder of the photographs.
            split: "train", "val", "test"; None takes every row, whatever its split.
            column: The captions: "caption_fa", "caption_en", …
            split_table: Table with the columns image and split, which decides instead of the table's own column.
            where: Column → the value, or the values, that a row must have.
            weight_column: Numbers ≥ 0: how often a caption is drawn, against the others of its photograph.
            options: Encoding and column names of the table.

        Raises:
            DataError: The table or the folder cannot be used, a photograph is in two splits, or nothing is left.
        """
        splits = Splits(split, None if split_table is None else os.fspath(split_table))
        gathered = read_table(
            table_path, images_dir, splits, column=column, where=where, weight_column=weight_column, options=options
        )
        return cls._of(gathered, splits, FileImages(gathered.photos))

    @classmethod
    def from_webdataset(
        cls,
        pattern: str | os.PathLike[str] | Sequence[str],
        split: str | None = "train",
        column: str = "caption_fa",
        *,
        split_table: str | os.PathLike[str] | None = None,
    ) -> PhotoCaptions:
        """Read WebDataset shards: tar files with a photograph and a `.txt` or `.json` of captions for each key.

        Shards are listed once, and photographs then read where they lie; nothing is extracted to disk, and members
        other than photographs, `.txt` and `.json` (pickles among them) are never opened. The format, and what becomes
        of a damaged shard, is described in `docs/data/webdataset.md`.

        Args:
            pattern: `DIR/shard-{000000..000009}.tar`, `DIR/*.tar`, one file, or several of these.
            split: Leaves out samples whose `.json` names another split; one that names none goes with its shard. None
                takes all.
            column: The key of `.json` that holds the caption or captions.
            split_table: Table with the columns image and split, which decides instead; the image is the sample's key.

        Raises:
            DataError: There is no such shard, none can be read, a photograph is in two splits, or nothing is left.
        """
        from peyda.training.loading.shards import ShardImages, read_shards

        splits = Splits(split, None if split_table is None else os.fspath(split_table), takes_unnamed=True)
        gathered, members = read_shards(pattern, splits, column=column)
        return cls._of(gathered, splits, ShardImages(members))

    @classmethod
    def _of(cls, gathered: Gathered, splits: Splits, reader: PhotoReader) -> PhotoCaptions:
        return cls(
            tuple(gathered.photos),
            tuple(gathered.skipped),
            dict(gathered.left_out),
            splits.held_out(),
            tuple(gathered.identities),
            tuple(gathered.captions),
            reader,
        )

    @classmethod
    def joined(cls, sources: Iterable[PhotoCaptions]) -> PhotoCaptions:
        """Several sources as one; a photograph that is in two of them (the same name) has the captions of both.

        Raises:
            DataError: A photograph of one is held out by another.
            ValueError: There is no source.
        """
        parts = list(sources)
        if not parts:
            raise ValueError("at least one source")
        held_out = frozenset().union(*(one.held_out for one in parts))
        gathered = Gathered()
        origins: list[tuple[PhotoReader, int]] = []
        for part in parts:
            for number, (photo, identity) in enumerate(zip(part.photos, part.identities, strict=True)):
                if identity in held_out:
                    raise DataError(f"{photo} is in another split in another source", hint=ONE_SPLIT)
                row = gathered.row_of(photo, identity)
                if row == len(origins):
                    origins.append((part._reader, number))
                for text, weight in part._captions[number].items():
                    gathered.add(row, text, weight)
            gathered.skipped += part.skipped
            gathered.left_out.update(part.left_out)
        return cls(
            tuple(gathered.photos),
            tuple(gathered.skipped),
            dict(gathered.left_out),
            held_out,
            tuple(gathered.identities),
            tuple(gathered.captions),
            _JoinedImages(origins),
        )

    def __len__(self) -> int:
        """The number of photographs."""
        return len(self.photos)

    def texts_of(self, number: int) -> list[str]:
        """The captions of a photograph, each once, at least one, in the order of the source."""
        return list(self._captions[number])

    def weights_of(self, number: int) -> npt.NDArray[np.float64]:
        """`Float64[n]`, the chance of each of `texts_of` to be drawn; they add up to 1."""
        weights = np.fromiter(self._captions[number].values(), np.float64)
        weights = np.maximum(weights / weights.max(), _LEAST_WEIGHT)
        return weights / weights.sum()

    def read(self, number: int, *, target_px: int) -> Image.Image:
        """The pixels of a photograph, upright RGB, at least `target_px` on the shorter side where it has them.

        Raises:
            ImageRefused: It cannot be read; `reason` is a key of `peyda.images.REASONS`.
            StorageError: Not this file but the disk is at an end.
        """
        return self._reader.read(number, target_px)

    def check_apart(self, other: PhotoCaptions) -> None:
        """Refuse to measure on what is trained on: no photograph may be in both.

        Raises:
            DataError: One is.
        """
        own = {*self.photos, *self.identities}
        both = [one for one, identity in zip(other.photos, other.identities, strict=True) if {one, identity} & own]
        if both:
            raise DataError(
                f"{len(both):,} photographs are both trained on and measured on, {both[0]} among them", hint=ONE_SPLIT
            )


class _JoinedImages:
    """Photographs of several readers."""

    def __init__(self, origins: Sequence[tuple[PhotoReader, int]]) -> None:
        self._origins = origins

    def read(self, number: int, target_px: int) -> Image.Image:
        """See `PhotoReader.read`."""
        reader, own = self._origins[number]
        return reader.read(own, target_px)
