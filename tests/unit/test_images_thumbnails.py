"""Thumbnails: small, upright, in sRGB, and silent about the photographer."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from tests.hostile import encoded, exif_block, picture, png_chunk

from peyda.images import thumbnail_jpeg


def thumbnail(tmp_path: Path, data: bytes, size_px: int = 100) -> Image.Image:
    path = tmp_path / "photo"
    path.write_bytes(data)
    image = Image.open(io.BytesIO(thumbnail_jpeg(str(path), size_px)))
    image.load()
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return image


def swapped_profile() -> bytes:
    """sRGB with the names of red and blue exchanged: a transform to sRGB must exchange the colours."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"?XYZ", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"?XYZ", b"bXYZ", 1)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "GIF", "BMP"])
def test_it_fits_into_the_square(form: str, tmp_path: Path) -> None:
    assert thumbnail(tmp_path, encoded(picture(1, (900, 450)), form)).size == (100, 50)
    assert thumbnail(tmp_path, encoded(picture(1, (30, 40)), form)).size == (30, 40)


def test_it_is_upright(tmp_path: Path) -> None:
    assert thumbnail(tmp_path, encoded(picture(2, (900, 450)), "JPEG", exif=exif_block(6))).size == (50, 100)


def test_metadata_is_left_behind(tmp_path: Path) -> None:
    gps: dict[int, object] = {1: "N", 2: (35.0, 41.0, 21.0), 3: "E", 4: (51.0, 23.0, 20.0)}
    exif = exif_block(date="2019:05:04 03:02:01", gps=gps)
    data = encoded(picture(3), "JPEG", exif=exif, comment=b"secret", icc_profile=swapped_profile(), xmp=b"<x:secret/>")
    image = thumbnail(tmp_path, data)
    assert not image.getexif()
    assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_colours_are_taken_to_srgb(tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 64), (220, 30, 30))
    for form in ("JPEG", "PNG", "WEBP", "AVIF"):
        plain = np.asarray(thumbnail(tmp_path, encoded(image, form)))[32, 32]
        assert plain[0] > plain[2] + 100, form
        turned = np.asarray(thumbnail(tmp_path, encoded(image, form, icc_profile=swapped_profile())))[32, 32]
        assert turned[2] > turned[0] + 100, form


def test_a_transparent_picture_with_a_profile_lies_on_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    got = np.asarray(thumbnail(tmp_path, encoded(image, "PNG", icc_profile=swapped_profile())))
    assert got.min() > 245


def test_unusable_profiles_are_passed_over(tmp_path: Path) -> None:
    grey = encoded(picture(4, mode="L"), "JPEG", icc_profile=swapped_profile())
    assert thumbnail(tmp_path, grey).size == (96, 64)
    garbage = encoded(picture(5), "JPEG", icc_profile=b"not a profile" * 20)
    assert thumbnail(tmp_path, garbage).size == (96, 64)
    data = encoded(picture(6), "PNG")
    chunk = png_chunk(b"iCCP", b"x\0\0not deflated")
    assert thumbnail(tmp_path, data[:33] + chunk + data[33:]).size == (96, 64)


def test_size_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        thumbnail(tmp_path, encoded(picture(7), "JPEG"), size_px=0)
