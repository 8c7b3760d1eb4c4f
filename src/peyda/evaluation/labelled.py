"""Labelled sets: photographs of which each belongs to one class. A folder for each class, or a table of labels.

The binary formats of published sets are in `peyda.evaluation.labelled_formats`; `read_labelled` opens them all.
"""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from peyda.captions import read_captions, resolve_images
from peyda.errors import DataError
from peyda.evaluation.gallery import Progress, embed_images
from peyda.evaluation.set_names import known_names, plain_key
from peyda.images import SUPPORTED_SUFFIXES
from peyda.types import Float32, Int64, Skipped

if TYPE_CHECKING:
    from PIL import Image

    from peyda.encoders.protocol import Encoder

UInt8 = npt.NDArray[np.uint8]

_BATCH = 64
_SHOWN = 8
# Folders beside the classes that hold no class: Caltech-101's clutter, and what tools leave behind.
_NO_CLASS = frozenset({"background_google", "__macosx", "__pycache__"})


@dataclass(frozen=True, slots=True)
class LabelledClass:
    """A class: its key in the data set, and its Persian names, the one to measure with first."""

    key: str
    fa: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Photographs with their classes.

    Attributes:
        name: Short name of the set.
        classes: The classes that a photograph may be taken for.
        labels: `Int64[n]`, the class of each photograph.
        images: Names of the photographs: files, or numbers within a binary file.
        pixels: `UInt8[n, h, w, 3]` where the set comes in one file, None where `images` are files.
        skipped: What took no part, and why.
    """

    name: str
    classes: tuple[LabelledClass, ...]
    labels: Int64
    images: tuple[str, ...]
    pixels: UInt8 | None = None
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, count: int, seed: int = 0) -> LabelledSet:
        """`count` photographs drawn at random (all where there are fewer), in their order."""
        at = np.sort(np.random.default_rng(seed).permutation(len(self))[:count])
        return replace(
            self,
            labels=self.labels[at],
            images=tuple(self.images[one] for one in at.tolist()),
            pixels=None if self.pixels is None else self.pixels[at],
        )

    def picture(self, at: int) -> Image.Image | None:
        """The photograph, where the set comes in one file; None where it is a file of its own."""
        if self.pixels is None:
            return None
        from PIL import Image

        return Image.fromarray(np.ascontiguousarray(self.pixels[at]))


def embed_labelled(
    encoder: Encoder, labelled: LabelledSet, progress: Progress | None = None
) -> tuple[Float32, list[int], list[Skipped]]:
    """Embeddings `Float32[m, d]`, the rows that they are of (ascending), and the photographs that were refused."""
    if labelled.pixels is None:
        return embed_images(encoder, labelled.images, progress)
    parts = []
    for start in range(0, len(labelled), _BATCH):
        stop = min(start + _BATCH, len(labelled))
        pictures = [picture for at in range(start, stop) if (picture := labelled.picture(at)) is not None]
        parts.append(encoder.encode_images(pictures))
        if progress is not None:
            progress("images", stop, len(labelled))
    embeddings = np.concatenate(parts) if parts else np.zeros((0, encoder.embed_dim), dtype=np.float32)
    return embeddings, list(range(len(labelled))), []


def folder_per_class(
    path: str, names: Mapping[str, tuple[str, ...]] | None = None, *, set_name: str = ""
) -> LabelledSet:
    """A directory with one folder for each class, photographs anywhere below it.

    Args:
        path: The directory.
        names: Class → its Persian names, before those that Peyda knows.
        set_name: Short name of the set; the directory's by default.

    Raises:
        DataError: It cannot be read, has no class with photographs, or a class has no Persian name.
    """
    try:
        folders = sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", hint="name a directory of labelled photographs"
        ) from error
    images: list[str] = []
    labels: list[int] = []
    keys: list[str] = []
    for folder in folders:
        if folder.casefold() in _NO_CLASS:
            continue
        found = _photographs(os.path.join(path, folder))
        if found:
            images += found
            labels += [len(keys)] * len(found)
            keys.append(folder)
    if not keys:
        raise DataError(f"{path} has no folder with photographs in it", hint="put each class into a folder of its own")
    name = set_name or os.path.basename(os.path.normpath(path))
    return LabelledSet(name, name_classes(keys, names), np.asarray(labels, dtype=np.int64), tuple(images))


def table_of_labels(
    path: str, images_dir: str, names: Mapping[str, tuple[str, ...]] | None = None, *, column: str = "label"
) -> LabelledSet:
    """A table with an image and its class in every row.

    Args:
        path: The table, of any format that `peyda.captions` reads, with a column of image names.
        images_dir: Where the photographs are.
        names: Class → its Persian names, before those that Peyda knows.
        column: The column of classes.

    Raises:
        DataError: It cannot be read, has no such column, no photograph is there, or a class has no Persian name.
    """
    table = read_captions(path, column=column)
    resolved = resolve_images(table.images(), images_dir)
    skipped = [Skipped(name, reason, "The table's image has no file.") for name, reason in resolved.missing.items()]
    skipped += [Skipped(f"line {one.line}", one.reason, one.detail) for one in table.skipped]
    label_of: dict[str, str] = {}
    for image, label in zip(table.column("image"), table.column(column), strict=True):
        file = resolved.paths.get(image)
        if file is None:
            continue
        if not label.strip():
            skipped.append(Skipped(image, "no_label", f"The column {column} is empty."))
        elif label_of.setdefault(file, label) != label:
            raise DataError(f"{path} puts {image} into {label} and {label_of[file]}", hint="give every image one class")
    if not label_of:
        raise DataError(f"no labelled image of {path} is under {images_dir}", hint="name the directory of photographs")
    keys = sorted(set(label_of.values()))
    number = {key: at for at, key in enumerate(keys)}
    labels = np.asarray([number[label] for label in label_of.values()], dtype=np.int64)
    name = os.path.basename(path).split(".")[0]
    return LabelledSet(name, name_classes(keys, names), labels, tuple(label_of), skipped=tuple(skipped))


def name_classes(keys: Sequence[str], names: Mapping[str, tuple[str, ...]] | None = None) -> tuple[LabelledClass, ...]:
    """Classes with their Persian names: those given, those that Peyda knows, or the key where it is Persian itself.

    Raises:
        DataError: A class has none.
    """
    given = {plain_key(key): fa for key, fa in (names or {}).items()}
    known = known_names()
    classes = []
    unnamed = []
    for key in keys:
        fa = given.get(plain_key(key)) or known.get(plain_key(key)) or ((key,) if _is_persian(key) else ())
        if fa:
            classes.append(LabelledClass(key, fa))
        else:
            unnamed.append(key)
    if unnamed:
        some = ", ".join(unnamed[:_SHOWN]) + (", …" if len(unnamed) > _SHOWN else "")
        raise DataError(
            f"{len(unnamed)} classes have no Persian name: {some}",
            hint="give their names with --names, a CSV file with the columns class and fa",
        )
    return tuple(classes)


def read_names(path: str) -> dict[str, tuple[str, ...]]:
    """A file of Persian names: CSV (or TSV by its ending) with the columns `class` and `fa`; `|` divides synonyms.

    Raises:
        DataError: It cannot be read, lacks a column, or names a class twice or not at all.
    """
    names: dict[str, tuple[str, ...]] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.endswith(".tsv") else ",")
            if not {"class", "fa"} <= set(reader.fieldnames or ()):
                raise DataError(f"{path} lacks the columns class and fa", hint="its first line is: class,fa")
            for row in reader:
                key, fa = (row["class"] or "").strip(), [one.strip() for one in (row["fa"] or "").split("|")]
                if not key or not all(fa):
                    raise DataError(f"{path}, line {reader.line_num}: a class or name is empty", hint="fill it in")
                if key in names:
                    raise DataError(f"{path}, line {reader.line_num}: {key} comes twice", hint="divide names by |")
                names[key] = tuple(fa)
    except (OSError, UnicodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path} cannot be read: {reason}", hint="name a CSV file in UTF-8") from error
    return names


def _is_persian(text: str) -> bool:
    return any("ARABIC" in unicodedata.name(char, "") for char in text if char.isalpha())


def _photographs(folder: str) -> list[str]:
    found: list[str] = []
    for where, folders, files in os.walk(folder):
        folders.sort()
        found += [
            os.path.join(where, name)
            for name in sorted(files)
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUPPORTED_SUFFIXES
        ]
    return found
