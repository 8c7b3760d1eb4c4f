"""Vectors on disk and nearest neighbours, behind one small protocol.

`FlatStore` is the truth (an append-only log, exact search), `EdgeStore` is Qdrant Edge on its own, `AutoStore` is
what galleries use: the truth, with Edge as an accelerator that can be thrown away and rebuilt. See
`docs/decisions/0002-vectors-are-a-log-the-engine-an-accelerator.md`.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from peyda.gallery.store.protocol import Store

if TYPE_CHECKING:
    from peyda.gallery.store.auto import AutoStore

__all__ = ["Store", "open_store"]


def open_store(
    directory: str | PathLike[str], dim: int, *, readonly: bool = False, ann_threshold: int = 20_000
) -> AutoStore:
    """The store of a gallery.

    Args:
        directory: Where it lives; created unless `readonly`.
        dim: Length of a vector.
        readonly: Only read; the newest commit is always seen.
        ann_threshold: Up to this many points search is exact; beyond, an HNSW graph proposes and exact scores decide.
    """
    from peyda.gallery.store.auto import AutoStore

    return AutoStore(directory, dim, readonly=readonly, ann_threshold=ann_threshold)
