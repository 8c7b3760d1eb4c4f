"""What a dual encoder is trained on: photographs, their captions in two languages, and who may be seen.

Owns reading the development data (its layout is `DATA/README.md`'s), the split rules, and one flat table of
(photo, text) pairs. A val or test photo, and any caption of it, never gets in: `load_training_data` checks that.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from peyda.errors import DataError
from peyda.persian import normalize
from peyda.types import Bool, Float32, Int64

# Caltech-101 classes that no training ever sees, so that zero-shot accuracy on new classes can be reported apart:
# the 20 smallest by the SHA-1 of their name. Of the others, a photo is held back when its own hash says so.
UNSEEN_CLASSES = 20
HELD_BACK_SHARE = 0.2

NATIVE, MACHINE, ENGLISH, CLASS, GUESSED, TRANSLATED = KINDS = (
    "native",
    "machine",
    "english",
    "class",
    "guessed",
    "translated",
)
"""Native captions, machine-translated ones, English ones, names of labelled photographs' classes, names of what the
pretrained classifier is sure to see, and captions that `peyda translate` made."""

_SIDES = frozenset(("چپ", "راست", "left", "right"))


@dataclass
class TrainingData:
    """Photographs and the texts that describe them; `photo_of[i]` is the photo of `texts[i]`."""

    photos: list[Path] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    photo_of: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    """Of every text, one of `KINDS`."""
    weights: list[float] = field(default_factory=list)

    def add(self, photo: int, text: str, kind: str, weight: float) -> None:
        """One (photo, text) pair; the text is normalised, an empty one is left out."""
        text = normalize(text)
        if text:
            self.texts.append(text)
            self.photo_of.append(photo)
            self.kinds.append(kind)
            self.weights.append(weight)

    def reweighted(self, weights: Mapping[str, float]) -> TrainingData:
        """The same pairs, each drawn by the weight of its kind alone (so each guessed name by the whole of its own)."""
        return dataclasses.replace(self, weights=[weights[kind] for kind in self.kinds])

    def sided_photos(self) -> Bool:
        """Which photographs have a text that says left or right, and so may not be mirrored: `bool[photos]`."""
        out = np.zeros(len(self.photos), bool)
        for text, photo in zip(self.texts, self.photo_of, strict=True):
            if not out[photo] and _SIDES.intersection(text.split()):
                out[photo] = True
        return out

    def captions_by_photo(self) -> list[tuple[Int64, Float32]]:
        """For each photo the indices of its texts and their sampling probabilities."""
        groups: dict[int, list[int]] = defaultdict(list)
        for i, photo in enumerate(self.photo_of):
            groups[photo].append(i)
        weights = np.asarray(self.weights)
        out = []
        for photo in range(len(self.photos)):
            ids = np.asarray(groups[photo], np.int64)
            share = weights[ids]
            out.append((ids, np.asarray(share / share.sum(), np.float32)))
        return out


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV with a header.

    Raises:
        DataError: It cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}", hint="--data DIR names the folder of DATA/README.md") from error


def flickr_split(data: Path) -> dict[str, str]:
    """Image name → train, val or test."""
    return {row["image"]: row["split"] for row in read_rows(data / "flickr8k/split.csv")}


def _share(text: str) -> float:
    return int.from_bytes(hashlib.sha1(text.encode()).digest()[:4], "big") / 2**32


def caltech_split(data: Path) -> dict[Path, str]:
    """Caltech-101 photo → train, test (held back by hash) or unseen (its class is never trained on)."""
    classes = sorted(path.name for path in (data / "caltech101").iterdir() if path.is_dir())
    unseen = set(sorted(classes, key=lambda name: hashlib.sha1(name.encode()).hexdigest())[:UNSEEN_CLASSES])
    split = {}
    for name in classes:
        for path in sorted((data / "caltech101" / name).iterdir()):
            held = _share(f"{name}/{path.name}") < HELD_BACK_SHARE
            split[path] = "unseen" if name in unseen else "test" if held else "train"
    return split


def load_training_data(data: Path, *, weights: Mapping[str, float]) -> TrainingData:
    """All (photo, text) pairs that may be trained on.

    Args:
        data: The development data.
        weights: How often each of `KINDS` is drawn. A kind with weight 0 is left out.

    Raises:
        DataError: A table is missing, or a val or test photo is among the captions.
    """
    split = flickr_split(data)
    out = TrainingData()
    index: dict[str, int] = {}

    def photo(name: str) -> int:
        if name.startswith("flickr8k/") and split.get(name.removeprefix("flickr8k/")) != "train":
            raise DataError(
                f"{name} is not a training photo", hint="captions of val and test photos are never trained on"
            )
        if name not in index:
            folder, file = name.split("/", 1)
            index[name] = len(out.photos)
            out.photos.append(data / folder / "images" / file)
        return index[name]

    for row in read_rows(data / "native_fa.csv"):
        out.add(photo(row["image"]), row["caption_fa"], NATIVE, weights[NATIVE])
    for row in read_rows(data / "flickr8k/captions.csv"):
        if split[row["image"]] == "train":
            if weights[MACHINE] and row["caption_fa"]:
                out.add(photo("flickr8k/" + row["image"]), row["caption_fa"], MACHINE, weights[MACHINE])
            if weights[ENGLISH]:
                out.add(photo("flickr8k/" + row["image"]), row["caption_en"], ENGLISH, weights[ENGLISH])
    if weights[ENGLISH]:
        for row in read_rows(data / "coco/captions.csv"):
            out.add(photo("coco/" + row["image"]), row["caption_en"], ENGLISH, weights[ENGLISH])
    if weights[CLASS]:
        _add_caltech(out, data, weights[CLASS])
    return out


def add_translations(training: TrainingData, table: Path, weight: float) -> int:
    """Add the Persian captions of a table to the photographs that are trained on already.

    Others, those of val and test among them, get none: the table cannot bring a photograph in.

    Args:
        training: Where the captions go; photographs are found by file name.
        table: What `peyda translate` or `peyda filter` wrote; rows not kept, and those that no engine made, stay out.
        weight: Of each caption.

    Returns:
        How many captions were added.

    Raises:
        DataError: The table cannot be read, or has none for these photographs.
    """
    from peyda.captions import open_reader

    number_of = {path.name: number for number, path in enumerate(training.photos)}
    before = len(training.texts)
    with open_reader(str(table)) as rows:
        for row in rows:
            photo = number_of.get(Path(row["image"]).name)
            if photo is not None and row.get("engine") and row.get("kept", "") in ("", "true"):
                training.add(photo, row.get("caption_fa", ""), TRANSLATED, weight)
    if len(training.texts) == before:
        raise DataError(
            f"{table} has no translated caption of a training photo", hint="peyda translate makes such tables"
        )
    return len(training.texts) - before


def _add_caltech(out: TrainingData, data: Path, weight: float) -> None:
    from peyda.persian.lexicon import caltech101_names

    names = {entry.wnid: entry for entry in caltech101_names()}
    for path, part in caltech_split(data).items():
        if part == "train":
            out.photos.append(path)
            for text in (*names[path.parent.name].fa, *names[path.parent.name].en):
                out.add(len(out.photos) - 1, text, CLASS, weight)


@dataclass(frozen=True)
class Queries:
    """An evaluation set: texts, and for each the row of its photo in `photos`."""

    photos: list[Path]
    texts: list[str]
    photo_of: Int64


def load_queries(data: Path, split: str, kind: str) -> Queries:
    """Queries over all photos of a split of Flickr8k.

    Args:
        data: The development data.
        split: "val" or "test".
        kind: "sentence" or "short" (native), "machine" or "english".
    """
    names = [name for name, part in flickr_split(data).items() if part == split]
    row_of = {name: i for i, name in enumerate(names)}
    if kind in ("sentence", "short"):
        rows = [
            (row["image"].removeprefix("flickr8k/"), row["caption_fa"])
            for row in read_rows(data / f"native_fa_{split}.csv")
            if row["kind"] == kind
        ]
    else:
        column = {"machine": "caption_fa", "english": "caption_en"}[kind]
        rows = [(row["image"], row[column]) for row in read_rows(data / "flickr8k/captions.csv")]
    kept = [(row_of[name], normalize(text)) for name, text in rows if name in row_of and text]
    return Queries(
        [data / "flickr8k/images" / name for name in names],
        [text for _, text in kept],
        np.asarray([photo for photo, _ in kept], np.int64),
    )
