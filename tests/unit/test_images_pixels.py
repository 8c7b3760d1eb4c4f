"""What comes out of decoding: upright RGB of the right colours and of a bounded size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.hostile import encoded, exif_block, picture, png_chunk

from peyda.images import decode_bytes
from peyda.images.limits import OUTPUT_PIXELS
from peyda.images.pixels import BufferRows, PillowRows, shrink_factor, to_rgb


def pixels(data: bytes, target_px: int = 64) -> np.ndarray:
    return np.asarray(decode_bytes(data, target_px=target_px).image, dtype=np.int16)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(form: str, orientation: int) -> None:
    """Four coloured quarters come out where `ImageOps.exif_transpose` puts them."""
    image = Image.new("RGB", (64, 48), (255, 0, 0))
    image.paste((0, 255, 0), (32, 0, 64, 24))
    image.paste((0, 0, 255), (0, 24, 32, 48))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = image.copy()
    turned.getexif()[0x0112] = orientation
    wanted = np.asarray(ImageOps.exif_transpose(turned), dtype=np.int16)
    photo = decode_bytes(encoded(image, form, exif=exif_block(orientation)), target_px=48)
    assert (photo.facts.width_px, photo.facts.height_px) == wanted.shape[1::-1]
    got = np.asarray(photo.image, dtype=np.int16)
    assert got.shape == wanted.shape
    height, width = wanted.shape[:2]
    for y, x in ((4, 4), (4, width - 5), (height - 5, 4), (height - 5, width - 5)):
        assert np.abs(got[y, x] - wanted[y, x]).max() < 60, (y, x)


def test_sixteen_bit_grey_keeps_its_scale() -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (32, 1))
    for form in ("PNG", "TIFF"):
        got = pixels(encoded(Image.fromarray(ramp), form))
        assert np.abs(got[0, :, 0] - np.arange(256)).max() <= 1
        assert (got[..., 0] == got[..., 2]).all()


def test_floats_are_stretched_over_their_finite_range() -> None:
    values = np.full((32, 32), -2.0, dtype=np.float32)
    values[:, 16:] = 6.0
    values[0, 0], values[0, 1] = np.nan, np.inf
    got = pixels(encoded(Image.fromarray(values), "TIFF"))
    assert (got[5, 3] == 0).all()
    assert (got[5, 20] == 255).all()
    assert (got[0, 1] == 255).all()


def test_all_equal_floats_are_black_not_an_error() -> None:
    assert (pixels(encoded(Image.fromarray(np.full((8, 8), 7.5, np.float32)), "TIFF")) == 0).all()
    assert (pixels(encoded(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF")) == 0).all()


def test_transparency_is_laid_on_white() -> None:
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste((200, 0, 0, 255), (0, 0, 20, 40))
    for form, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        got = pixels(encoded(image, form, **options))
        assert (got[20, 5] == (200, 0, 0)).all(), form
        assert (got[20, 35] == (255, 255, 255)).all(), form


def test_transparent_palette_entry_and_colour_key() -> None:
    image = Image.new("P", (40, 40), 0)
    image.putpalette([9, 9, 9, 0, 0, 200])
    image.paste(1, (0, 0, 20, 40))
    for data in (encoded(image, "PNG", transparency=0), encoded(image, "GIF", transparency=0)):
        got = pixels(data)
        assert (got[20, 5] == (0, 0, 200)).all()
        assert (got[20, 35] == 255).all()
    keyed = encoded(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG")
    keyed = keyed[:33] + png_chunk(b"tRNS", bytes([0, 1, 0, 2, 0, 3])) + keyed[33:]
    assert (pixels(keyed) == 255).all()


def test_cmyk_is_not_inverted() -> None:
    white, red = Image.new("CMYK", (16, 16), (0, 0, 0, 0)), Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for form in ("JPEG", "TIFF"):
        assert pixels(encoded(white, form)).min() > 245, form
        got = pixels(encoded(red, form))
        assert got[8, 8, 0] > 200, form
        assert got[8, 8, 1:].max() < 60, form


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_an_animation_is_its_first_frame(form: str) -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ((210, 20, 20), (20, 210, 20), (20, 20, 210))]
    got = pixels(encoded(frames[0], form, save_all=True, append_images=frames[1:]))
    assert np.abs(got[24, 32] - (210, 20, 20)).max() < 30


def test_small_pictures_are_not_enlarged() -> None:
    assert decode_bytes(encoded(picture(1, (1, 1)), "PNG"), target_px=224).image.size == (1, 1)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_large_pictures_are_shrunk_to_no_less_than_the_target(form: str) -> None:
    image = picture(4, (1800, 1300))
    photo = decode_bytes(encoded(image, form), target_px=100)
    assert (photo.facts.width_px, photo.facts.height_px) == (1800, 1300)
    assert 100 <= min(photo.image.size) < 400
    wanted = np.asarray(image.resize(photo.image.size, Image.Resampling.BOX), dtype=np.int16)
    # A palette of 256 colours dithers: only the mean is near.
    assert np.abs(np.asarray(photo.image, dtype=np.int16) - wanted).mean() < 8


def test_an_endless_strip_is_bounded() -> None:
    photo = decode_bytes(encoded(Image.new("L", (60_000, 300), 77), "PNG"), target_px=224)
    assert photo.image.width * photo.image.height <= OUTPUT_PIXELS * 1.05
    assert (photo.facts.width_px, photo.facts.height_px) == (60_000, 300)


@pytest.mark.parametrize("size", [(1, 1), (224, 224), (5000, 4000), (60_000, 300), (1, 65_535), (30_000, 10_000)])
@pytest.mark.parametrize("target_px", [1, 64, 224, 1000])
def test_shrink_factor_keeps_its_promises(size: tuple[int, int], target_px: int) -> None:
    factor = shrink_factor(size, target_px)
    assert factor >= 1
    assert size[0] * size[1] / factor**2 <= OUTPUT_PIXELS
    if factor > 1 and size[0] * size[1] / (min(size) // (2 * target_px) or 1) ** 2 <= OUTPUT_PIXELS:
        assert min(size) / factor >= 2 * target_px


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "LA", "I;16"])
def test_bands_give_what_one_piece_gives(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.random.default_rng(1).integers(0, 65536, (331, 457), dtype=np.uint16))
    else:
        image = picture(6, (457, 331)).convert(mode)
    whole = to_rgb(PillowRows(image.copy()), target_px=40, orientation=5)
    monkeypatch.setattr("peyda.images.pixels._BAND_PIXELS", 5000)
    banded = to_rgb(PillowRows(image), target_px=40, orientation=5)
    assert banded.size == whole.size
    assert banded.tobytes() == whole.tobytes()


def test_rows_of_a_buffer_honour_the_stride() -> None:
    array = np.asarray(picture(7, (50, 40)))
    padded = np.zeros((40, 50 * 3 + 14), dtype=np.uint8)
    padded[:, :150] = array.reshape(40, 150)
    got = to_rgb(BufferRows("RGB", (50, 40), 164, padded.tobytes()), target_px=40)
    assert (np.asarray(got) == array).all()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF"])
def test_what_comes_out_keeps_nothing_of_the_file(form: str) -> None:
    image = decode_bytes(encoded(picture(8), form), target_px=32).image
    assert image.info == {}
    assert getattr(image, "fp", None) is None
    assert not hasattr(image, "_decoder")
    image.copy()
