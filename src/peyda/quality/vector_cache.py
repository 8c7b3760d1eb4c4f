"""Embeddings of texts (or files) that come again and again, within bounded memory.

A table has each English caption once for every engine, often far apart, and each photograph five times in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from peyda.types import Float32

_LIMIT_BYTES = 128 * 2**20
_KEY_BYTES = 300  # a caption of Persian in memory, and its slot in the dictionary


class VectorCache:
    """Remembers what `encode` gave, in two generations: when the young one is full, the old one is forgotten.

    Args:
        dim: Length of a vector.
        encode: Distinct keys to `Float32[n, dim]`.
        limit_bytes: Memory of a generation; there are two.
    """

    def __init__(self, dim: int, encode: Callable[[Sequence[str]], Float32], limit_bytes: int = _LIMIT_BYTES) -> None:
        self._dim = dim
        self._encode = encode
        self._capacity = max(1, limit_bytes // (dim * 4 + _KEY_BYTES))
        self._young: dict[str, Float32] = {}
        self._old: dict[str, Float32] = {}

    def rows(self, keys: Iterable[str]) -> tuple[Float32, dict[str, int]]:
        """The vectors of all distinct keys, and which row is whose. Short keys are encoded together, then longer ones.

        Returns:
            `Float32[distinct, dim]`, and key → row.
        """
        distinct = list(dict.fromkeys(keys))
        position = {key: at for at, key in enumerate(distinct)}
        out = np.empty((len(distinct), self._dim), np.float32)
        missing = []
        for key, at in position.items():
            known = self._young.get(key)
            if known is None:
                known = self._old.get(key)
            if known is None:
                missing.append(key)
            else:
                out[at] = known
        if missing:
            missing.sort(key=len)  # so that a batch pads little, whatever the encoder does
            out[[position[key] for key in missing]] = self._encode(missing)
        for key, at in position.items():
            self._remember(key, out[at])
        return out, position

    def _remember(self, key: str, vector: Float32) -> None:
        if key in self._young:
            return
        if len(self._young) >= self._capacity:
            self._old, self._young = self._young, {}
        self._young[key] = vector.copy()  # a view would keep its whole block alive
