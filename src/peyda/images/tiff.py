"""TIFF: what its first directory announces, checked before Pillow parses it; and which TIFFs are camera RAW.

Source: TIFF 6.0; DNG 1.7 (tags 50706, photometric 32803 and 34892).
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from peyda.images.ifd import Field, TiffBytes
from peyda.images.limits import MOST_PARTS
from peyda.images.refusals import refuse

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_COUNTS = 273, 277, 278, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_SUB_DIRECTORIES, _DNG_VERSION, _ORIENTATION = 330, 50706, 274
_SENSOR_MOSAICS = {32803, 34892}
_LAYOUT = {_STRIP_OFFSETS, _STRIP_COUNTS, _TILE_OFFSETS, _TILE_COUNTS}


@dataclass(frozen=True, slots=True)
class TiffHeader:
    """`memory` is what Pillow and libtiff need, by estimate, in bytes."""

    width: int
    height: int
    memory: int
    is_raw: bool


def read_tiff_header(data: bytes) -> TiffHeader:
    """Read the first directory, and for RAW files their sub-directories.

    Raises:
        ImageRefused: No directory, no size, parts outside of the file, or absurdly many parts.
    """
    tiff = TiffBytes.parse(data)
    if tiff is None:
        raise refuse("truncated", "a TIFF that ends in its header")
    fields, _ = tiff.directory(tiff.first)
    if not fields:
        raise refuse("truncated", "a TIFF without its directory")
    if data[8:10] == b"CR" or _DNG_VERSION in fields or _holds_mosaic(tiff, fields):
        return TiffHeader(0, 0, 0, True)
    width, height = tiff.integer(fields.get(_WIDTH)), tiff.integer(fields.get(_HEIGHT))
    if width <= 0 or height <= 0:
        raise refuse("undecodable", f"a TIFF of {width} × {height}")
    _check_parts(tiff, fields)
    return TiffHeader(width, height, _memory(tiff, fields, width, height), False)


def _holds_mosaic(tiff: TiffBytes, fields: dict[int, Field]) -> bool:
    """Whether this directory or one below it holds the values of a sensor."""
    if tiff.integer(fields.get(_PHOTOMETRIC)) in _SENSOR_MOSAICS:
        return True
    below = (tiff.directory(offset)[0] for offset in tiff.integers(fields.get(_SUB_DIRECTORIES), 8))
    return any(tiff.integer(directory.get(_PHOTOMETRIC)) in _SENSOR_MOSAICS for directory in below)


def _check_parts(tiff: TiffBytes, fields: dict[int, Field]) -> None:
    where = fields.get(_TILE_OFFSETS) or fields.get(_STRIP_OFFSETS)
    if where is None:
        raise refuse("truncated", "a TIFF whose picture is not where it should be")
    if where.count > MOST_PARTS:
        raise refuse("too_complex", f"a TIFF of {where.count} parts")
    offsets = tiff.integers(where, MOST_PARTS)
    sizes = tiff.integers(fields.get(_TILE_COUNTS) or fields.get(_STRIP_COUNTS), MOST_PARTS)
    end = max(offsets, default=0)
    # Writers of uncompressed files get the last size wrong often enough; Pillow does not read it either.
    if tiff.integer(fields.get(_COMPRESSION), 1) != 1 and len(sizes) == len(offsets):
        end = max(start + size - 1 for start, size in zip(offsets, sizes, strict=True))
    if end >= len(tiff.data):
        raise refuse("truncated", "a TIFF that ends before its picture")


def _memory(tiff: TiffBytes, fields: dict[int, Field], width: int, height: int) -> int:
    """Pillow's picture, libtiff's buffer for one part, and the other tags, which Pillow reads twice."""
    bits = max(tiff.integers(fields.get(_BITS)), default=1)
    samples = max(1, tiff.integer(fields.get(_SAMPLES), 1))
    rows = min(max(1, tiff.integer(fields.get(_ROWS_PER_STRIP), height)), height)
    part = rows * width
    if _TILE_OFFSETS in fields:
        part = abs(tiff.integer(fields.get(_TILE_WIDTH)) * tiff.integer(fields.get(_TILE_HEIGHT)))
    depth = 1 if samples == 1 and bits <= 8 else 4
    buffer = 0 if tiff.integer(fields.get(_COMPRESSION), 1) == 1 else part * max(4, samples * -(-bits // 8))
    tags = sum(field.size_bytes for tag, field in fields.items() if tag not in _LAYOUT)
    return width * height * depth + buffer + 2 * tags


class _PlainTiff(TiffImageFile):
    """Pillow's TIFF without its look at orientation and EXIF after loading: Peyda reads both itself."""

    def _setup(self) -> None:
        self.tag_v2.pop(_ORIENTATION, None)
        super()._setup()

    def load_end(self) -> None:
        """Nothing: a damaged EXIF directory would cost the photograph here."""


def load_tiff(data: bytes, limits_pixels: int) -> Image.Image:
    """Decode the first page, as it lies (orientation not applied), in Pillow's own mode for it.

    Raises:
        ImageRefused: Pillow sees a larger picture than the directory announced.
    """
    image = _PlainTiff(io.BytesIO(data))
    if image.width * image.height > limits_pixels:
        raise refuse("too_many_pixels", f"{image.width} × {image.height}")
    image.load()
    return image
