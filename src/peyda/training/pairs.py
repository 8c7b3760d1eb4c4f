"""Parallel English and Persian text: what the translator and the scorer are trained on, and who may see what.

Owns reading the pairs (the files are `DATA/README.md`'s), dividing them between the two models by a hash of the image,
and the rule that no caption of a val or test photograph gets in. Translator and scorer share no pair and no sentence,
or the scorer would flatter the translator.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from peyda.errors import DataError
from peyda.persian import normalize
from peyda.persian.lexicon import caltech101_names, everyday_names, imagenet_names
from peyda.training.data import flickr_split, read_rows

SCORER_SHARE = 0.2
_COCO_SCORE = 0.45
"""Aligned COCO pairs below this score are mostly wrong (DATA/README.md)."""

NATIVE, MACHINE, COCO, TATOEBA, DICTIONARY, WORD = "native", "machine", "coco", "tatoeba", "dictionary", "word"
KINDS = (NATIVE, MACHINE, COCO, TATOEBA, DICTIONARY, WORD)


@dataclass(frozen=True, slots=True)
class Pair:
    """One English text and its Persian rendering.

    Attributes:
        english: As it is in the data.
        persian: As it is in the data, half-spaces and all.
        kind: One of `KINDS`: where it is from, which says how good it is.
        key: The image (or, where there is none, the English text): what the division goes by.
        where: Image and caption number as captions tables have them; empty where there is no image.
    """

    english: str
    persian: str
    kind: str
    key: str
    where: tuple[str, str] = ("", "")


def belongs_to_scorer(key: str) -> bool:
    """Whether a pair with this key is the scorer's (one fifth) or the translator's."""
    return int.from_bytes(hashlib.sha1(key.encode()).digest()[:4], "big") / 2**32 < SCORER_SHARE


def load_pairs(data: Path) -> tuple[list[Pair], list[Pair]]:
    """All pairs that may be trained on: the translator's and the scorer's.

    Left out are pairs whose English or Persian is, once normalised, a caption of a val or test photograph, and of the
    scorer's those whose English or Persian the translator has too.

    Raises:
        DataError: A file is missing or malformed, or a training file holds a val or test photo.
    """
    forbidden = _held_out_texts(data)
    translator: dict[tuple[str, str], Pair] = {}
    scorer: dict[tuple[str, str], Pair] = {}
    for pair in _all_pairs(data):
        texts = normalize(pair.english), normalize(pair.persian)
        if all(texts) and not forbidden.intersection(texts):
            (scorer if belongs_to_scorer(pair.key) else translator).setdefault(texts, pair)
    seen = {text for texts in translator for text in texts}
    return list(translator.values()), [pair for texts, pair in scorer.items() if not seen.intersection(texts)]


def load_held_out(data: Path, split: str) -> list[Pair]:
    """The native sentences of val or test with their English captions.

    Raises:
        DataError: A file is missing.
    """
    english = {("flickr8k/" + r["image"], r["caption_id"]): r["caption_en"] for r in _flickr_rows(data)}
    return [
        Pair(english[where], row["caption_fa"], NATIVE, where[0], where)
        for row in read_rows(data / f"native_fa_{split}.csv")
        if row["kind"] == "sentence" and (where := (row["image"], row["caption_id"])) in english
    ]


def load_machine_held_out(data: Path, split: str, *, first_only: bool = False) -> list[Pair]:
    """Machine-translated captions of val or test photos; with `first_only` the first one of each photo.

    Raises:
        DataError: A file is missing.
    """
    photo_split = flickr_split(data)
    pairs: list[Pair] = []
    seen: set[str] = set()
    for row in _flickr_rows(data):
        name = row["image"]
        if photo_split.get(name) == split and row["caption_fa"] and not (first_only and name in seen):
            seen.add(name)
            where = ("flickr8k/" + name, row["caption_id"])
            pairs.append(Pair(row["caption_en"], row["caption_fa"], MACHINE, where[0], where))
    return pairs


def _flickr_rows(data: Path) -> list[dict[str, str]]:
    return read_rows(data / "flickr8k/captions.csv")


def _held_out_texts(data: Path) -> set[str]:
    split = flickr_split(data)
    texts = {row["caption_fa"] for part in ("val", "test") for row in read_rows(data / f"native_fa_{part}.csv")}
    for row in _flickr_rows(data):
        if split.get(row["image"]) != "train":
            texts |= {row["caption_en"], row["caption_fa"]}
    return {normalize(text) for text in texts} - {""}


def _all_pairs(data: Path) -> Iterator[Pair]:
    split = flickr_split(data)
    english: dict[tuple[str, str], str] = {}
    for row in _flickr_rows(data):
        english["flickr8k/" + row["image"], row["caption_id"]] = row["caption_en"]
    for row in read_rows(data / "coco/captions.csv"):
        english["coco/" + row["image"], row["caption_id"]] = row["caption_en"]
    for row in read_rows(data / "native_fa.csv"):
        where = (row["image"], row["caption_id"])
        if row["image"].startswith("flickr8k/") and split.get(row["image"].removeprefix("flickr8k/")) != "train":
            raise DataError(
                f"{row['image']} is not a training photo", hint="captions of val and test photos are never trained on"
            )
        if row["kind"] == "sentence" and where in english:
            yield Pair(english[where], row["caption_fa"], NATIVE, row["image"], where)
    for row in _flickr_rows(data):
        if split.get(row["image"]) == "train" and row["caption_fa"]:
            where = ("flickr8k/" + row["image"], row["caption_id"])
            yield Pair(row["caption_en"], row["caption_fa"], MACHINE, where[0], where)
    yield from _text_pairs(data / "text")


def _text_pairs(folder: Path) -> Iterator[Pair]:
    for fields in _tab_rows(folder / "coco_val2017_en_fa.tsv", 6):
        if float(fields[3]) >= _COCO_SCORE:
            yield Pair(fields[4], fields[5], COCO, f"coco-val2017/{fields[0]}")
    for english, persian in _tab_rows(folder / "tatoeba_en_fa.tsv", 2):
        # Some hold a second rendering in brackets.
        yield Pair(english, re.sub(r"\(.*?\)", " ", persian), TATOEBA, english)
    path = folder / "en_fa_dictionary_sentences.csv.gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                english = row["EnglishSentence"]
                yield Pair(english, row["EnglishSentenceTranslate"], DICTIONARY, english)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}", hint="--data DIR names the folder of DATA/README.md") from error
    for english, persian in (*_lexicon_names(), *_glosses(_lines(folder / "wiktionary_en_fa.txt"))):
        yield Pair(english, persian, WORD, english)


def word_pairs(data: Path) -> list[tuple[str, str]]:
    """English and Persian words for one thing, normalised: our own lists with all their synonyms, and Wiktionary's.

    Raises:
        DataError: The dictionary is missing.
    """
    ours = [(phrase.en, name) for phrase in everyday_names() for name in phrase.fa]
    ours += [
        (english, name)
        for entry in (*imagenet_names(), *caltech101_names())
        for english in entry.en
        for name in entry.fa
    ]
    theirs = _glosses(_lines(data / "text/wiktionary_en_fa.txt"))
    pairs = ((normalize(english), normalize(persian)) for english, persian in (*ours, *theirs))
    return list(dict.fromkeys(pair for pair in pairs if all(pair)))


def _lexicon_names() -> Iterator[tuple[str, str]]:
    for phrase in everyday_names():
        yield phrase.en, phrase.fa[0]
    for entry in (*imagenet_names(), *caltech101_names()):
        yield entry.en[0], entry.fa[0]


_GLOSS = re.compile(r"^(?P<word>[a-z][a-z '-]*) \{(?P<part>n|v|adj|adv|num)\}[^:]*:: (?P<persian>[^/,\[\]({;]+)")


def _glosses(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The first Persian word of each gloss of a noun, verb, adjective, adverb or number."""
    for line in lines:
        if (found := _GLOSS.match(line)) and (persian := found["persian"].strip()):
            yield found["word"], persian


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}", hint="--data DIR names the folder of DATA/README.md") from error


def _tab_rows(path: Path, columns: int) -> Iterator[list[str]]:
    for line in _lines(path):
        fields = line.split("\t")
        if len(fields) == columns:
            yield fields
