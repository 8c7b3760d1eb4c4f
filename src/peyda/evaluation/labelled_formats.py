"""Published labelled sets as they are downloaded: STL-10, CIFAR, Oxford-IIIT Pets, Caltech-101, ImageNet folders.

Only plain binary files are read. The Python versions of CIFAR are pickles, and a pickle runs whatever its maker wrote
into it: those are refused, with the name of the file to take instead.

Sources: https://cs.stanford.edu/~acoates/stl10/ (labels from 1, each colour plane column by column),
https://www.cs.toronto.edu/~kriz/cifar.html (a label, or two, then 3 planes of 32 rows),
https://www.robots.ox.ac.uk/~vgg/data/pets/ (annotations/list.txt: name, class, species, breed).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import numpy as np

from peyda.errors import DataError
from peyda.evaluation.babel_imagenet import NAME as BABEL_IMAGENET
from peyda.evaluation.babel_imagenet import only_named
from peyda.evaluation.labelled import (
    LabelledClass,
    LabelledSet,
    UInt8,
    folder_per_class,
    name_classes,
    table_of_labels,
)
from peyda.evaluation.set_names import set_names
from peyda.persian.lexicon import imagenet_names
from peyda.types import Int64, Skipped

Names = Mapping[str, tuple[str, ...]]

FORMATS = (
    "folders",
    "csv",
    "stl10",
    "cifar10",
    "cifar100",
    "pets",
    "pets-species",
    "caltech101",
    "imagenet",
    BABEL_IMAGENET,
)
_STL_PX, _CIFAR_PX = 96, 32
_SPECIES = {"1": "cat", "2": "dog"}


def read_labelled(
    path: str,
    *,
    format: str | None = None,  # noqa: A002 - the word of the command line
    images_dir: str | None = None,
    names: Names | None = None,
    split: str = "test",
    column: str = "label",
) -> LabelledSet:
    """A labelled set of any known format.

    Args:
        path: A directory, or a table of labels.
        format: One of `FORMATS`; None looks at what is there.
        images_dir: Where the photographs of a table are; beside it by default.
        names: Class → Persian names, before those that Peyda knows.
        split: "test", "train" or "all", where the set comes with splits (STL-10, CIFAR, Pets).
        column: The column of classes of a table.

    Raises:
        DataError: It is no such set, files are missing or damaged, or a class has no Persian name.
        ValueError: There is no such format or split.
    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"there is no format {format!r}; formats: {', '.join(FORMATS)}")
    if split not in ("test", "train", "all"):
        raise ValueError(f"there is no split {split!r}")
    if not os.path.exists(path):
        raise DataError(f"there is no {path}", hint="name a directory of labelled photographs, or a table of labels")
    chosen = format or _guess(path)
    if chosen == "csv":
        return table_of_labels(path, images_dir or os.path.dirname(path) or ".", names, column=column)
    if chosen == "folders":
        return folder_per_class(path, names)
    if chosen == "caltech101":
        return folder_per_class(_inside(path, "101_ObjectCategories"), names, set_name="caltech101")
    if chosen == "imagenet":
        return _imagenet(path, names)
    if chosen == BABEL_IMAGENET:
        if not names:
            raise DataError(
                f"{BABEL_IMAGENET} is a file of names, and none is given", hint="--names babel_imagenet.json"
            )
        return only_named(_imagenet(path, None), dict(names))
    if chosen in ("pets", "pets-species"):
        return _pets(path, split, names, by_species=chosen == "pets-species")
    readers: Mapping[str, Callable[[str, str], tuple[UInt8, Int64]]] = {
        "stl10": _read_stl10,
        "cifar10": lambda where, part: _read_cifar(where, part, _CIFAR10_FILES, labels=1, classes=10),
        "cifar100": lambda where, part: _read_cifar(where, part, _CIFAR100_FILES, labels=2, classes=100),
    }
    pixels, labels = readers[chosen](path, split)
    classes = name_classes(list(set_names(chosen)), {**set_names(chosen), **(names or {})})
    images = tuple(f"{chosen}/{split}/{at}" for at in range(len(labels)))
    return LabelledSet(f"{chosen}-{split}", classes, labels, images, pixels)


def _guess(path: str) -> str:
    if os.path.isfile(path):
        return "csv"
    inside = {name.casefold() for name in os.listdir(path)}
    if inside & {"test_x.bin", "train_x.bin", "stl10_binary"}:
        return "stl10"
    if inside & {"test_batch.bin", "cifar-10-batches-bin"}:
        return "cifar10"
    if inside & {"fine_label_names.txt", "cifar-100-binary"}:
        return "cifar100"
    if "annotations" in inside and "images" in inside and os.path.isfile(os.path.join(path, "annotations", "list.txt")):
        return "pets"
    if inside & {"test_batch", "cifar-10-batches-py", "cifar-100-python"}:
        raise DataError(
            f"{path} holds the Python version of CIFAR, which is a pickle and can run anything",
            hint="take the binary version: cifar-10-binary.tar.gz or cifar-100-binary.tar.gz",
        )
    if "101_objectcategories" in inside:
        return "caltech101"
    wnids = [name for name in inside if len(name) == 9 and name[0] == "n" and name[1:].isdigit()]
    return "imagenet" if wnids and len(wnids) >= len(inside) // 2 else "folders"


def _imagenet(path: str, names: Names | None) -> LabelledSet:
    """Folders named by WordNet ids; all 1,000 classes compete, whichever have a folder."""
    found = folder_per_class(path, names, set_name="imagenet")
    table = imagenet_names()
    number = {one.wnid: one.index for one in table}
    strange = [one.key for one in found.classes if one.key not in number]
    if strange:
        raise DataError(
            f"{path}: {', '.join(strange[:5])} are no classes of ImageNet-1k",
            hint="use --format folders to measure among the folders that are there",
        )
    given = names or {}
    classes = tuple(LabelledClass(one.wnid, given.get(one.wnid, one.fa)) for one in table)
    index = np.asarray([number[one.key] for one in found.classes], dtype=np.int64)
    return LabelledSet(found.name, classes, index[found.labels], found.images, skipped=found.skipped)


def _pets(path: str, split: str, names: Names | None, *, by_species: bool) -> LabelledSet:
    file = {"test": "test.txt", "train": "trainval.txt", "all": "list.txt"}[split]
    lines = _text(os.path.join(path, "annotations", file)).splitlines()
    images: list[str] = []
    keys: list[str] = []
    skipped: list[Skipped] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split()
        if len(parts) < 3 or parts[2] not in _SPECIES or os.sep in parts[0]:
            raise DataError(
                f"{file}, line {number}: not a name, a class, a species and a breed", hint="download it again"
            )
        photo = os.path.join(path, "images", f"{parts[0]}.jpg")
        if not os.path.isfile(photo):
            skipped.append(Skipped(photo, "not_found", "There is no such file in the directory."))
            continue
        images.append(photo)
        keys.append(_SPECIES[parts[2]] if by_species else parts[0].rsplit("_", 1)[0].casefold())
    if not images:
        raise DataError(f"no photograph of {file} is under {path}/images", hint="unpack images.tar.gz there")
    table = set_names("pets-species" if by_species else "pets")
    strange = sorted(set(keys) - set(table))
    ordered = [*table, *strange]  # an unknown breed needs a name from --names
    classes = name_classes(ordered, {**table, **(names or {})})
    index = {key: at for at, key in enumerate(ordered)}
    labels = np.asarray([index[key] for key in keys], dtype=np.int64)
    return LabelledSet("pets-species" if by_species else "pets", classes, labels, tuple(images), skipped=tuple(skipped))


def _read_stl10(path: str, split: str) -> tuple[UInt8, Int64]:
    folder = _inside(path, "stl10_binary")
    parts = []
    for part in _splits(split):
        size = 3 * _STL_PX * _STL_PX
        raw = _bytes(os.path.join(folder, f"{part}_X.bin"), size)
        labels = _bytes(os.path.join(folder, f"{part}_y.bin"), 1).reshape(-1)
        if len(labels) != len(raw):
            raise DataError(f"{part}_X.bin has {len(raw)} photographs, {part}_y.bin {len(labels)} labels",
                            hint="download the set again")  # fmt: skip
        # Planes are stored column by column.
        pixels = raw.reshape(-1, 3, _STL_PX, _STL_PX).transpose(0, 3, 2, 1)
        parts.append((pixels, _numbered(labels.astype(np.int64) - 1, 10, f"{part}_y.bin")))
    return _joined(parts)


_CIFAR10_FILES = {"test": ("test_batch.bin",), "train": tuple(f"data_batch_{at}.bin" for at in range(1, 6))}
_CIFAR100_FILES = {"test": ("test.bin",), "train": ("train.bin",)}


def _read_cifar(
    path: str, split: str, files: Mapping[str, tuple[str, ...]], *, labels: int, classes: int
) -> tuple[UInt8, Int64]:
    folder = _inside(path, "cifar-10-batches-bin" if classes == 10 else "cifar-100-binary")
    parts = []
    for part in _splits(split):
        for name in files[part]:
            records = _bytes(os.path.join(folder, name), labels + 3 * _CIFAR_PX * _CIFAR_PX)
            pixels = records[:, labels:].reshape(-1, 3, _CIFAR_PX, _CIFAR_PX).transpose(0, 2, 3, 1)
            # CIFAR-100 has the coarse class before the fine one.
            parts.append((pixels, _numbered(records[:, labels - 1].astype(np.int64), classes, name)))
    return _joined(parts)


def _splits(split: str) -> tuple[str, ...]:
    return ("train", "test") if split == "all" else (split,)


def _inside(path: str, folder: str) -> str:
    return os.path.join(path, folder) if os.path.isdir(os.path.join(path, folder)) else path


def _joined(parts: list[tuple[UInt8, Int64]]) -> tuple[UInt8, Int64]:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([pixels for pixels, _ in parts]), np.concatenate([labels for _, labels in parts])


def _numbered(labels: Int64, classes: int, name: str) -> Int64:
    if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        raise DataError(f"{name} has labels beyond its {classes} classes", hint="download the set again")
    return labels


def _bytes(path: str, record: int) -> UInt8:
    """A binary file as `UInt8[n, record]`, mapped and not read."""
    try:
        size = os.path.getsize(path)
        if size == 0 or size % record:
            raise DataError(f"{path} has {size:,} bytes, no multiple of {record:,}", hint="download the set again")
        mapped: UInt8 = np.memmap(path, dtype=np.uint8, mode="r", shape=(size // record, record))
        return mapped
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", hint="unpack the set's binary version there"
        ) from error


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint="unpack annotations.tar.gz there") from error
