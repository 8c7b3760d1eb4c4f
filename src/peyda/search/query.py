"""The checks that every query passes, whichever door it came through.

A query is a plain sentence: nothing in it is an operator. What it means is the encoder's business; here it is only
made uniform (`peyda.persian.normalize`) and refused when there is nothing to look for.
"""

from __future__ import annotations

import math
import operator

from peyda.errors import QueryError
from peyda.persian import normalize

MAX_QUERY_CHARS = 100_000
"""Far beyond any sentence; the encoder reads its own context length and leaves the rest."""

MAX_K = 10_000
"""Most hits in one answer."""


def prepare_query(text: str) -> str:
    """The sentence as the encoder will read it.

    Args:
        text: Anything a person can type: any length up to `MAX_QUERY_CHARS`, newlines, emoji, lone surrogates.

    Raises:
        QueryError: Nothing is left after normalising, or the text is far too long.
        TypeError: Not a `str`.
    """
    if not isinstance(text, str):
        raise TypeError(f"a query is a str, not {type(text).__name__}")
    if len(text) > MAX_QUERY_CHARS:
        raise QueryError(
            f"the query has {len(text):,} characters; at most {MAX_QUERY_CHARS:,} are read",
            hint="describe the photograph in a sentence or two",
        )
    normalized = normalize(text)
    if not normalized:
        raise QueryError("the query is empty", hint='describe a photograph, for instance: peyda search "سگ در برف"')
    return normalized


def check_k(k: int) -> int:
    """`k` as a plain `int`.

    Raises:
        QueryError: Not between 1 and `MAX_K`.
        TypeError: Not a whole number.
    """
    if isinstance(k, bool):
        raise TypeError("k is a whole number, not a bool")
    number = operator.index(k)
    if not 1 <= number <= MAX_K:
        raise QueryError(f"k is {number}, but must be between 1 and {MAX_K:,}", hint="ask for 1 photograph or more")
    return number


def check_min_score(min_score: float | None) -> float | None:
    """`min_score` as a finite `float`, or None.

    Raises:
        QueryError: Not a finite number.
    """
    if min_score is None:
        return None
    value = float(min_score)
    if not math.isfinite(value):
        raise QueryError(f"min_score is {value}, but must be a number", hint="scores lie between -1 and 1")
    return value
