"""PNG: the chunks that make the picture, taken apart from those that do not.

Pillow gets critical chunks and transparency alone. Text, profiles, EXIF and animation frames can each be a bomb of
their own, and a damaged one must not cost the photograph. Source: W3C PNG, third edition.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from peyda.images.limits import MIB, MOST_PARTS
from peyda.images.refusals import refuse

_KEEP = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_PALETTE, _GREY, _GREY_ALPHA = 3, 0, 4
_MOST_METADATA = 4 * MIB


@dataclass(frozen=True, slots=True)
class PngHeader:
    """`essence` is the file without metadata: the very same bytes where there is none."""

    width: int
    height: int
    bits: int
    colour: int
    essence: bytes
    exif: bytes | None
    icc: bytes | None


def read_png_header(data: bytes) -> PngHeader:
    """Walk all chunks.

    Raises:
        ImageRefused: There is no header, no picture, or the file ends within a chunk before any of the picture.
    """
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise refuse("truncated" if len(data) < 33 else "undecodable", "a PNG without its header")
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    if not width or not height:
        raise refuse("undecodable", f"a PNG of {width} × {height}")
    pieces: list[tuple[int, int]] = []
    exif = icc = None
    has_data = False
    at, keep_from, chunks = 8, 0, 0
    while at + 8 <= len(data):
        chunks += 1
        if chunks > MOST_PARTS:
            raise refuse("too_complex", f"a PNG of more than {MOST_PARTS:,} chunks")
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if name == b"eXIf" and length <= _MOST_METADATA:
            exif = data[at + 8 : at + 8 + length]
        elif name == b"iCCP" and length <= _MOST_METADATA:
            icc = _profile(data[at + 8 : at + 8 + length])
        if name not in _KEEP and name[0] & 0x20:  # lower case: not critical
            pieces.append((keep_from, at))
            keep_from = min(end, len(data))
        has_data = has_data or name == b"IDAT"
        at = end
        if name == b"IEND":
            break
    if not has_data:
        raise refuse("truncated", "a PNG that ends before its picture")
    pieces.append((keep_from, min(at, len(data))))
    essence = data if len(pieces) == 1 else b"".join([data[start:end] for start, end in pieces])
    return PngHeader(width, height, bits, colour, essence, exif, icc)


def _profile(chunk: bytes) -> bytes | None:
    """Inflate an iCCP chunk, at most `_MOST_METADATA` of it; None when it is damaged or larger."""
    _, _, packed = chunk.partition(b"\0")
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(packed[1:], _MOST_METADATA)
    except zlib.error:
        return None
    return profile if inflater.eof else None


def png_memory(header: PngHeader) -> int:
    """Bytes that decoding takes: Pillow's picture, two rows, and a copy of the file where one is made."""
    if header.colour == _PALETTE or (header.colour == _GREY and header.bits <= 8):
        depth = 1
    elif header.colour == _GREY:
        depth = 2
    else:
        depth = 4
    return header.width * (header.height * depth + 16) + len(header.essence)


def load_png(header: PngHeader) -> Image.Image:
    """Decode the default image, in Pillow's own mode for it."""
    image = PngImageFile(io.BytesIO(header.essence))
    image.load()
    return image
