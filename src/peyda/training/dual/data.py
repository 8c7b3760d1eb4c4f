"""What a run of the general trainer reads: photographs with captions, or captions in two languages.

Reading tables, folders and shards is `peyda.training.loading`'s; this module picks which of them a recipe and the
command line mean, and shares photographs out among processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from peyda.captions import open_reader
from peyda.errors import ConfigError, DataError
from peyda.quality.report.sampling import is_kept
from peyda.training.data import read_rows
from peyda.training.dual.recipe import DataRecipe, DualRecipe
from peyda.training.loading import PhotoCaptions

_NO_DATA = "--captions TABLE --images DIR, data.shards in the recipe, or --data DIR"


@dataclass(frozen=True)
class PhotoData:
    """Photographs to train on, and those that choices are made by."""

    train: PhotoCaptions
    val: PhotoCaptions | None


@dataclass(frozen=True)
class Pairs:
    """The same captions in two languages, as people wrote them.

    Attributes:
        sources: What the teacher reads.
        targets: What the student reads, once normalised.
    """

    sources: list[str]
    targets: list[str]

    def __len__(self) -> int:
        return len(self.targets)


def photo_data(recipe: DualRecipe, captions: Path | None, images: Path | None, data: Path | None) -> PhotoData:
    """Photographs and captions of a contrastive run.

    Args:
        recipe: Says which column and splits, or which shards.
        captions: A caption table.
        images: The folder of its photographs.
        data: The project's development data, where neither a table nor shards are named: its native captions.

    Raises:
        ConfigError: None of the three is named.
        DataError: It cannot be read, holds nothing of that split, or has one photograph in two splits.
    """
    settings = recipe.data
    if settings.shards:
        train = PhotoCaptions.from_webdataset(settings.shards, settings.split or None, settings.column)
        held = settings.val_shards
        val = PhotoCaptions.from_webdataset(held, settings.val_split or None, settings.column) if held else None
    elif captions is not None:
        if images is None:
            raise ConfigError("a caption table names its photographs, but not where they are", hint="--images DIR")
        train = PhotoCaptions.from_table(captions, images, settings.split or None, settings.column)
        held = settings.val_split
        val = PhotoCaptions.from_table(captions, images, held, settings.column) if held else None
    elif data is not None:
        train = PhotoCaptions.from_table(data / "native_fa.csv", data, None, "caption_fa")
        val = (
            PhotoCaptions.from_table(data / "native_fa_val.csv", data, None, "caption_fa")
            if settings.val_split
            else None
        )
    else:
        raise ConfigError("no photographs to train on", hint=_NO_DATA)
    if val is not None:
        train.check_apart(val)
    return PhotoData(train, val)


def pair_data(recipe: DualRecipe, captions: Path | None, data: Path | None) -> tuple[Pairs, Pairs]:
    """Captions in two languages of a distillation: to train on, and to choose by (which may be empty).

    Raises:
        ConfigError: Neither a table nor the development data is named.
        DataError: It cannot be read, or holds no pair of that split.
    """
    if captions is not None:
        return _table_pairs(captions, recipe.data)
    if data is not None:
        held = _native_pairs(data, "native_fa_val.csv") if recipe.data.val_split else Pairs([], [])
        return _native_pairs(data, "native_fa.csv"), held
    raise ConfigError("no captions to train on", hint="--captions TABLE (with both languages), or --data DIR")


def _table_pairs(path: Path, settings: DataRecipe) -> tuple[Pairs, Pairs]:
    found: dict[str, Pairs] = {settings.split: Pairs([], []), settings.val_split: Pairs([], [])}
    required = [settings.source_column, settings.column]
    wants_split = bool(settings.split)
    with open_reader(path, required=[*required, *(["split"] if wants_split else [])]) as reader:
        for row in reader:
            source, target = (row[name].strip() for name in required)
            pairs = found.get(row.get("split", "") if wants_split else "")
            if pairs is not None and source and target and is_kept(row):
                pairs.sources.append(source)
                pairs.targets.append(target)
    train = found[settings.split]
    if not len(train):
        raise DataError(
            f"{path} has no row of the split {settings.split!r} with {' and '.join(required)}",
            hint='data.split = "" takes all rows',
        )
    if settings.val_split and settings.val_split != settings.split:
        held = found[settings.val_split]
        if not len(held):
            raise DataError(
                f"{path} has no row of the split {settings.val_split!r} to choose by",
                hint='data.val_split = "" goes without',
            )
        return train, held
    return train, Pairs([], [])


def _native_pairs(data: Path, name: str) -> Pairs:
    """Native sentences with the English captions that they render."""
    english: dict[tuple[str, str], str] = {}
    for folder in ("flickr8k", "coco"):
        for row in read_rows(data / folder / "captions.csv"):
            english[f"{folder}/{row['image']}", row["caption_id"]] = row["caption_en"]
    pairs = Pairs([], [])
    for row in read_rows(data / name):
        source = english.get((row["image"], row["caption_id"])) if row["kind"] == "sentence" else None
        if source and row["caption_fa"]:
            pairs.sources.append(source)
            pairs.targets.append(row["caption_fa"])
    return pairs


class Share:
    """Of the photographs of a source those that one of several processes reads in an epoch: as many for each, none
    twice, drawn anew for every epoch.
    """

    def __init__(self, source: PhotoCaptions, *, rank: int, world: int, seed: int, epoch: int) -> None:
        order = np.random.default_rng([seed, epoch, world]).permutation(len(source))
        self._source = source
        self.numbers: npt.NDArray[np.int64] = order[rank : len(order) - len(order) % world : world]
        self.photos = tuple(source.photos[number] for number in self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def texts_of(self, number: int) -> list[str]:
        """See `PhotoCaptions.texts_of`."""
        return self._source.texts_of(int(self.numbers[number]))

    def weights_of(self, number: int) -> npt.NDArray[np.float64]:
        """See `PhotoCaptions.weights_of`."""
        return self._source.weights_of(int(self.numbers[number]))

    def read(self, number: int, *, target_px: int) -> Image.Image:
        """See `PhotoCaptions.read`."""
        return self._source.read(int(self.numbers[number]), target_px=target_px)

    def as_source(self) -> PhotoCaptions:
        """Itself, as what the loader reads: it has all that the loader asks of one."""
        return cast("PhotoCaptions", self)
