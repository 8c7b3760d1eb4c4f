"""Odd and hostile image files, made on the spot for any test that reads a folder of photographs.

    from tests.hostile import make_hostile_folder
    expected = make_hostile_folder(tmp_path)   # {"truncated.jpg": "truncated", "cmyk.jpg": None, …}

Keys are names inside the folder as `os.listdir` gives them (surrogate escapes included). The value is the code that
reading the file must be refused with (one of `peyda.images.REASONS`), or None for a file that must be indexed. No two
files have the same bytes, so a run over the folder adds exactly the files whose value is None. Every name has a suffix
of `SUPPORTED_SUFFIXES`; there are no links, and no folders but `folder.jpg`.

`make_valid_images` gives the same valid file of every format as bytes, for mutation.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (96, 64), mode: str = "RGB") -> Image.Image:
    """A smooth picture of its own colours for every seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """`image` as a file of Pillow's format `form`, or "HEIF"."""
    if form == "HEIF":
        import pillow_heif

        out = io.BytesIO()
        pillow_heif.from_pillow(image).save(out, format="HEIF", **{"quality": 60} | options)
        return out.getvalue()
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    """One chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_header(width: int, height: int, bits: int = 8, colour: int = 2) -> bytes:
    """Signature and IHDR."""
    body = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", body)


def png_with(chunks: bytes, seed: int) -> bytes:
    """A valid PNG with `chunks` between its header and its picture."""
    data = encoded(picture(seed), "PNG")
    return data[:33] + chunks + data[33:]


def png_bomb(width: int, height: int) -> bytes:
    """A PNG that announces `width` × `height` and holds the deflated zeros of its first rows."""
    rows = zlib.compress(bytes((width * 3 + 1) * min(height, 64)), 9)
    return png_header(width, height) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def exif_block(orientation: int | None = None, date: str = "", gps: dict[int, object] | None = None) -> bytes:
    """An EXIF block by Pillow's own writer."""
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    if date:
        exif.get_ifd(0x8769)[0x9003] = date
    if gps:
        exif.get_ifd(0x8825).update(gps)
    return exif.tobytes()


def jpeg_with_segment(marker: int, body: bytes, seed: int) -> bytes:
    """A valid JPEG with one more segment right after its start."""
    data = encoded(picture(seed), "JPEG")
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + data[2:]


def jpeg_resized(data: bytes, width: int, height: int) -> bytes:
    """The same JPEG, whose header lies about its size."""
    at = next(data.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in data)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def jpeg_of_many_scans(seed: int) -> bytes:
    """A progressive JPEG whose last scan comes a thousand times."""
    data = encoded(picture(seed), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 1000 + data[-2:]


def cut(data: bytes, share: float = 0.6) -> bytes:
    """The first `share` of a file."""
    return data[: int(len(data) * share)]


def noisy(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A picture that compresses badly, so that a cut file is cut within its pixels."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def make_valid_images() -> dict[str, bytes]:
    """Name → bytes of one small valid file of every format that is always read."""
    image = picture(1)
    exif = exif_block(6, "2019:05:04 03:02:01", {1: "N", 2: (35.0, 41.0, 21.0), 3: "E", 4: (51.0, 23.0, 20.0)})
    return {
        "base.jpg": encoded(image, "JPEG", exif=exif),
        "progressive.jpg": encoded(image, "JPEG", progressive=True, exif=exif),
        "rgb.png": encoded(image, "PNG", exif=exif),
        "palette.png": encoded(image.quantize(16), "PNG", transparency=3),
        "lossy.webp": encoded(image, "WEBP", exif=exif),
        "lossless.webp": encoded(image, "WEBP", lossless=True),
        "still.gif": encoded(image, "GIF"),
        "rgb.bmp": encoded(image, "BMP"),
        "raw.tif": encoded(image, "TIFF"),
        "lzw.tif": encoded(image, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": encoded(image, "TIFF", compression="jpeg"),
        "still.avif": encoded(image, "AVIF", speed=10, exif=exif),
        "still.heic": encoded(image, "HEIF", exif=exif),
    }


def _modes() -> dict[str, bytes]:
    """Pictures of unusual modes, all of which are read."""
    grey16 = np.linspace(0, 65535, 96 * 64).reshape(64, 96).astype(np.uint16)
    floats = np.linspace(-3.0, 7.0, 96 * 64, dtype=np.float32).reshape(64, 96)
    floats[3, 3] = np.nan
    colour16 = (
        png_header(8, 8, 16, 2) + png_chunk(b"IDAT", zlib.compress(bytes(8 * (1 + 48)))) + png_chunk(b"IEND", b"")
    )
    frames = [picture(seed) for seed in (20, 21, 22)]
    more = {"save_all": True, "append_images": frames[1:]}
    return {
        "grey16.png": encoded(Image.fromarray(grey16), "PNG"),
        "colour16.png": colour16,
        "grey16.tif": encoded(Image.fromarray(grey16 // 2), "TIFF"),
        "float32.tif": encoded(Image.fromarray(floats), "TIFF"),
        "int32.tif": encoded(Image.fromarray(np.arange(6144, dtype=np.int32).reshape(64, 96)), "TIFF"),
        "cmyk.jpg": encoded(picture(23, mode="CMYK"), "JPEG"),
        "cmyk.tif": encoded(picture(24, mode="CMYK"), "TIFF"),
        "lab.tif": encoded(Image.merge("LAB", picture(35).split()), "TIFF"),
        "grey.jpg": encoded(picture(25, mode="L"), "JPEG"),
        "bilevel.png": encoded(picture(26, mode="1"), "PNG"),
        "grey_alpha.png": encoded(picture(27, mode="LA"), "PNG"),
        "rgba.png": encoded(picture(28, mode="RGBA"), "PNG"),
        "palette_alpha.png": encoded(picture(29).quantize(16), "PNG", transparency=bytes(range(0, 256, 16))),
        "rgba.webp": encoded(picture(30, mode="RGBA"), "WEBP"),
        "animated.gif": encoded(frames[0], "GIF", **more),
        "animated.webp": encoded(frames[0], "WEBP", **more),
        "animated.png": encoded(frames[0], "PNG", **more),
        "animated.avif": encoded(frames[0], "AVIF", speed=10, **more),
        "pages.tif": encoded(frames[0], "TIFF", **more),
        "one_pixel.png": encoded(picture(31, (1, 1)), "PNG"),
        "one_pixel.jpg": encoded(picture(32, (1, 1)), "JPEG"),
        "one_row.png": encoded(picture(33, (3000, 1)), "PNG"),
        "one_column.gif": encoded(picture(34, (1, 3000)), "GIF"),
    }


def _metadata() -> dict[str, bytes]:
    """Damaged or oversized metadata, none of which costs the photograph."""
    text = b"Comment\0" + b"x" * (6 << 20)
    packed = b"Comment\0\0" + zlib.compress(bytes(64 << 20), 9)
    profile = b"icc\0\0" + zlib.compress(bytes(64 << 20), 9)
    exif = exif_block(1, "2020:01:02 03:04:05")
    broken_avif = (
        encoded(picture(40), "AVIF", speed=10, exif=exif).replace(b"MM\0*", b"??\0?").replace(b"II*\0", b"??\0?")
    )
    broken_heic = encoded(picture(41), "HEIF", exif=exif).replace(b"MM\0*", b"??\0?").replace(b"II*\0", b"??\0?")
    return {
        "huge_text.png": png_with(png_chunk(b"tEXt", text), 42),
        "text_bomb.png": png_with(png_chunk(b"zTXt", packed), 43),
        "international_text_bomb.png": png_with(png_chunk(b"iTXt", b"k\0\1\0\0\0" + packed[9:]), 44),
        "profile_bomb.png": png_with(png_chunk(b"iCCP", profile), 45),
        "broken_text.png": png_with(png_chunk(b"zTXt", b"Comment\0\x07garbage"), 46),
        "broken_exif.png": png_with(png_chunk(b"eXIf", b"not exif at all"), 47),
        "broken_exif.jpg": jpeg_with_segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xffgarbage", 48),
        "looping_exif.jpg": jpeg_with_segment(
            0xE1, b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0", 49
        ),
        "broken_mpo.jpg": jpeg_with_segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\0\xff", 50),
        "broken_profile.jpg": jpeg_with_segment(0xE2, b"ICC_PROFILE\0\1\1" + b"?" * 128, 51),
        "broken_exif.avif": broken_avif,
        "broken_exif.heic": broken_heic,
        "junk_before_scan.jpg": (lambda data: data[:20] + b"\0" * 3000 + data[20:])(encoded(picture(52), "JPEG")),
    }


def _names() -> dict[str, bytes]:
    """Ordinary photographs under names that programs trip over, and suffixes that lie."""
    return {
        "سگ در برف.jpg": encoded(picture(60), "JPEG"),
        "می‌خواهم.jpg": encoded(picture(61), "JPEG"),
        "🐕‍🦺 dog.jpg": encoded(picture(62), "JPEG"),
        "two\nlines.jpg": encoded(picture(63), "JPEG"),
        "escape\x1b[31m.jpg": encoded(picture(64), "JPEG"),
        "override\u202egpj.jpg": encoded(picture(65), "JPEG"),
        "-rf.jpg": encoded(picture(66), "JPEG"),
        "'quoted\" & <b>.jpg": encoded(picture(67), "JPEG"),
        "UPPER.JPEG": encoded(picture(68), "JPEG"),
        "really_png.jpg": encoded(picture(69), "PNG"),
        "really_jpeg.png": encoded(picture(70), "JPEG"),
        "really_webp.gif": encoded(picture(71), "WEBP"),
        "really_tiff.heic": encoded(picture(72), "TIFF"),
    }


def _orientations() -> dict[str, bytes]:
    make: Callable[[int], bytes] = lambda n: encoded(picture(80 + n), "JPEG", exif=exif_block(n))  # noqa: E731
    return {f"orientation_{n}.jpg": make(n) for n in range(10)}


def _refused() -> dict[str, tuple[bytes, str]]:
    """Bytes, and the reason for which they are refused."""
    small = encoded(picture(90), "JPEG")
    progressive = encoded(picture(91), "JPEG", progressive=True)
    webp = encoded(picture(92), "WEBP")
    canvas = webp[:12] + b"VP8X" + struct.pack("<II", 10, 0) + (16383).to_bytes(3, "little") * 2 + webp[12:]
    canvas = canvas[:4] + struct.pack("<I", len(canvas) - 8) + canvas[8:]
    bmp = encoded(picture(93), "BMP")
    return {
        "no_bytes.jpg": (b"", "empty"),
        "one_byte.jpg": (b"\xff", "not_an_image"),
        "text.jpg": ("این یک عکس نیست\n".encode(), "not_an_image"),
        "page.png": (b"<!doctype html><title>404</title>", "not_an_image"),
        "drawing.png": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not_an_image"),
        "postscript.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image"),
        "document.jpg": (b"%PDF-1.7\n", "not_an_image"),
        "pixmap.jpg": (b"P6 2 2 255\n" + bytes(12), "not_an_image"),
        "zeros.jpg": (bytes(5000), "not_an_image"),
        "movie.heic": (b"\0\0\0\x18ftypisom\0\0\0\0isomavc1" + bytes(100), "not_an_image"),
        "truncated.jpg": (cut(encoded(noisy(94), "JPEG")), "truncated"),
        "truncated_progressive.jpg": (cut(encoded(noisy(95), "JPEG", progressive=True)), "truncated"),
        "truncated_header.jpg": (small[:60], "truncated"),
        "truncated.png": (cut(encoded(noisy(96), "PNG")), "truncated"),
        "truncated_header.png": (png_header(9, 9), "truncated"),
        "truncated.gif": (cut(encoded(noisy(97), "GIF")), "truncated"),
        "truncated.webp": (cut(encoded(noisy(98), "WEBP")), "truncated"),
        "truncated.bmp": (cut(encoded(noisy(99), "BMP")), "truncated"),
        "truncated.tif": (encoded(noisy(100), "TIFF")[:400], "truncated"),
        "truncated_lzw.tif": (cut(encoded(noisy(101), "TIFF", compression="tiff_lzw")), "truncated"),
        "truncated.avif": (cut(encoded(noisy(102), "AVIF", speed=10)), "truncated"),
        "truncated.heic": (cut(encoded(noisy(103), "HEIF")), "truncated"),
        "square_30000.png": (png_bomb(30_000, 30_000), "too_many_pixels"),
        "square_30000.jpg": (jpeg_resized(small, 30_000, 30_000), "too_many_pixels"),
        "square_40000.bmp": (bmp[:18] + struct.pack("<ii", 40_000, 40_000) + bmp[26:], "too_many_pixels"),
        "square_65535.gif": (b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;", "too_many_pixels"),
        "bomb.png": (png_bomb(12_000, 12_000), "needs_too_much_memory"),
        "bomb_progressive.jpg": (jpeg_resized(progressive, 16_000, 16_000), "needs_too_much_memory"),
        "bomb.webp": (canvas, "needs_too_much_memory"),
        "segments.jpg": (small[:20] + b"\xff\xe9\0\2" * 200_001 + small[20:], "too_complex"),
        "fill.jpg": (small[:20] + b"\xff" * 300_000 + small[21:], "too_complex"),
        "chunks.png": (png_with(png_chunk(b"prVt", b"") * 200_001, 106), "too_complex"),
        "blocks.gif": (b"GIF89a\1\0\1\0\0\0\0" + b"!\xfe\0" * 200_001 + b",\0;", "too_complex"),
        "runs.bmp": (bmp[:30] + struct.pack("<I", 1) + bmp[34:54] + b"\1\0" * (4 << 20), "too_complex"),
        "scans.jpg": (jpeg_of_many_scans(104), "too_complex"),
        "damaged.png": (encoded(picture(105), "PNG").replace(b"IDATx", b"IDAT\0", 1), "undecodable"),
        "deep.jpg": ((lambda at: small[: at + 4] + b"\x0c" + small[at + 5 :])(small.index(b"\xff\xc0")), "undecodable"),
        "no_photograph.webp": (webp[:12] + b"JUNK" + webp[16:], "undecodable"),
        "no_photograph.gif": (b"GIF89a\1\0\1\0\0\0\0;" + bytes(20), "undecodable"),
    }


def make_hostile_folder(folder: str | os.PathLike[str]) -> dict[str, str | None]:
    """Write all of the files into `folder` (made if it is not there): some 115 files, 20 MB.

    Also a named pipe, a folder with the name of a photograph, and, unless the tests run as root, a file that may not
    be read.

    Returns:
        Name → reason of the refusal, or None for a photograph that is indexed.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    expected: dict[str, str | None] = {}
    valid = make_valid_images() | _modes() | _metadata() | _names() | _orientations()
    for name, data in valid.items():
        (root / name).write_bytes(data)
        expected[name] = None
    for name, (data, reason) in _refused().items():
        (root / name).write_bytes(data)
        expected[name] = reason
    expected |= _make_specials(root)
    return expected


def _make_specials(root: Path) -> dict[str, str | None]:
    expected: dict[str, str | None] = {}
    name = os.fsdecode(b"latin\xe9\xff.jpg")
    try:
        (root / name).write_bytes(encoded(picture(110), "JPEG"))
        expected[name] = None
    except OSError:  # a file system that takes UTF-8 names only
        pass
    (root / "folder.jpg").mkdir(exist_ok=True)
    expected["folder.jpg"] = "not_a_file"
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "pipe.jpg")
        expected["pipe.jpg"] = "not_a_file"
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        (root / "secret.jpg").write_bytes(encoded(picture(111), "JPEG"))
        (root / "secret.jpg").chmod(0)
        expected["secret.jpg"] = "permission_denied"
    return expected
