"""What the baseline is trained on: the project's development data, or a caption table and a folder of photographs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from peyda.errors import ConfigError
from peyda.training.baseline.recipe import BaselineRecipe
from peyda.training.data import MACHINE, Queries, TrainingData, load_queries, load_training_data
from peyda.training.loading import PhotoCaptions

VAL_KINDS = ("sentence", "short")
"""Kinds of native queries of the development data, by which the epoch is chosen."""

TABLE_KIND = "caption"
"""The one kind of queries of a caption table."""

_COLUMN = "caption_fa"


@dataclass(frozen=True)
class Sources:
    """Captions to train on, and queries to choose by.

    Attributes:
        training: The captions, weighted as the recipe says.
        native: How many of them are native ones of the development data.
        queries: Kind → val queries, all over the same photographs.
        table: Name of the caption table; "" for the development data.
    """

    training: TrainingData
    native: int
    queries: dict[str, Queries]
    table: str = ""


def read_sources(recipe: BaselineRecipe, *, data: Path | None, captions: Path | None, images: Path | None) -> Sources:
    """Read what there is: of a table, the kept rows of the splits train and val; otherwise the development data.

    Args:
        recipe: Weighs the kinds of captions of the development data. Captions of a table weigh the same each.
        data: The development data, where no table is named.
        captions: A caption table with the columns caption_fa and split.
        images: The folder of its photographs.

    Raises:
        ConfigError: Neither is named, or a table without its photographs.
        DataError: It cannot be read, or has nothing of a split.
    """
    if captions is not None:
        if images is None:
            raise ConfigError("a caption table names its photographs, but not where they are", hint="--images DIR")
        return _table(captions, images)
    if data is None:
        raise ConfigError(
            "no training data given", hint="--captions TABLE --images DIR, or --data DIR (PEYDA_DATA) names its folder"
        )
    weights = {"native": recipe.captions.native, "machine": recipe.captions.machine, "english": 0.0, "class": 0.0}
    native = load_training_data(data, weights={**weights, MACHINE: 0.0})
    queries = {kind: load_queries(data, "val", kind) for kind in VAL_KINDS}
    return Sources(load_training_data(data, weights=weights), len(native.texts), queries)


def _table(captions: Path, images: Path) -> Sources:
    train = PhotoCaptions.from_table(captions, images, "train", _COLUMN)
    val = PhotoCaptions.from_table(captions, images, "val", _COLUMN)
    train.check_apart(val)
    chosen = _pairs(val)
    queries = Queries(chosen.photos, chosen.texts, np.asarray(chosen.photo_of, np.int64))
    return Sources(_pairs(train), 0, {TABLE_KIND: queries}, os.path.basename(captions))


def _pairs(source: PhotoCaptions) -> TrainingData:
    out = TrainingData(photos=[Path(one) for one in source.photos])
    for number in range(len(source)):
        for text, weight in zip(source.texts_of(number), source.weights_of(number), strict=True):
            out.add(number, text, MACHINE, float(weight))
    return out
