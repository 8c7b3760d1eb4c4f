"""Persian names of picturable things: the object classes the models are taught and measured with.

Three tables travel with the package under `data/` (its README says how they were written): the 1,000 ImageNet-1k
classes, the 101 Caltech-101 folders and a list of everyday things that neither covers. Names are written as people
type them; the first of a class is the one to show and to measure with, the others are synonyms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_IMAGENET = "imagenet_fa.tsv"
_CALTECH101 = "caltech101_fa.tsv"
_EVERYDAY = "everyday_fa.tsv"
_WORDS = "words_fa.tsv"


@dataclass(frozen=True, slots=True)
class ClassNames:
    """One object class and what it is called.

    Attributes:
        index: Position of the class in its data set, from 0.
        wnid: The data set's own key: a WordNet id (`n02123045`) for ImageNet, the folder name for Caltech-101.
        en: English names, the data set's own first.
        fa: Persian names, the best one first; never empty.
    """

    index: int
    wnid: str
    en: tuple[str, ...]
    fa: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EverydayPhrase:
    """A picturable everyday thing, place, person or action.

    Attributes:
        en: The English of it.
        fa: Persian ways to say it, the commonest first; never empty.
    """

    en: str
    fa: tuple[str, ...]


def imagenet_names() -> list[ClassNames]:
    """The 1,000 ImageNet-1k classes, in the usual index order.

    Raises:
        ValueError: The installed table is damaged.
    """
    return list(_imagenet_table())


def caltech101_names() -> list[ClassNames]:
    """The folders of Caltech-101 without its background folder, in byte order of their names.

    Raises:
        ValueError: The installed table is damaged.
    """
    return list(_caltech101_table())


def everyday_names() -> list[EverydayPhrase]:
    """Everyday things, places, people and actions, grouped by topic.

    Raises:
        ValueError: The installed table is damaged.
    """
    return list(_everyday_table())


def word_counts() -> dict[str, int]:
    """Words of the native training captions and of the names here as they are written, half-spaces and all, and how
    often.

    Raises:
        ValueError: The installed table is damaged.
    """
    return dict(_word_table())


@cache
def _imagenet_table() -> tuple[ClassNames, ...]:
    classes = []
    for position, (index, wnid, english, persian) in enumerate(_rows(_IMAGENET, columns=4)):
        if index != str(position):
            raise ValueError(f"{_IMAGENET}:{position + 1}: numbered {index!r} where {position} belongs")
        classes.append(ClassNames(position, wnid, _names(_IMAGENET, english), _names(_IMAGENET, persian)))
    return tuple(classes)


@cache
def _caltech101_table() -> tuple[ClassNames, ...]:
    return tuple(
        ClassNames(position, folder, _names(_CALTECH101, english), _names(_CALTECH101, persian))
        for position, (folder, english, persian) in enumerate(_rows(_CALTECH101, columns=3))
    )


@cache
def _everyday_table() -> tuple[EverydayPhrase, ...]:
    return tuple(EverydayPhrase(en, _names(_EVERYDAY, persian)) for en, persian in _rows(_EVERYDAY, columns=2))


@cache
def _word_table() -> dict[str, int]:
    return {word: int(count) for word, count in _rows(_WORDS, columns=2)}


def _rows(name: str, *, columns: int) -> list[list[str]]:
    text = files("peyda.persian").joinpath("data", name).read_text(encoding="utf-8")
    # Not splitlines(): it also breaks at characters that a name could hold, such as U+2028.
    rows = [line.split("\t") for line in text.removesuffix("\n").split("\n")]
    for number, row in enumerate(rows, start=1):
        if len(row) != columns:
            raise ValueError(f"{name}:{number}: {len(row)} columns where {columns} belong")
    return rows


def _names(table: str, field: str) -> tuple[str, ...]:
    names = tuple(field.split("|"))
    if not all(names):
        raise ValueError(f"{table}: an empty name in {field!r}")
    return names
