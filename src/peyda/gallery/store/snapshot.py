"""The committed points of one moment, as columns in memory: immutable, so that searches need no lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from peyda.gallery.store.folders import folder_bytes, is_within
from peyda.gallery.store.journal import Batch, Int32, State
from peyda.gallery.store.scoring import Bool, Float64
from peyda.types import Int64, Where

_NO_INT: Int64 = np.empty(0, dtype=np.int64)
_NO_FLOAT: Float64 = np.empty(0, dtype=np.float64)
_NO_FOLDER: Int32 = np.empty(0, dtype=np.int32)
_NO_BOOL: Bool = np.empty(0, dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Columns over the rows of the vector file, and the index from id to row.

    A row is `alive` when it is its id's latest and the id was not deleted. `row_seqs` never falls, so the rows
    committed after some batch are a slice at the end. `ids` are the living ids, ascending; `rows` are their rows.
    """

    state: State
    row_ids: Int64 = field(default_factory=_NO_INT.copy)
    row_taken: Float64 = field(default_factory=_NO_FLOAT.copy)
    row_folders: Int32 = field(default_factory=_NO_FOLDER.copy)
    row_seqs: Int64 = field(default_factory=_NO_INT.copy)
    alive: Bool = field(default_factory=_NO_BOOL.copy)
    ids: Int64 = field(default_factory=_NO_INT.copy)
    rows: Int64 = field(default_factory=_NO_INT.copy)
    folders: Mapping[int, bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def last_folder(self) -> int:
        """The highest folder number seen."""
        return max(self.folders, default=0)

    def advance(self, state: State, batches: Sequence[Batch], folders: Mapping[int, bytes]) -> Snapshot:
        """The snapshot after some more batches of the same generation."""
        added = [batch for batch in batches if batch.first_row >= 0]
        touched, last_rows = _last_events(batches)
        ids, rows, outdated = _merge(self.ids, self.rows, touched, last_rows)
        alive = np.concatenate([self.alive, np.zeros(sum(len(batch.ids) for batch in added), dtype=np.bool_)])
        alive[outdated] = False
        alive[last_rows[last_rows >= 0]] = True
        return Snapshot(
            state=state,
            row_ids=np.concatenate([self.row_ids, *(batch.ids for batch in added)]),
            row_taken=np.concatenate([self.row_taken, *(batch.taken_at for batch in added)]),
            row_folders=np.concatenate([self.row_folders, *(batch.folders for batch in added)]),
            row_seqs=np.concatenate([self.row_seqs, *(batch.seqs for batch in added)]),
            alive=alive,
            ids=ids,
            rows=rows,
            folders={**self.folders, **folders} if folders else self.folders,
        )

    def lookup(self, ids: Int64) -> Int64:
        """The row of each id, -1 for an unknown one."""
        if not len(self.ids):
            return np.full(len(ids), -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[at] == ids, self.rows[at], -1)

    def matching(self, where: Where | None) -> Bool:
        """Which rows are alive and satisfy `where`."""
        if where is None or where.is_empty:
            return self.alive
        mask = self.alive.copy()
        if where.folder is not None:
            wanted = folder_bytes(where.folder)
            inside = np.zeros(self.last_folder + 1, dtype=np.bool_)
            inside[[number for number, path in self.folders.items() if is_within(path, wanted)]] = True
            mask &= inside[self.row_folders]
        if where.after is not None:
            mask &= self.row_taken >= where.after
        if where.before is not None:
            mask &= self.row_taken < where.before
        return mask

    def first_row_after(self, seq: int) -> int:
        """Rows from this one on were committed after batch `seq`."""
        return int(np.searchsorted(self.row_seqs, seq, side="right"))


def _last_events(batches: Sequence[Batch]) -> tuple[Int64, Int64]:
    """Each touched id, ascending, with the row of its last event (-1: deleted)."""
    ids = np.concatenate([_NO_INT, *(batch.ids for batch in batches)])
    rows = np.concatenate(
        [
            _NO_INT,
            *(
                np.arange(batch.first_row, batch.first_row + len(batch.ids), dtype=np.int64)
                if batch.first_row >= 0
                else np.full(len(batch.ids), -1, dtype=np.int64)
                for batch in batches
            ),
        ]
    )
    if np.all(ids[1:] > ids[:-1]):  # photographs come with rising ids: nothing to sort
        return ids, rows
    touched, last = np.unique(ids[::-1], return_index=True)
    return touched, rows[::-1][last]


def _merge(ids: Int64, rows: Int64, touched: Int64, last_rows: Int64) -> tuple[Int64, Int64, Int64]:
    """The id index after some events, and the rows that they put out of date."""
    if len(ids) and len(touched) and touched[0] <= ids[-1]:
        at = np.searchsorted(ids, touched)
        known = at < len(ids)
        known[known] = ids[at[known]] == touched[known]
        outdated = rows[at[known]]
        keep = np.ones(len(ids), dtype=np.bool_)
        keep[at[known]] = False
        ids, rows = ids[keep], rows[keep]
    else:
        outdated = _NO_INT
    living = last_rows >= 0
    ids = np.concatenate([ids, touched[living]])
    rows = np.concatenate([rows, last_rows[living]])
    if not np.all(ids[1:] > ids[:-1]):
        order = np.argsort(ids, kind="stable")
        ids, rows = ids[order], rows[order]
    return ids, rows, outdated
