"""Camera RAW: a DNG made by hand, with and without a preview, with and without rawpy."""

from __future__ import annotations

import builtins
import io
import random
import struct
import sys

import numpy as np
import pytest
from PIL import Image
from tests.hostile import encoded, exif_block, picture

from peyda.errors import ImageRefused
from peyda.images import REASONS, decode_bytes

BYTE, ASCII, SHORT, LONG, RATIONAL, SRATIONAL = 1, 2, 3, 4, 5, 10
CODES = {BYTE: "B", SHORT: "H", LONG: "I", RATIONAL: "II", SRATIONAL: "ii"}


def directory(fields: list[tuple[int, int, list[int] | bytes]], at: int) -> bytes:
    """A little-endian TIFF directory whose values follow it; `at` is its own offset."""
    head = struct.pack("<H", len(fields))
    entries, values = b"", b""
    room = at + 2 + 12 * len(fields) + 4
    for tag, kind, value in sorted(fields):
        if isinstance(value, bytes):
            packed, count = value, len(value)
        else:
            packed = struct.pack("<" + CODES[kind][0] * len(value), *value)
            count = len(value) // len(CODES[kind])
        if len(packed) > 4:
            entries += struct.pack("<HHII", tag, kind, count, room + len(values))
            values += packed + b"\0" * (len(packed) % 2)
        else:
            entries += struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0")
    return head + entries + bytes(4) + values


def make_dng(width: int = 400, height: int = 300, orientation: int = 1, preview: bytes = b"") -> bytes:
    """A Bayer DNG of a red upper half over a blue lower half; `preview` is a JPEG to embed."""
    mosaic = np.full((height, width), 600, dtype="<u2")
    mosaic[: height // 2 : 2, ::2] = 15000
    mosaic[height // 2 + 1 :: 2, 1::2] = 15000
    pixels = mosaic.tobytes()
    sensor = [
        (254, LONG, [0]),
        (256, LONG, [width]),
        (257, LONG, [height]),
        (258, SHORT, [16]),
        (259, SHORT, [1]),
        (262, SHORT, [32803]),
        (277, SHORT, [1]),
        (278, LONG, [height]),
        (279, LONG, [len(pixels)]),
        (33421, SHORT, [2, 2]),
        (33422, BYTE, bytes([0, 1, 1, 2])),
        (50714, LONG, [512]),
        (50717, LONG, [16383]),
    ]
    camera = [
        (271, ASCII, b"Peyda\0"),
        (272, ASCII, b"Test\0"),
        (274, SHORT, [orientation]),
        (306, ASCII, b"2018:07:06 05:04:03\0"),
        (50706, BYTE, bytes([1, 4, 0, 0])),
        (50707, BYTE, bytes([1, 1, 0, 0])),
        (50708, ASCII, b"Peyda Test\0"),
        (50721, SRATIONAL, [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]),
        (50728, RATIONAL, [1, 1, 1, 1, 1, 1]),
        (50778, SHORT, [21]),
    ]
    if not preview:
        room = 8 + len(directory([*camera, *sensor, (273, LONG, [0])], 8))
        return b"II*\0\x08\0\0\0" + directory([*camera, *sensor, (273, LONG, [room])], 8) + pixels
    small = Image.open(io.BytesIO(preview)).size
    view = [
        (254, LONG, [1]),
        (256, LONG, [small[0]]),
        (257, LONG, [small[1]]),
        (258, SHORT, [8, 8, 8]),
        (259, SHORT, [7]),
        (262, SHORT, [6]),
        (277, SHORT, [3]),
        (278, LONG, [small[1]]),
        (279, LONG, [len(preview)]),
    ]
    first = len(directory([*camera, *view, (273, LONG, [0]), (330, LONG, [0])], 8))
    second = len(directory([*sensor, (273, LONG, [0])], 8 + first))
    at = 8 + first + second
    main = directory([*camera, *view, (273, LONG, [at]), (330, LONG, [8 + first])], 8)
    return (
        b"II*\0\x08\0\0\0" + main + directory([*sensor, (273, LONG, [at + len(preview)])], 8 + first) + preview + pixels
    )


def test_raw_without_preview_is_developed_upright() -> None:
    pytest.importorskip("rawpy")
    photo = decode_bytes(make_dng(), target_px=64)
    assert photo.facts.format == "RAW"
    assert (photo.facts.width_px, photo.facts.height_px) == (400, 300)
    assert (photo.facts.taken_at, photo.facts.taken_from) == ("2018-07-06T05:04:03", "exif")
    width, height = photo.image.size
    top, bottom = photo.image.getpixel((width // 2, height // 5)), photo.image.getpixel((width // 2, height * 4 // 5))
    assert top[0] > top[2] + 30
    assert bottom[2] > bottom[0] + 30


def test_raw_turned_by_its_orientation() -> None:
    pytest.importorskip("rawpy")
    photo = decode_bytes(make_dng(orientation=6), target_px=64)
    assert (photo.facts.width_px, photo.facts.height_px) == (300, 400)
    width, height = photo.image.size
    assert width < height
    # What was on top is on the right after a quarter turn clockwise.
    right, left = photo.image.getpixel((width * 4 // 5, height // 2)), photo.image.getpixel((width // 5, height // 2))
    assert right[0] > right[2] + 30
    assert left[2] > left[0] + 30


@pytest.mark.parametrize("inner", [None, 6])
def test_raw_preview_is_used_and_turned_once(inner: int | None) -> None:
    pytest.importorskip("rawpy")
    view = Image.new("RGB", (320, 240), (0, 200, 0))
    view.paste((200, 200, 0), (0, 0, 320, 60))
    preview = encoded(view, "JPEG", **({"exif": exif_block(inner)} if inner else {}))
    photo = decode_bytes(make_dng(orientation=6, preview=preview), target_px=64)
    assert photo.facts.format == "RAW"
    width, height = photo.image.size
    assert width < height
    assert photo.image.getpixel((width - 5, height // 2))[0] > 150  # the yellow band went from the top to the right
    assert photo.image.getpixel((5, height // 2))[0] < 60


def test_raw_preview_smaller_than_wanted_is_passed_over() -> None:
    pytest.importorskip("rawpy")
    preview = encoded(Image.new("RGB", (80, 60), (0, 200, 0)), "JPEG")
    photo = decode_bytes(make_dng(preview=preview), target_px=100)
    assert min(photo.image.size) >= 100


def test_raw_without_rawpy_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: object, **options: object) -> object:
        if name == "rawpy":
            raise ImportError("No module named 'rawpy'")
        return real(name, *args, **options)  # type: ignore[arg-type]

    monkeypatch.delitem(sys.modules, "rawpy", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImageRefused) as caught:
        decode_bytes(make_dng(), target_px=64)
    assert caught.value.reason == "raw_support_missing"
    assert 'pip install "peyda[raw]"' in caught.value.hint


def test_damaged_raw_is_refused_or_read() -> None:
    pytest.importorskip("rawpy")
    rng = random.Random(5)
    whole = make_dng(64, 48, preview=encoded(picture(1), "JPEG"))
    reasons: set[str] = set()
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(8, 700)] = rng.randrange(256)
        try:
            assert decode_bytes(bytes(data), target_px=32).image.mode == "RGB"
        except ImageRefused as refusal:
            reasons.add(refusal.reason)
    assert reasons
    assert reasons <= set(REASONS)
