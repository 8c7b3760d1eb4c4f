"""Babel-ImageNet: ImageNet's classes in the languages of the world, for those classes that BabelNet names there.

The set is a file of names and no photographs: those are ImageNet's own. Of the 1,000 classes only the named ones
compete (682 in Persian), and only their photographs are measured, as its authors do.

Source: Geigle, Timofte, Glavaš, "Babel-ImageNet" (2023), https://arxiv.org/abs/2306.08658; the file is
data/babel_imagenet.json of github.com/gregor-ge/Babel-ImageNet: language → [indices of classes, their names].
"""

from __future__ import annotations

import json

import numpy as np

from peyda.errors import DataError
from peyda.evaluation.labelled import LabelledClass, LabelledSet
from peyda.persian.lexicon import imagenet_names

NAME = "babel-imagenet-fa"
"""The set as `--format` writes it."""

_HINT = "it is data/babel_imagenet.json of github.com/gregor-ge/Babel-ImageNet"


def read_babel_names(path: str, language: str = "FA") -> dict[str, tuple[str, ...]]:
    """WordNet id → its name, of the classes that the file names in a language.

    Args:
        path: `babel_imagenet.json`.
        language: As the file writes it.

    Raises:
        DataError: It cannot be read, is no such file, or does not have the language.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        numbers, names = content[language]
        classes = imagenet_names()
        found: dict[str, tuple[str, ...]] = {
            classes[number].wnid: (name.strip(),) for number, name in zip(numbers, names, strict=True)
        }
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint=_HINT) from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise DataError(f"{path} has no names of ImageNet's classes in {language}", hint=_HINT) from error
    if not found or not all(name for one in found.values() for name in one):
        raise DataError(f"{path} has an empty name, or none, in {language}", hint=_HINT)
    return found


def only_named(labelled: LabelledSet, names: dict[str, tuple[str, ...]]) -> LabelledSet:
    """The photographs of named classes; no other class competes.

    Raises:
        DataError: No photograph is of a named class.
    """
    keep = [at for at, one in enumerate(labelled.classes) if one.key in names]
    row_of = {at: row for row, at in enumerate(keep)}
    taken = [at for at, label in enumerate(labelled.labels.tolist()) if label in row_of]
    if not taken:
        raise DataError(
            "no photograph is of a class that Babel-ImageNet names", hint="--set: folders named n01440764, …"
        )
    classes = tuple(LabelledClass(labelled.classes[at].key, names[labelled.classes[at].key]) for at in keep)
    labels = np.asarray([row_of[int(labelled.labels[at])] for at in taken], np.int64)
    images = tuple(labelled.images[at] for at in taken)
    return LabelledSet(NAME, classes, labels, images, skipped=labelled.skipped)
