"""HEIC/HEIF through pillow-heif, which is loaded when the first such file is met, and registered nowhere.

libheif applies rotation and mirroring itself, so what comes out is upright. Source: ISO/IEC 23008-12.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

from peyda.images.limits import MIB, MOST_PARTS
from peyda.images.pixels import BufferRows, PillowRows, Rows
from peyda.images.refusals import refuse

_PIXEL_BYTES = 6.5
"""Planes of 10 bits in 4:2:0 (3), interleaved RGB (3), and libheif's own tiles; measured 4.5 to 7."""


@dataclass(frozen=True, slots=True)
class HeifHeader:
    """A parsed container. `thumbnail` is Pillow's image of it, set to decode an embedded thumbnail, or None."""

    width: int
    height: int
    memory: int
    exif: bytes | None
    icc: bytes | None
    thumbnail: Any


def read_heif_header(data: bytes, target_px: int) -> HeifHeader:
    """Parse the boxes; choose an embedded thumbnail where a faithful one of at least `target_px` exists.

    Raises:
        ImageRefused: pillow-heif is missing.
        Exception: Whatever pillow-heif raises on damaged bytes.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise refuse("heif_support_missing", str(error)) from error
    check_boxes(data)
    plugin: Any = pillow_heif.HeifImageFile
    try:
        image = plugin(io.BytesIO(data))
    except SyntaxError:
        image = plugin(io.BytesIO(hide_exif(data)))
    width, height = image.size
    is_thumbnail = image.draft(None, (target_px, target_px)) is not None
    memory = round(image.width * image.height * _PIXEL_BYTES)
    exif, icc = image.info.get("exif"), image.info.get("icc_profile")
    return HeifHeader(width, height, memory, exif, icc, image if is_thumbnail else None)


def load_heif(data: bytes, header: HeifHeader) -> Rows:
    """Decode; rows are read from libheif's own buffer."""
    if header.thumbnail is not None:
        header.thumbnail.load()
        return PillowRows(header.thumbnail)
    from pillow_heif import open_heif

    heif = open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
    pixels = heif.data
    if heif.mode not in ("L", "LA", "RGB", "RGBA"):
        raise refuse("undecodable", f"HEIF pixels of mode {heif.mode}")
    return BufferRows(heif.mode, heif.size, heif.stride, pixels)


def check_boxes(data: bytes) -> None:
    """Walk the boxes of an ISO base media file (HEIF and AVIF alike).

    Raises:
        ImageRefused: The last box ends after the file does: decoders call that damage of many kinds.
    """
    at = boxes = 0
    while at + 8 <= len(data):
        boxes += 1
        if boxes > MOST_PARTS:
            raise refuse("too_complex", f"more than {MOST_PARTS:,} boxes")
        size, is_long = struct.unpack_from(">I", data, at)[0], False
        if size == 1 and at + 16 <= len(data):
            size, is_long = struct.unpack_from(">Q", data, at + 8)[0], True
        if size == 0:
            return
        if size < (16 if is_long else 8):
            raise refuse("undecodable", "a box of no size")
        at += size
    if at > len(data):
        raise refuse("truncated", "the last box does not end")


def hide_exif(data: bytes) -> bytes:
    """The same container with its EXIF item renamed, for decoders that give up on a photograph over damaged EXIF."""
    head = data[:MIB]
    return head.replace(b"Exif", b"Exi_") + data[MIB:]
