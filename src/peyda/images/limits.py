"""How much one photograph may ask for: bytes on disk, pixels, memory while decoding.

Every limit is checked against the header, before a pixel is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that hold for each photograph.

    Args:
        file_bytes: Largest file that is read at all.
        pixels: Most pixels (width × height) that a header may announce.
        decode_bytes: Most memory that reading and decoding may take, by estimate: the file itself, the decoder's own
            buffers and the decoded picture.
    """

    file_bytes: int = 512 * MIB
    pixels: int = 300_000_000
    decode_bytes: int = 320 * MIB


DEFAULT_LIMITS = Limits()

JPEG_SCANS = 200
"""A progressive JPEG has some ten scans; each costs one pass over all its coefficients."""

MOST_PARTS = 200_000
"""Segments, chunks, blocks, boxes, strips or tiles of a file; each costs a step in Python, or an object."""

RUN_LENGTH_BYTES = 8 * MIB
"""Largest run-length BMP: Pillow decodes these in Python, some two million runs a second."""

HEAVY_FILE_BYTES = 32 * MIB
"""Files above this are held in memory one at a time."""

OUTPUT_PIXELS = 8_000_000
"""A decoded picture that leaves this room has no more pixels, however long its long side."""
