"""JPEG: its header, read without Pillow, and its pixels, decoded by Pillow from the original bytes.

Pillow is shown a header of two segments only, so that metadata (EXIF, MPO, ICC, Photoshop blocks, junk) costs nothing
and cannot make it fail; libjpeg then gets the whole file. Source: ITU-T T.81, annex B.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from peyda.images.limits import JPEG_SCANS, MOST_PARTS
from peyda.images.refusals import refuse

_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
_UNREAD_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xC8, 0xCB, 0xCD, 0xCE, 0xCF}
_PROGRESSIVE = {0xC2, 0xCA}
_BARE = {0x01, *range(0xD0, 0xD8)}
_ICC = b"ICC_PROFILE\0"


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What precedes the first scan.

    `coefficients` is the number of values that libjpeg keeps in memory: 0 for a JPEG of one scan, which streams.
    """

    width: int
    height: int
    components: int
    coefficients: int
    essence: bytes
    exif: bytes | None
    icc: bytes | None


def read_jpeg_header(data: bytes) -> JpegHeader:
    """Walk the segments up to the first scan.

    Raises:
        ImageRefused: The header is damaged, cut off, or of a kind of JPEG that libjpeg does not decode.
    """
    frame = b""
    frame_marker = 0
    exif: bytes | None = None
    icc: list[bytes] = []
    at = 2
    for _ in range(MOST_PARTS):
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > len(data):
            raise refuse("truncated", "the header does not end")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0 or marker in _BARE:
            at += 2
            continue
        if marker in (0xD8, 0xD9) or marker in _UNREAD_FRAMES:
            raise refuse("undecodable", f"JPEG marker {marker:02X} before the first scan")
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > len(data):
            raise refuse("truncated", "the header does not end")
        if marker == 0xE1 and exif is None and data.startswith(b"Exif\0\0", at + 4):
            exif = data[at + 10 : end]
        elif marker == 0xE2 and data.startswith(_ICC, at + 4):
            icc.append(data[at + 4 + len(_ICC) : end])
        elif marker in _FRAMES:
            if frame:
                raise refuse("undecodable", "a JPEG with two frames")
            frame, frame_marker = data[at:end], marker
        elif marker == 0xDA:
            return _header(data, frame, frame_marker, data[at:end], end, exif, icc)
        at = end
    raise refuse("too_complex", f"a JPEG of more than {MOST_PARTS:,} segments")


def _header(
    data: bytes, frame: bytes, marker: int, scan: bytes, scan_end: int, exif: bytes | None, icc: list[bytes]
) -> JpegHeader:
    if len(frame) < 10 or len(frame) < 10 + 3 * frame[9] or len(scan) < 5:
        raise refuse("undecodable", "a JPEG without a frame header")
    precision, count = frame[4], frame[9]
    height, width = int.from_bytes(frame[5:7], "big"), int.from_bytes(frame[7:9], "big")
    if precision != 8 or count not in (1, 3, 4) or not width or not height:
        raise refuse("undecodable", f"a JPEG of {count} × {precision} bits, {width} × {height}")
    coefficients = 0
    if marker in _PROGRESSIVE or scan[4] < count:
        if data.count(b"\xff\xda", scan_end) > JPEG_SCANS:
            raise refuse("too_complex", f"a JPEG of more than {JPEG_SCANS} scans")
        factors = [(frame[at] >> 4 or 1, frame[at] & 15 or 1) for at in range(11, 10 + 3 * count, 3)]
        across, down = max(h for h, _ in factors), max(v for _, v in factors)
        units = -(-width // (8 * across)) * -(-height // (8 * down))
        coefficients = 64 * units * sum(h * v for h, v in factors)
    # Chunks start with their number and the count of all of them: a profile with a piece missing is none.
    icc.sort()
    profile = b"".join(piece[2:] for piece in icc) if icc and icc[0][1:2] == bytes([len(icc) % 256]) else None
    return JpegHeader(width, height, count, coefficients, b"\xff\xd8" + frame + scan, exif, profile)


def jpeg_scale(header: JpegHeader, target_px: int) -> int:
    """By how much (1, 2, 4 or 8) libjpeg may shrink so that the shorter side stays at least `target_px`."""
    ratio = min(header.width, header.height) // target_px
    return next(scale for scale in (8, 4, 2, 1) if ratio >= scale or scale == 1)


def jpeg_memory(header: JpegHeader, target_px: int) -> int:
    """Bytes that decoding takes: the shrunken picture and, where there are several scans, all coefficients."""
    scale = jpeg_scale(header, target_px)
    pixels = -(-header.width // scale) * -(-header.height // scale)
    return pixels * (1 if header.components == 1 else 4) + 2 * header.coefficients


def load_jpeg(data: bytes, header: JpegHeader, target_px: int) -> Image.Image:
    """Decode; mode L, RGB or CMYK, shrunk by `jpeg_scale`."""
    image = JpegImageFile(io.BytesIO(header.essence))
    image.fp = io.BytesIO(data)
    image.decodermaxblock = len(data)  # one call into libjpeg: the GIL is given back once, and nothing is copied
    image.draft(None, (target_px, target_px))
    image.load()
    image.info.clear()
    return image
