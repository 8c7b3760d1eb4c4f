"""Splits by image, never by caption: by a hash of the photograph's name, by a table, by lists of names.

A photograph that is in two tables, or under two folders, is on the same side in both: what counts is its file name
without folder and ending. Splits that a file brings along (Karpathy's) stay as they are unless a rule is given.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping

from peyda.captions.reading import open_reader, reading
from peyda.captions.schema import photo_name
from peyda.captions.text import open_text
from peyda.errors import DataError

SplitRule = Callable[[str], str]
"""From an image's name to its split; "" where the rule does not know it."""

DEFAULT_SHARES: Mapping[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}


def photo_identity(image: str) -> str:
    """What makes two names the same photograph: file name without folder and ending; of a web address, all of it.

    >>> photo_identity("flickr8k/a.jpg") == photo_identity("A.png")
    True
    """
    if "://" in image:
        return image.split("://", 1)[1]
    return os.path.splitext(photo_name(image))[0].casefold()


def split_by_hash(shares: Mapping[str, float] = DEFAULT_SHARES, *, seed: str = "") -> SplitRule:
    """A rule that gives each photograph a split by a hash of its name: the same today, tomorrow and elsewhere.

    Args:
        shares: Split → its share; they add up to 1.
        seed: Another seed gives another, independent split.

    Raises:
        ValueError: The shares are no shares.

    >>> split_by_hash({"train": 0.5, "test": 0.5})("a.jpg")
    'train'
    """
    if not shares or min(shares.values()) < 0 or not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
        raise ValueError(f"shares of a split add up to 1: {dict(shares)}")
    bounds: list[tuple[float, str]] = []
    total = 0.0
    for name, share in shares.items():
        total += share
        bounds.append((total, name))

    def rule(image: str) -> str:
        digest = hashlib.blake2b(
            photo_identity(image).encode("utf-8", "surrogatepass"),
            digest_size=8,
            key=hashlib.blake2b(seed.encode("utf-8"), digest_size=16).digest() if seed else b"",
        ).digest()
        at = int.from_bytes(digest, "big") / 2**64
        return next((name for bound, name in bounds if at < bound), bounds[-1][1])

    return rule


def split_by_table(path: str) -> SplitRule:
    """A rule from a table with the columns image and split.

    Raises:
        DataError: The table cannot be read, lacks a column, or puts a photograph into two splits.
    """
    found: dict[str, str] = {}
    with open_reader(path, duplicates="keep", required=["split"]) as reader:
        for row in reader:
            _add(found, row["image"], row["split"], path)
    return lambda image: found.get(photo_identity(image), "")


def split_by_lists(lists: Mapping[str, str]) -> SplitRule:
    """A rule from files with one image name a line (`Flickr_8k.trainImages.txt`).

    Args:
        lists: Split → its file.

    Raises:
        DataError: A file cannot be read, or a photograph is in two of them.
    """
    found: dict[str, str] = {}
    for split, path in lists.items():
        with reading(path), open_text(path) as file:
            for line in file:
                if line.strip():
                    _add(found, line.strip(), split, path)
    return lambda image: found.get(photo_identity(image), "")


def _add(found: dict[str, str], image: str, split: str, path: str) -> None:
    earlier = found.setdefault(photo_identity(image), split)
    if earlier != split:
        raise DataError(
            f"{path} puts {image} into {split}, and it is in {earlier} already",
            hint="every photograph belongs to one split, with all its captions",
        )
