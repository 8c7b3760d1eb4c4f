"""Persian text, `str → str`: one normaliser for training, indexing and querying, and digits.

Depends on nothing else of Peyda and loads no model.
"""

from __future__ import annotations

from peyda.persian.digits import to_ascii_digits, to_persian_digits
from peyda.persian.normalizer import NORMALIZER_VERSION, normalize

__all__ = ["NORMALIZER_VERSION", "normalize", "to_ascii_digits", "to_persian_digits"]
