"""Images: bytes to pixels. Limits before decoding, a reason for every refusal.

Owns reading one photograph from disk, telling its format by its content, decoding it upright and in RGB, and the
facts it carries (size, date, place). Leaves listing folders to `gallery` and resampling to `encoders`.

Adding a format: a signature in `sniff`, a header reader that decodes nothing, an opener in `decoding`, a case in
`tests/hostile.py`.
"""

from __future__ import annotations

from peyda.images.limits import DEFAULT_LIMITS, Limits
from peyda.images.photo import DecodedPhoto, PhotoFacts, decode_bytes, hash_photo, read_photo, thumbnail_jpeg
from peyda.images.refusals import REASONS, RETRY_REASONS
from peyda.images.sniff import PHOTO_SUFFIXES, RAW_SUFFIXES, SUPPORTED_SUFFIXES

__all__ = [
    "DEFAULT_LIMITS",
    "PHOTO_SUFFIXES",
    "RAW_SUFFIXES",
    "REASONS",
    "RETRY_REASONS",
    "SUPPORTED_SUFFIXES",
    "DecodedPhoto",
    "Limits",
    "PhotoFacts",
    "decode_bytes",
    "hash_photo",
    "read_photo",
    "thumbnail_jpeg",
]
