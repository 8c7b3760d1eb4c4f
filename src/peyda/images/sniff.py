"""Which format bytes are in, by what they hold: a suffix is a hint for a listing, and never trusted.

Source: the signatures of each format's own specification; ISO/IEC 14496-12 for `ftyp`.
"""

from __future__ import annotations

import struct

# fmt: off
PHOTO_SUFFIXES: frozenset[str] = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif",
    ".tiff", ".avif", ".avifs", ".heic", ".heics", ".heif", ".heifs", ".hif",
))
# fmt: on
"""Suffixes of formats that are always read, lower case, with the dot."""

# fmt: off
RAW_SUFFIXES: frozenset[str] = frozenset((
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw",
    ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
))
# fmt: on
"""Suffixes of camera RAW files, read with `peyda[raw]`."""

SUPPORTED_SUFFIXES: frozenset[str] = PHOTO_SUFFIXES | RAW_SUFFIXES
"""What a scan should look at. RAW is listed with or without its extra, so that a person learns of the extra."""

_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"IIRO", "RAW"),
    (b"IIRS", "RAW"),
    (b"MMOR", "RAW"),
    (b"IIU\0", "RAW"),
    (b"FUJIFILMCCD-RAW", "RAW"),
    (b"II\x1a\0\0\0HEAPCCDR", "RAW"),
    (b"FOVb", "RAW"),
    (b"\0MRM", "RAW"),
)
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"}


def sniff(data: bytes) -> str | None:
    """Name of the format: JPEG, PNG, GIF, WEBP, BMP, TIFF, AVIF, HEIF or RAW; None for anything else.

    RAW files that are TIFF inside (DNG, NEF, ARW, CR2, …) come out as "TIFF"; `tiff` tells them apart.
    """
    for prefix, name in _PREFIXES:
        if data.startswith(prefix):
            return name
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(b"BM") and len(data) >= 18 and struct.unpack_from("<I", data, 14)[0] in _BMP_HEADERS:
        return "BMP"
    if data[4:8] == b"ftyp":
        return _sniff_boxes(data)
    return None


def _sniff_boxes(data: bytes) -> str | None:
    end = min(struct.unpack_from(">I", data)[0], 1024, len(data))
    brands = {data[8:12]} | {data[at : at + 4] for at in range(16, end - 3, 4)}
    if data[8:12] == b"crx ":
        return "RAW"
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else None
