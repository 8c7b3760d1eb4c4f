"""Sizes of WebP, GIF and BMP, read from their first bytes before Pillow sees them.

Sources: RFC 9649 (WebP), the GIF89a specification, Microsoft's BITMAPINFOHEADER pages.
"""

from __future__ import annotations

import struct

from peyda.images.limits import MOST_PARTS, RUN_LENGTH_BYTES
from peyda.images.refusals import refuse

_RUN_LENGTHS = (1, 2)


def read_webp_header(data: bytes) -> tuple[int, int, bytes | None, bytes | None]:
    """(width, height, exif, icc); the size is that of the canvas.

    Raises:
        ImageRefused: The file is shorter than it says, or its first chunk is none that WebP has.
    """
    if len(data) < 30 or 8 + struct.unpack_from("<I", data, 4)[0] > len(data) + 1:
        raise refuse("truncated", "a WebP shorter than its header says")
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        return width, height, _riff_chunk(data, b"EXIF"), _riff_chunk(data, b"ICCP")
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), None, None
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF, None, None
    raise refuse("undecodable", "a WebP without a picture")


def _riff_chunk(data: bytes, wanted: bytes) -> bytes | None:
    at = 12
    for _ in range(MOST_PARTS):
        if at + 8 > len(data):
            break
        name, length = struct.unpack_from("<4sI", data, at)
        if name == wanted:
            return data[at + 8 : at + 8 + length]
        at += 8 + length + (length & 1)
    return None


def read_gif_header(data: bytes) -> tuple[int, int, bytes]:
    """(width, height, essence): the canvas grown to hold the first frame, and the file without what precedes it.

    Comments and application blocks are left out: Pillow would collect them, and they may be as large as the file.

    Raises:
        ImageRefused: There is no first frame.
    """
    if len(data) < 13:
        raise refuse("truncated", "a GIF that ends in its header")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = start = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    control = b""
    for _ in range(MOST_PARTS):
        if at >= len(data):
            raise refuse("truncated", "a GIF that ends before its picture")
        kind = data[at]
        if kind == 0x2C:
            if at + 10 > len(data):
                raise refuse("truncated", "a GIF that ends before its picture")
            left, top, wide, high = struct.unpack_from("<HHHH", data, at + 1)
            essence = data if at == start + len(control) else b"".join((data[:start], control, data[at:]))
            return max(width, left + wide), max(height, top + high), essence
        if kind == 0x21:
            end = _skip_blocks(data, at + 2)
            if data[at + 1 : at + 2] == b"\xf9":
                control = data[at:end]
            at = end
            continue
        if kind == 0x3B:
            raise refuse("undecodable", "a GIF without a picture")
        at += 1
    raise refuse("too_complex", f"a GIF of more than {MOST_PARTS:,} blocks")


def _skip_blocks(data: bytes, at: int) -> int:
    """Where the sub-blocks that start at `at` end."""
    for _ in range(MOST_PARTS):
        if at >= len(data) or not data[at]:
            return at + 1
        at += 1 + data[at]
    raise refuse("too_complex", f"a GIF with a block of more than {MOST_PARTS:,} pieces")


def read_bmp_header(data: bytes) -> tuple[int, int]:
    """(width, height).

    Raises:
        ImageRefused: The header is cut off or holds no size, or the runs are too many.
    """
    if len(data) < 34:
        raise refuse("truncated", "a BMP that ends in its header")
    if struct.unpack_from("<I", data, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
        if struct.unpack_from("<I", data, 30)[0] in _RUN_LENGTHS and len(data) > RUN_LENGTH_BYTES:
            raise refuse("too_complex", "a run-length BMP of this size takes minutes")
    if width <= 0 or not height:
        raise refuse("undecodable", f"a BMP of {width} × {height}")
    return width, abs(height)
