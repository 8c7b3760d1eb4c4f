"""What is in a caption table: counts, gaps, values and a few rows, in one pass and little memory."""

from __future__ import annotations

import math
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from peyda.captions.formats import ReadOptions, SkippedRow
from peyda.captions.reading import CaptionRow, open_reader
from peyda.captions.schema import is_score

_COUNTED = ("split", "engine", "kept", "reason", "kind", "locale", "domain")
_MOST_VALUES = 1_000
"""Values beyond so many are no categories; they are counted together."""

OTHER = "…"


@dataclass
class ScoreSummary:
    """The numbers of one score column; `mean` is NaN where there are none. `bad` counts text that is no number."""

    count: int = 0
    bad: int = 0
    low: float = math.inf
    high: float = -math.inf
    total: float = 0.0

    @property
    def mean(self) -> float:
        """The mean of the numbers."""
        return self.total / self.count if self.count else math.nan

    def add(self, text: str) -> None:
        """Count one value."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.bad += 1
            return
        self.count += 1
        self.total += value
        self.low = min(self.low, value)
        self.high = max(self.high, value)


@dataclass
class TableSummary:
    """What `summarise` found.

    Attributes:
        source: The file.
        format_name: What it was read as.
        columns: Its canonical columns.
        rows: Usable rows.
        images: Distinct images.
        most_captions: Captions of the image that has most.
        filled: Column → rows in which it is not empty.
        longest: Caption column → characters of its longest caption.
        values: Column of few values → value → rows.
        scores: Score column → its numbers.
        sample: Some rows.
        skipped: Rows that are not usable, and why.
    """

    source: str
    format_name: str
    columns: tuple[str, ...]
    rows: int = 0
    images: int = 0
    most_captions: int = 0
    filled: Counter[str] = field(default_factory=Counter)
    longest: dict[str, int] = field(default_factory=dict)
    values: dict[str, Counter[str]] = field(default_factory=dict)
    scores: dict[str, ScoreSummary] = field(default_factory=dict)
    sample: list[CaptionRow] = field(default_factory=list)
    skipped: Sequence[SkippedRow] = ()


def summarise(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word of the command line
    options: ReadOptions | None = None,
    rows: int = 5,
    seed: int | None = None,
) -> TableSummary:
    """Read a table once and say what is in it.

    Args:
        path: A table of any known format.
        format: As for `open_reader`.
        options: As for `open_reader`.
        rows: Rows to show.
        seed: Takes them from all over the table; None takes the first ones.

    Raises:
        DataError: As `open_reader`.
    """
    captions_of: Counter[str] = Counter()
    chance = None if seed is None else random.Random(seed)
    with open_reader(path, format=format, options=options) as reader:
        found = TableSummary(reader.source, reader.format_name, reader.columns)
        found.values = {name: Counter() for name in reader.columns if name in _COUNTED}
        found.scores = {name: ScoreSummary() for name in reader.columns if is_score(name)}
        texts = [name for name in reader.columns if name.startswith("caption_") and name != "caption_id"]
        for row in reader:
            captions_of[row["image"]] += 1
            _count(found, row, texts)
            _sample(found.sample, row, found.rows, rows, chance)
            found.rows += 1
        found.skipped = reader.skipped
    found.images = len(captions_of)
    found.most_captions = max(captions_of.values(), default=0)
    return found


def _count(found: TableSummary, row: CaptionRow, texts: Sequence[str]) -> None:
    found.filled.update(name for name, value in row.items() if value)
    for name in texts:
        found.longest[name] = max(found.longest.get(name, 0), len(row[name]))
    for name, counter in found.values.items():
        value = row[name]
        counter[value if value in counter or len(counter) < _MOST_VALUES else OTHER] += 1
    for name, score in found.scores.items():
        if row[name]:
            score.add(row[name])


def _sample(sample: list[CaptionRow], row: CaptionRow, at: int, size: int, chance: random.Random | None) -> None:
    """Reservoir sampling (Vitter's algorithm R), or the first rows where nothing is left to chance."""
    if len(sample) < size:
        sample.append(row)
    elif chance is not None and (slot := chance.randrange(at + 1)) < size:
        sample[slot] = row
