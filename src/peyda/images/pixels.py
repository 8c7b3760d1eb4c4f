"""From any picture that a decoder gives to upright RGB of a bounded size.

Works in bands of rows, so that a large picture is never held twice. Transparency is laid on white, as a page would.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from PIL import Image

from peyda.images.limits import OUTPUT_PIXELS

_BAND_PIXELS = 1_000_000
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WITH_ALPHA = {"RGBA", "LA", "PA", "RGBa", "La"}

Convert = Callable[[Image.Image], Image.Image]


class Rows(Protocol):
    """A decoded picture, as far as this module needs it."""

    size: tuple[int, int]
    mode: str

    def band(self, top: int, bottom: int) -> Image.Image:
        """Rows `top` to `bottom` (exclusive)."""


class PillowRows:
    """A loaded Pillow image, whose ownership passes to this object."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image
        self.size = image.im.size
        self.mode = image.mode

    def is_source(self, image: Image.Image) -> bool:
        """Whether `image` is the very object that the decoder gave."""
        return image is self._image

    def band(self, top: int, bottom: int) -> Image.Image:
        """The image itself where all of it is asked for, else a copy of the rows."""
        if top == 0 and bottom == self.size[1]:
            return self._image
        return self._image.crop((0, top, self.size[0], bottom))


class BufferRows:
    """Interleaved 8-bit pixels of mode L, LA, RGB or RGBA in a buffer that a decoder owns, without a copy."""

    def __init__(self, mode: str, size: tuple[int, int], stride: int, buffer: bytes) -> None:
        self.size, self.mode = size, mode
        self._stride = stride
        self._view = memoryview(buffer)

    def band(self, top: int, bottom: int) -> Image.Image:
        """A copy of the rows as an image."""
        rows = self._view[top * self._stride : bottom * self._stride]
        return Image.frombytes(self.mode, (self.size[0], bottom - top), rows, "raw", self.mode, self._stride)


def shrink_factor(size: tuple[int, int], target_px: int) -> int:
    """By which whole number to box-average a picture.

    The shorter side keeps at least twice `target_px`, so that the encoder's own resampling still decides the
    result; only a picture of extreme proportions is shrunk further, to `OUTPUT_PIXELS`.
    """
    factor = max(1, min(size) // (2 * target_px))
    excess = size[0] * size[1] / factor**2 / OUTPUT_PIXELS
    return factor if excess <= 1 else math.ceil(factor * math.sqrt(excess))


def to_rgb(rows: Rows, *, target_px: int, orientation: int = 1, icc: bytes | None = None) -> Image.Image:
    """Upright RGB picture, shrunk by `shrink_factor`; colours are taken to sRGB when `icc` is a usable profile."""
    convert = _conversion(rows, icc)
    factor = shrink_factor(rows.size, target_px)
    width, height = rows.size
    step = height if width * height <= 2 * _BAND_PIXELS else factor * max(1, _BAND_PIXELS // (width * factor))
    if step >= height:
        image = convert(rows.band(0, height))
        image = image.reduce(factor) if factor > 1 else image
    else:
        image = Image.new("RGB", (-(-width // factor), -(-height // factor)))
        for top in range(0, height, step):
            band = convert(rows.band(top, min(top + step, height)))
            image.paste(band.reduce(factor) if factor > 1 else band, (0, top // factor))
    return image.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else image


def _conversion(rows: Rows, icc: bytes | None) -> Convert:
    """How to make a band RGB, decided once for the whole picture."""
    mode = rows.mode
    if mode in ("I", "F"):
        return _stretch(rows)
    if mode.startswith("I;16"):
        return lambda band: Image.fromarray((np.asarray(band) >> 8).astype(np.uint8)).convert("RGB")
    if mode == "LAB":
        return lambda band: band.getchannel("L").convert("RGB")
    profile = _profile_transform(mode, icc) if icc else None
    if profile is not None:
        return profile
    return _plain


def _plain(band: Image.Image) -> Image.Image:
    if band.mode == "RGB" and "transparency" not in band.info:
        return band
    if band.mode in _WITH_ALPHA or "transparency" in band.info:
        return _on_white(band)
    return band.convert("RGB")


def _on_white(band: Image.Image) -> Image.Image:
    band = band.convert("RGBA")
    page = Image.new("RGB", band.size, (255, 255, 255))
    page.paste(band, mask=band.getchannel("A"))
    return page


def _stretch(rows: Rows) -> Convert:
    """32-bit pictures have no fixed white: from their darkest finite value to their brightest."""
    width, height = rows.size
    step = max(1, _BAND_PIXELS // width)
    low, high = math.inf, -math.inf
    for top in range(0, height, step):
        values = np.asarray(rows.band(top, min(top + step, height)))
        finite = values[np.isfinite(values)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    span = high - low if high > low else 1.0
    low = low if math.isfinite(low) else 0.0

    def convert(band: Image.Image) -> Image.Image:
        values = (np.asarray(band, dtype=np.float64) - low) / span
        grey = np.clip(np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0), 0, 1) * 255
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")

    return convert


def _profile_transform(mode: str, icc: bytes) -> Convert | None:
    """A conversion to sRGB; None when the profile is damaged or is for another kind of picture."""
    from PIL import ImageCms  # colour management is for thumbnails: indexing does without

    source = mode if mode in ("L", "CMYK") else "RGB"
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB"), source, "RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None

    def convert(band: Image.Image) -> Image.Image:
        if band.mode != source:
            band = _plain(band)
        # The transform is made anew for no band; applying it in place would change the decoder's own picture.
        converted = ImageCms.applyTransform(band, transform)
        return band.convert("RGB") if converted is None else converted

    return convert
