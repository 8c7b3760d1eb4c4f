"""Beam search over any decoder that goes one piece at a time: NumPy and lists, no model.

A translation's worth is its log probability divided by its length to the power `length_penalty` (Wu et al. 2016,
https://arxiv.org/abs/1609.08144, with the plain power that most toolkits use).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from peyda.types import Float32, Int64


class Decoder(Protocol):
    """A decoder with its sources and its own memory of what went before."""

    def step(self, tokens: Int64, parents: Int64, width: int) -> tuple[Float32, Int64]:
        """Append a piece to every beam and look at the best next ones.

        Args:
            tokens: `Int64[sentences, beams]`.
            parents: `Int64[sentences * beams]`: the beam (of all sentences, counted on) that each one goes on from.
            width: How many next pieces to look at.

        Returns:
            Log probabilities `Float32[sentences, beams, width]`, best first, and their pieces.
        """
        ...


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Attributes:
        start: The piece that a translation begins with (not part of it).
        end: The piece that ends it.
        beams: Beams of each sentence; 1 is greedy.
        length_penalty: See the module.
        limit: Longest translation in pieces.
    """

    start: int
    end: int
    beams: int = 4
    length_penalty: float = 1.0
    limit: int = 96


@dataclass
class _Sentence:
    beams: list[tuple[float, list[int]]]
    finished: list[tuple[float, list[int]]] = field(default_factory=list)
    is_done: bool = False


def beam_search(decoder: Decoder, sentences: int, options: SearchOptions) -> list[list[int] | None]:
    """The best translation of each sentence as pieces without start and end; None where none ends within the limit."""
    count = options.beams
    none: list[int] = []
    states = [_Sentence([(0.0, none)] + [(-np.inf, none)] * (count - 1)) for _ in range(sentences)]
    tokens = np.full((sentences, count), options.start, np.int64)
    parents = np.arange(sentences * count, dtype=np.int64)
    for length in range(1, options.limit + 1):
        values, pieces = decoder.step(tokens, parents, count + 1)
        for row, state in enumerate(states):
            if not state.is_done:
                origins, last = _advance(state, values[row], pieces[row], length, options)
                tokens[row] = last
                parents[row * count : (row + 1) * count] = row * count + np.asarray(origins)
            else:
                parents[row * count : (row + 1) * count] = np.arange(row * count, (row + 1) * count)
        if all(state.is_done for state in states):
            break
    return [max(state.finished)[1] if state.finished else None for state in states]


def _advance(
    state: _Sentence, values: Float32, pieces: Int64, length: int, options: SearchOptions
) -> tuple[list[int], list[int]]:
    """One step of one sentence; returns each new beam's origin and its last piece."""
    count = options.beams
    totals = np.asarray([score for score, _ in state.beams])[:, None] + values  # (beams, width)
    order = np.argsort(-totals, axis=None, kind="stable")
    grown: list[tuple[float, list[int]]] = []
    origins: list[int] = []
    for rank, at in enumerate(order):
        origin, column = divmod(int(at), values.shape[1])
        total, piece = float(totals[origin, column]), int(pieces[origin, column])
        if piece == options.end:
            # An end counts only where it is among the best, or every sentence would be cut short.
            if rank < count and np.isfinite(total):
                state.finished.append((total / length**options.length_penalty, state.beams[origin][1]))
        else:
            grown.append((total, [*state.beams[origin][1], piece]))
            origins.append(origin)
        if len(grown) == count:
            break
    state.beams = grown
    state.is_done = len(state.finished) >= count or _is_settled(state, length, options)
    return origins, [beam[-1] for _, beam in grown]


def _is_settled(state: _Sentence, length: int, options: SearchOptions) -> bool:
    """Whether no beam can still beat the best finished translation (log probabilities only fall)."""
    if not state.finished:
        return False
    longest = options.limit if options.length_penalty > 0 else length
    attainable: float = state.beams[0][0] / longest**options.length_penalty
    return max(state.finished)[0] >= attainable
