"""Caption pairs to measure translators and scorers on: an English caption and its Persian rendering."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from peyda.captions import open_reader, photo_name
from peyda.errors import DataError


@dataclass(frozen=True, slots=True)
class ReferencePair:
    """One caption in both languages."""

    image: str
    caption_id: str
    english: str
    persian: str


@dataclass(frozen=True, slots=True)
class PairSource:
    """Where the pairs are.

    Attributes:
        captions: Caption table with the Persian captions.
        english: Caption table with the English ones, where `captions` has none; matched by photograph and caption id.
        where: Column of `captions` → its allowed values.
        split_table: Table of images and their split, where `captions` has no such column.
        split: The split to take.
        first_only: Take only the first caption of each photograph that has one.
    """

    captions: str | os.PathLike[str]
    english: str | os.PathLike[str] | None = None
    where: Mapping[str, Sequence[str]] | None = None
    split_table: str | os.PathLike[str] | None = None
    split: str | None = None
    first_only: bool = False

    def describe(self) -> dict[str, object]:
        """JSON-ready: names of files without their folders."""
        return {
            "captions": os.path.basename(self.captions),
            "english": os.path.basename(self.english) if self.english else None,
            "where": {name: list(values) for name, values in (self.where or {}).items()},
            "split": self.split,
            "first_only": self.first_only,
        }


@dataclass(frozen=True, slots=True)
class PairTable:
    """What a table gives.

    Attributes:
        pairs: In the table's order.
        incomplete: Chosen rows that lack one of the two captions.
        skipped: Lines of the table that are no rows.
    """

    pairs: list[ReferencePair]
    incomplete: int
    skipped: int

    def counts(self) -> dict[str, int]:
        """For `run.json`: what took part, and what did not."""
        return {
            "pairs": len(self.pairs),
            "images": len({pair.image for pair in self.pairs}),
            "incomplete_pairs": self.incomplete,
            "skipped_rows": self.skipped,
        }


def read_pairs(source: PairSource) -> PairTable:
    """The pairs of captions that are chosen, and how many rows gave none.

    Raises:
        DataError: A table cannot be used, lacks a column, or no pair is left.
    """
    english = _english_captions(source.english) if source.english else None
    images = _images_of_split(source) if source.split_table else None
    pairs: list[ReferencePair] = []
    incomplete = 0
    seen: set[str] = set()
    with open_reader(source.captions, duplicates="keep", required=("caption_fa",)) as reader:
        wanted = {name: set(values) for name, values in (source.where or {}).items()}
        if source.split and images is None:
            wanted["split"] = {source.split}
        if missing := sorted(set(wanted) - set(reader.columns)):
            raise DataError(
                f"{source.captions} has no column {missing[0]}", hint=f"it has: {', '.join(reader.columns)}"
            )
        for row in reader:
            name = photo_name(row["image"])
            if any(row[column] not in values for column, values in wanted.items()):
                continue
            if (images is not None and name not in images) or (source.first_only and name in seen):
                continue
            key = (name, row.get("caption_id", ""))
            text = english.get(key, "") if english is not None else row.get("caption_en", "")
            if text.strip() and row["caption_fa"].strip():
                seen.add(name)
                pairs.append(ReferencePair(row["image"], key[1], text, row["caption_fa"]))
            else:
                incomplete += 1
        skipped = len(reader.skipped)
    if not pairs:
        raise DataError(
            f"{source.captions} gives no pair of captions",
            hint="--english TABLE names the table with the English captions; --where and --split choose rows",
        )
    return PairTable(pairs, incomplete, skipped)


def _english_captions(path: str | os.PathLike[str]) -> dict[tuple[str, str], str]:
    with open_reader(path, duplicates="keep", required=("caption_en",)) as reader:
        return {(photo_name(row["image"]), row["caption_id"]): row["caption_en"] for row in reader}


def _images_of_split(source: PairSource) -> set[str]:
    import csv

    path = source.split_table or ""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"image", "split"} <= set(rows.fieldnames or ()):
                raise DataError(f"{path} has no columns image and split")
            return {photo_name(row["image"]) for row in rows if row["split"] == source.split}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"cannot read {path}: {error}", hint="--split-table names a CSV with image and split"
        ) from error
