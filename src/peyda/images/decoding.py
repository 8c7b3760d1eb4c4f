"""One photograph from bytes to pixels: sniff, read the header, check it against the limits, decode.

Each `_open_…` function reads a header and hands back an `_Opened`: what the file announces, and how to decode it.
Nothing is decoded before `_check` has seen the announcement.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL import Image, ImageFile

from peyda.errors import ImageRefused
from peyda.images import heif, jpeg, png, raw, tiff
from peyda.images.budget import DECODING
from peyda.images.exif import NO_EXIF, ExifFacts, read_exif
from peyda.images.headers import read_bmp_header, read_gif_header, read_webp_header
from peyda.images.limits import MIB, Limits
from peyda.images.pixels import PillowRows, Rows, to_rgb
from peyda.images.quiet import quiet_decoders
from peyda.images.refusals import refuse, refuse_undecoded
from peyda.images.sniff import sniff

# Bytes for each pixel at the decoder's peak, measured with Pillow 13: libwebp's animation canvases (8) and the frame
# (4), then the frame and Pillow's picture (4); libavif's planes (up to 6) and the frame (3), then the picture (4).
_WEBP_PIXEL_BYTES = 13
_AVIF_PIXEL_BYTES = 10


@dataclass(frozen=True, slots=True)
class Decoded:
    """`image` is upright RGB and holds nothing of the file; `width`/`height` are of the whole picture, upright."""

    image: Image.Image
    format: str
    width: int
    height: int
    exif: ExifFacts


@dataclass(frozen=True, slots=True)
class _Opened:
    """A header that has been read. `width`/`height` are as stored; `memory` is what `load` takes, by estimate."""

    format: str
    width: int
    height: int
    memory: int
    load: Callable[[], Rows]
    exif: ExifFacts = NO_EXIF
    icc: bytes | None = None
    orientation: int | None = None  # where it is not what EXIF says
    nested: bytes = b""  # a JPEG inside that stands for the picture


def decode(data: bytes, *, target_px: int, limits: Limits, with_colour_profile: bool = False) -> Decoded:
    """Decode a photograph so that its shorter side keeps at least `target_px` where it has them.

    Raises:
        ImageRefused: With the reason; no other exception leaves, whatever the bytes.
    """
    if target_px < 1:
        raise ValueError(f"target_px must be at least 1, not {target_px}")
    if not data:
        raise refuse("empty")
    name = sniff(data)
    if name is None:
        raise refuse("not_an_image")
    try:
        with quiet_decoders():
            return _decode_as(name, data, target_px, limits, with_colour_profile)
    except ImageRefused:
        raise
    except Exception as error:  # decoders raise anything on damaged bytes
        raise refuse_undecoded(error) from error


def _decode_as(name: str, data: bytes, target_px: int, limits: Limits, with_colour_profile: bool) -> Decoded:
    opened = _OPENERS[name](data, target_px, limits)
    if opened.nested:
        return _decode_nested(opened, target_px, limits, with_colour_profile)
    memory = _check(opened, len(data), limits)
    orientation = opened.exif.orientation if opened.orientation is None else opened.orientation
    with DECODING.take(memory):
        rows = opened.load()
        icc = opened.icc if with_colour_profile else None
        image = to_rgb(rows, target_px=target_px, orientation=orientation, icc=icc)
        if isinstance(rows, PillowRows) and rows.is_source(image) and opened.format != "JPEG":
            image = image.copy()  # Pillow's classes of other formats keep their decoder, and with it the file
    image.info.clear()
    width, height = (opened.height, opened.width) if orientation >= 5 else (opened.width, opened.height)
    return Decoded(image, opened.format, width, height, opened.exif)


def _check(opened: _Opened, file_bytes: int, limits: Limits) -> int:
    if opened.width * opened.height > limits.pixels:
        raise refuse("too_many_pixels", f"{opened.width:,} × {opened.height:,}, more than {limits.pixels:,}")
    memory = opened.memory + file_bytes
    if memory > limits.decode_bytes:
        raise refuse("needs_too_much_memory", f"{memory // MIB:,} MiB, more than {limits.decode_bytes // MIB:,}")
    return memory


def _decode_nested(opened: _Opened, target_px: int, limits: Limits, with_colour_profile: bool) -> Decoded:
    """The preview of a RAW file, with the sizes and the facts of the RAW file around it."""
    preview = decode(opened.nested, target_px=target_px, limits=limits, with_colour_profile=with_colour_profile)
    facts = opened.exif if opened.exif.taken_at else replace(preview.exif, orientation=1)
    image = preview.image
    if preview.exif.orientation == 1 and (opened.orientation or 1) != 1:
        image = to_rgb(PillowRows(image), target_px=target_px, orientation=opened.orientation or 1)
    return Decoded(image, opened.format, opened.width, opened.height, facts)


def _open_jpeg(data: bytes, target_px: int, limits: Limits) -> _Opened:
    header = jpeg.read_jpeg_header(data)
    return _Opened(
        "JPEG",
        header.width,
        header.height,
        jpeg.jpeg_memory(header, target_px),
        lambda: PillowRows(jpeg.load_jpeg(data, header, target_px)),
        read_exif(header.exif),
        header.icc,
    )


def _open_png(data: bytes, target_px: int, limits: Limits) -> _Opened:
    header = png.read_png_header(data)
    memory = png.png_memory(header)
    facts = read_exif(header.exif)
    return _Opened(
        "PNG", header.width, header.height, memory, lambda: PillowRows(png.load_png(header)), facts, header.icc
    )


def _open_tiff(data: bytes, target_px: int, limits: Limits) -> _Opened:
    header = tiff.read_tiff_header(data)
    if header.is_raw:
        return _open_raw(data, target_px, limits)
    load = lambda: PillowRows(tiff.load_tiff(data, limits.pixels))  # noqa: E731 - a name for the line's length
    return _Opened("TIFF", header.width, header.height, header.memory, load, read_exif(data))


def _open_gif(data: bytes, target_px: int, limits: Limits) -> _Opened:
    from PIL.GifImagePlugin import GifImageFile

    width, height, essence = read_gif_header(data)
    return _Opened("GIF", width, height, 2 * width * height + len(essence), lambda: _load(GifImageFile, essence))


def _open_bmp(data: bytes, target_px: int, limits: Limits) -> _Opened:
    from PIL.BmpImagePlugin import BmpImageFile

    width, height = read_bmp_header(data)
    return _Opened("BMP", width, height, 4 * width * height, lambda: _load(BmpImageFile, data))


def _open_webp(data: bytes, target_px: int, limits: Limits) -> _Opened:
    from PIL.WebPImagePlugin import WebPImageFile

    class FrugalWebP(_Frugal, WebPImageFile):
        """Pillow's WebP, which makes its canvases when it is opened: only in `load`, then."""

    width, height, exif, icc = read_webp_header(data)
    memory = _WEBP_PIXEL_BYTES * width * height
    return _Opened("WEBP", width, height, memory, lambda: _load(FrugalWebP, data), read_exif(exif), icc)


def _open_avif(data: bytes, target_px: int, limits: Limits) -> _Opened:
    from PIL.AvifImagePlugin import AvifImageFile

    class FrugalAvif(_Frugal, AvifImageFile):
        """Pillow's AVIF; opening it parses and does not decode."""

    heif.check_boxes(data)
    try:
        image = FrugalAvif(io.BytesIO(data))
    except (SyntaxError, ValueError):
        image = FrugalAvif(io.BytesIO(heif.hide_exif(data)))
    facts = read_exif(image.info.get("exif"))
    memory = _AVIF_PIXEL_BYTES * image.width * image.height

    def load() -> Rows:
        image.load()
        return PillowRows(image)

    return _Opened("AVIF", image.width, image.height, memory, load, facts, image.info.get("icc_profile"))


def _open_heif(data: bytes, target_px: int, limits: Limits) -> _Opened:
    header = heif.read_heif_header(data, target_px)
    return _Opened(
        "HEIF",
        header.width,
        header.height,
        header.memory,
        lambda: heif.load_heif(data, header),
        read_exif(header.exif),
        header.icc,
        orientation=1,
    )


def _open_raw(data: bytes, target_px: int, limits: Limits) -> _Opened:
    header = raw.read_raw_header(data)
    facts = read_exif(data)
    opened = _Opened(
        "RAW", header.width, header.height, header.memory, lambda: PillowRows(raw.develop_raw(data)), facts
    )
    if _is_large_enough(header.preview, target_px):
        return replace(opened, orientation=header.orientation, nested=header.preview)
    return replace(opened, orientation=1)


def _is_large_enough(preview: bytes, target_px: int) -> bool:
    """Whether an embedded preview is a whole JPEG of at least the wanted size."""
    try:
        header = jpeg.read_jpeg_header(preview)
    except ImageRefused:
        return False
    return min(header.width, header.height) >= target_px


class _Frugal(ImageFile.ImageFile):
    """Lets go of the decoder's own canvases or planes before Pillow makes a picture of the frame they gave.

    The attribute is Pillow's private one; a Pillow that renames it costs memory and nothing else.
    """

    def load_prepare(self) -> None:
        """Called by Pillow between the two."""
        self.__dict__.pop("_decoder", None)
        super().load_prepare()


def _load(plugin: Callable[[io.BytesIO], Image.Image], data: bytes) -> Rows:
    image = plugin(io.BytesIO(data))
    image.load()
    return PillowRows(image)


_OPENERS: dict[str, Callable[[bytes, int, Limits], _Opened]] = {
    "JPEG": _open_jpeg,
    "PNG": _open_png,
    "TIFF": _open_tiff,
    "GIF": _open_gif,
    "BMP": _open_bmp,
    "WEBP": _open_webp,
    "AVIF": _open_avif,
    "HEIF": _open_heif,
    "RAW": _open_raw,
}
