"""Camera RAW through LibRaw (rawpy, the extra `peyda[raw]`): the embedded preview, or else a half-size development."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from peyda.images.refusals import refuse

_FLIP_TO_ORIENTATION = {3: 3, 5: 8, 6: 6}
_DEVELOP_PIXEL_BYTES = 6
"""Sensor values (2), then a quarter of the pixels as 4 × 16 bits (2) and as RGB (0.75), with room."""


@dataclass(frozen=True, slots=True)
class RawHeader:
    """`preview` is a JPEG inside the file (b"" where there is none); sizes are upright."""

    width: int
    height: int
    orientation: int
    preview: bytes
    memory: int


def _rawpy() -> Any:
    try:
        import rawpy
    except ImportError as error:
        raise refuse("raw_support_missing") from error
    return rawpy


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    rawpy = _rawpy()
    with rawpy.RawPy() as raw:
        try:
            raw.open_buffer(io.BytesIO(data))
        except rawpy.LibRawFileUnsupportedError as error:
            raise refuse("undecodable", "not a RAW file that LibRaw knows") from error
        yield raw


def read_raw_header(data: bytes) -> RawHeader:
    """Open the file and take its preview out.

    Raises:
        ImageRefused: rawpy is missing, or LibRaw does not know the file.
        Exception: Whatever rawpy raises on damaged bytes.
    """
    rawpy = _rawpy()
    with _opened(data) as raw:
        sizes = raw.sizes
        preview = b""
        try:
            thumbnail = raw.extract_thumb()
        except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
            pass
        else:
            # A bitmap is always a small one: developing is better.
            preview = bytes(thumbnail.data) if thumbnail.format == rawpy.ThumbFormat.JPEG else b""
    width, height = (sizes.height, sizes.width) if sizes.flip in (5, 6) else (sizes.width, sizes.height)
    memory = sizes.raw_width * sizes.raw_height * _DEVELOP_PIXEL_BYTES
    return RawHeader(width, height, _FLIP_TO_ORIENTATION.get(sizes.flip, 1), preview, memory)


def develop_raw(data: bytes) -> Image.Image:
    """Half-size picture, upright, in the camera's white balance."""
    with _opened(data) as raw:
        pixels: np.ndarray[Any, Any] = raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return Image.fromarray(pixels)
