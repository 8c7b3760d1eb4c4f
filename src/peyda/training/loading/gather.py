"""Collecting photographs and their captions: one entry a photograph, every text of it once, one split a photograph.

What the readers of tables and of shards share. Splits are compared by `photo_identity`, so that a photograph that comes
under two folders or with two endings is still one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from peyda.captions.splits import SplitRule, photo_identity, split_by_table
from peyda.errors import DataError
from peyda.types import Skipped

ONE_SPLIT = (
    "every photograph belongs to one split, with all its captions: peyda captions convert TABLE NEW --split hash"
)


class Splits:
    """Who belongs where; a photograph in two splits is an error.

    Args:
        wanted: The split that is asked for; None takes everything.
        table: A table with the columns image and split, which then decides alone.
        takes_unnamed: What names no split is wanted too, where no table decides.
    """

    def __init__(self, wanted: str | None, table: str | None = None, *, takes_unnamed: bool = False) -> None:
        self.wanted = wanted
        self._takes_unnamed = takes_unnamed and table is None
        self._rule: SplitRule | None = None if table is None else split_by_table(table)
        self._found: dict[str, str] = {}

    @property
    def has_rule(self) -> bool:
        """Whether a table of splits decides."""
        return self._rule is not None

    def verdict(self, image: str, split: str, source: str, *, identity: str | None = None) -> str:
        """Why a caption of `image` is left out, "other_split" or "no_split"; "" where it is wanted.

        Args:
            image: Name of the photograph.
            split: What the source says; "" where it says nothing.
            source: Its name, for messages.
            identity: What makes it the same photograph, where that is not its name.

        Raises:
            DataError: The photograph was in another split before.
        """
        if self._rule is not None:
            split = self._rule(image)
        split = split.strip()
        if split:
            earlier = self._found.setdefault(photo_identity(image) if identity is None else identity, split)
            if earlier != split:
                raise DataError(f"{source} has {image} in {split}, and it is in {earlier} already", hint=ONE_SPLIT)
        if self.wanted is None or split == self.wanted or (not split and self._takes_unnamed):
            return ""
        return "other_split" if split else "no_split"

    def held_out(self) -> frozenset[str]:
        """Identities of the photographs that are in other splits than the wanted one; none where all are wanted."""
        if self.wanted is None:
            return frozenset()
        return frozenset(identity for identity, split in self._found.items() if split != self.wanted)

    def names(self) -> list[str]:
        """The splits that were seen."""
        return sorted(set(self._found.values()))


class Gathered:
    """Photographs in order of first appearance, and the texts of each.

    Attributes:
        photos: Names.
        identities: For each photograph what makes it the same one in another source.
        captions: For each photograph text → weight, in order of appearance.
        skipped: Photographs, samples and shards that are left out, each with its reason.
        left_out: Captions that are left out: reason → how many.
    """

    def __init__(self) -> None:
        self.photos: list[str] = []
        self.identities: list[str] = []
        self.captions: list[dict[str, float]] = []
        self.skipped: list[Skipped] = []
        self.left_out: Counter[str] = Counter()
        self._rows: dict[str, int] = {}

    def row_of(self, photo: str, identity: str) -> int:
        """The number of a photograph, a new one where it is new."""
        row = self._rows.setdefault(photo, len(self.photos))
        if row == len(self.photos):
            self.photos.append(photo)
            self.identities.append(identity)
            self.captions.append({})
        return row

    def add(self, row: int, text: str, weight: float = 1.0) -> None:
        """One caption of a photograph; where it has the text already, the weights add up."""
        captions = self.captions[row]
        captions[text] = captions.get(text, 0.0) + weight

    def skip(self, photo: str, reason: str, detail: str) -> None:
        """A photograph, sample or shard that is left out for a reason worth a line."""
        self.skipped.append(Skipped(photo, reason, detail))

    def check(self, source: str, splits: Splits, column: str) -> None:
        """Refuse a source of which nothing is left.

        Raises:
            DataError: There is no photograph with a caption.
        """
        if self.photos:
            return
        reasons = self.left_out + Counter(one.reason for one in self.skipped)
        if splits.wanted is not None and set(reasons) <= {"other_split", "no_split"}:
            found = ", ".join(splits.names()) or "none"
            raise DataError(f"no photograph of {source} is in the split {splits.wanted!r}", hint=f"its splits: {found}")
        shown = ", ".join(f"{name} {count:,}" for name, count in reasons.most_common())
        raise DataError(
            f"{source} has no photograph with a caption{': ' if shown else ''}{shown}",
            hint=f"check the folder of photographs, and that {column} holds the captions",
        )


def check_links(
    photos: Sequence[str], names: Sequence[str], held_out: Sequence[str], find: Callable[[str], tuple[str, str]]
) -> None:
    """Refuse a file that one split names directly, and another through a link.

    Names are compared first (`Splits`); only where a name of `photos` leads to a file of another name (a folder of
    links, as hub caches make it) are the held-out names looked up as well.

    Args:
        photos: The files, links resolved.
        names: The name under which each was asked for.
        held_out: Names of the photographs of other splits.
        find: From a name to (file, why there is none).

    Raises:
        DataError: A file is in two splits.
    """
    if all(photo_identity(photo) == photo_identity(name) for photo, name in zip(photos, names, strict=True)):
        return
    files = dict(zip(photos, names, strict=True))
    for name in held_out:
        path, _ = find(name)
        if path in files:
            raise DataError(f"{files[path]} and {name} are one file, in two splits", hint=ONE_SPLIT)
