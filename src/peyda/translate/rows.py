"""Which rows of a table get a translation, and what the rows of the new table are.

Owns the treatment of rows that have a Persian caption already, and of doubled keys. Nothing is lost: every row that was
read is written, and a caption of another engine stays in a row of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from peyda.captions.schema import is_score, key_columns, ordered, row_key
from peyda.translate.protocol import Failed
from peyda.translate.source import normalize_source, refusal
from peyda.translate.spelling import to_persian_spelling

ERROR_COLUMN = "translate_error"
"""Where a row without a translation says why: "code: sentence"."""

DUPLICATE_KEY = "duplicate_key"
"""Code in the error column of a row whose key was there before. It is translated all the same."""

_DUPLICATE = f"{DUPLICATE_KEY}: an earlier row has the same image and caption_id"

Existing = Literal["both", "keep", "replace"]
"""What happens to a row that has a Persian caption of another origin: it stays and a new row follows; it stays; it is
translated anew."""

Row = dict[str, str]


@dataclass(slots=True)
class Counts:
    """What was written. `reasons` counts rows without a translation by `peyda.translate.protocol.FAILURES`."""

    rows: int = 0
    translated: int = 0
    passed: int = 0
    duplicates: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


class RowPlan:
    """Decides row by row.

    Args:
        columns: Columns of the table that is read.
        column: The one that is translated.
        label: `Engine.label`.
        longest_text: `Engine.longest_text`.
        existing: See `Existing`.
    """

    def __init__(
        self, columns: Sequence[str], column: str, label: str, longest_text: int, existing: Existing = "both"
    ) -> None:
        added = ["caption_fa", "engine", ERROR_COLUMN]
        if "caption_en" not in columns:
            added.append("caption_en")  # so that the next stages find the English side where it belongs
        self.columns = ordered([*columns, *added])
        self.column = column
        self._label = label
        self._longest_text = longest_text
        self._existing = existing
        self._key_columns = tuple(name for name in key_columns(self.columns) if name != "engine")
        self._own: set[int] | None = None
        self.needs_own_keys = existing == "both" and {"caption_fa", "engine"} <= set(columns)

    def collect_own_keys(self, rows: Iterable[Row]) -> None:
        """Remember which keys have a row of this engine, so that no second one is made for them."""
        self._own = {self._key(row) for row in rows if self._is_own(row) or not row["caption_fa"].strip()}

    def source(self, row: Row) -> str | None:
        """The normalised text that `row` needs translated; None where it needs none."""
        if not (self._is_in_place(row) or self._has_extra(row)):
            return None
        source = normalize_source(row[self.column])
        return None if refusal(source, self._longest_text) else source

    def written(self, row: Row, translation: str | Failed | None, counts: Counts, seen: set[int]) -> Iterator[Row]:
        """The rows that `row` becomes.

        Args:
            row: A row as read.
            translation: What became of its `source`.
            counts: Is brought up to date.
            seen: Keys of this engine that were written; the same set for all rows of a table.
        """
        key = self._key(row)
        if not self._is_in_place(row):
            counts.rows += 1
            counts.passed += 1
            yield {"engine": "", ERROR_COLUMN: "", "caption_en": row[self.column], **row}
            if not self._has_extra(row) or key in seen:
                return
        seen_before = key in seen
        seen.add(key)
        yield self._translated(row, translation, counts, is_duplicate=seen_before)

    def _translated(self, row: Row, translation: str | Failed | None, counts: Counts, *, is_duplicate: bool) -> Row:
        # Scores and verdicts belong to the caption that was there before.
        stale = {name: "" for name in row if is_score(name) or name in {"kept", "reason"}}
        new = {
            "caption_en": row[self.column],
            **row,
            **stale,
            "engine": self._label,
            "caption_fa": "",
            ERROR_COLUMN: "",
        }
        counts.rows += 1
        if isinstance(translation, str):
            new["caption_fa"] = to_persian_spelling(translation)
            counts.translated += 1
        else:
            source = normalize_source(row[self.column])
            failed = refusal(source, self._longest_text) or translation or Failed("not_translated")
            new[ERROR_COLUMN] = str(failed)
            counts.reasons[failed.code] = counts.reasons.get(failed.code, 0) + 1
        if is_duplicate:
            counts.duplicates += 1
            new[ERROR_COLUMN] = (
                new[ERROR_COLUMN] or f"{DUPLICATE_KEY}: an earlier row has the same image and caption_id"
            )
        return new

    def _key(self, row: Mapping[str, str]) -> int:
        return hash(row_key(row, self._key_columns))

    def _is_own(self, row: Row) -> bool:
        return bool(row.get("caption_fa", "").strip()) and row.get("engine", "") == self._label

    def _is_in_place(self, row: Row) -> bool:
        return self._existing == "replace" or not row.get("caption_fa", "").strip()

    def _has_extra(self, row: Row) -> bool:
        """Whether a row that stays is followed by one of this engine."""
        if self._existing != "both" or self._is_own(row):
            return False
        return self._own is None or self._key(row) not in self._own
