"""EXIF: dates, places and orientation out of good and bad metadata; nothing here ever raises."""

from __future__ import annotations

import struct
from datetime import datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.hostile import exif_block

from peyda.images.exif import NO_EXIF, read_exif
from peyda.images.ifd import TiffBytes

NORTH_EAST = {1: "N", 2: (35.0, 41.0, 21.0), 3: "E", 4: (51.0, 23.0, 20.0)}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2019:05:04 03:02:01", "2019-05-04T03:02:01"),
        ("2019-05-04T03:02:01+03:30", "2019-05-04T03:02:01"),
        ("2019/05/04 03:02:01.25", "2019-05-04T03:02:01"),
        ("2019: 5: 4  3: 2: 1", "2019-05-04T03:02:01"),
        ("2019:05:04", "2019-05-04T00:00:00"),
        ("2019:05:04 03:02", "2019-05-04T03:02:00"),
        ("2020:02:29 23:59:59", "2020-02-29T23:59:59"),
        ("2019:02:29 00:00:00", None),
        ("0000:00:00 00:00:00", None),
        ("2019:13:01 00:00:00", None),
        ("2019:05:04 24:00:00", None),
        ("    :  :     :  :  ", None),
        ("9999:12:31 23:59:59", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_dates(text: str, wanted: str | None) -> None:
    assert read_exif(exif_block(date=text or "\0")).taken_at == wanted


def test_a_date_to_come_is_none_but_other_zones_are_let_through() -> None:
    now = datetime.now()
    for days, is_read in ((1, True), (30, False)):
        text = (now + timedelta(days=days)).strftime("%Y:%m:%d %H:%M:%S")
        assert (read_exif(exif_block(date=text)).taken_at is not None) is is_read


def test_the_first_usable_date_wins() -> None:
    exif = Image.Exif()
    exif[0x0132] = "2003:03:03 03:03:03"
    inner = exif.get_ifd(0x8769)
    inner[0x9004] = "2002:02:02 02:02:02"
    inner[0x9003] = "2001:01:01 01:01:01"
    assert read_exif(exif.tobytes()).taken_at == "2001-01-01T01:01:01"
    inner[0x9003] = "0000:00:00 00:00:00"
    assert read_exif(exif.tobytes()).taken_at == "2002-02-02T02:02:02"
    del inner[0x9004]
    assert read_exif(exif.tobytes()).taken_at == "2003-03-03T03:03:03"


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, (35.689167, 51.388889)),
        ({1: "S", 3: "W"}, (-35.689167, -51.388889)),
        ({1: "n", 3: "e"}, (35.689167, 51.388889)),
        ({2: (35.5,), 4: (51.5,)}, (35.5, 51.5)),
        ({2: (90.0, 0.0, 0.0), 4: (180.0, 0.0, 0.0)}, (90.0, 180.0)),
        ({2: (90.0, 0.0, 1.0)}, None),
        ({4: (181.0, 0.0, 0.0)}, None),
        ({1: "X"}, None),
        ({1: None}, None),
        ({2: None}, None),
        ({3: None, 4: None}, None),
        ({2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)}, None),
    ],
)
def test_places(changes: dict[int, object], wanted: tuple[float, float] | None) -> None:
    gps = {tag: value for tag, value in (NORTH_EAST | changes).items() if value is not None}
    facts = read_exif(exif_block(gps=gps))
    if wanted is None:
        assert (facts.latitude, facts.longitude) == (None, None)
    else:
        assert (facts.latitude, facts.longitude) == pytest.approx(wanted, abs=1e-6)


def test_zero_denominators_are_no_place() -> None:
    block = exif_block(gps=NORTH_EAST)
    at = block.index(struct.pack(">IIII", 35, 1, 41, 1) if b"MM\0*" in block else struct.pack("<IIII", 35, 1, 41, 1))
    for part in range(3):
        broken = bytearray(block)
        broken[at + 8 * part + 4 : at + 8 * part + 8] = bytes(4)
        assert read_exif(bytes(broken)).latitude is None
        assert read_exif(bytes(broken)).longitude is None


@pytest.mark.parametrize(("value", "wanted"), [(0, 1), (1, 1), (6, 6), (8, 8), (9, 1), (65535, 1)])
def test_orientation_is_one_to_eight(value: int, wanted: int) -> None:
    assert read_exif(exif_block(value)).orientation == wanted


def test_all_prefixes_and_orders() -> None:
    body = struct.pack("<HHHII", 1, 0x0112, 3, 1, 6) + bytes(4)
    little = b"II*\0\x08\0\0\0" + body
    big = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHH", 1, 0x0112, 3, 1, 6, 0) + bytes(4)
    huge = b"II+\0\x08\0\0\0" + struct.pack("<QQHHQQ", 16, 1, 0x0112, 3, 1, 6) + bytes(8)
    for block in (little, big, huge):
        assert read_exif(block).orientation == 6
        assert read_exif(b"Exif\0\0" + block).orientation == 6
        assert read_exif(b"Exif\0\0Exif\0\0" + block).orientation == 6


def test_no_exif_is_no_facts() -> None:
    for block in (None, b"", b"Exif\0\0", b"II*\0", b"MM\0*\xff\xff\xff\xff" + bytes(20), b"Exif\0\0JUNK" * 9):
        assert read_exif(block) == NO_EXIF


def test_a_directory_that_points_at_itself_ends() -> None:
    block = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    assert read_exif(block) == NO_EXIF


VALID = exif_block(6, "2019:05:04 03:02:01", NORTH_EAST)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), max_size=12), st.integers(0, len(VALID))
)
@example([], len(VALID))
def test_damaged_exif_gives_possible_facts(changes: list[tuple[int, int]], length: int) -> None:
    block = bytearray(VALID)
    for at, value in changes:
        block[at] = value
    facts = read_exif(bytes(block[:length]))
    assert 1 <= facts.orientation <= 8
    assert facts.taken_at is None or datetime.fromisoformat(facts.taken_at)
    assert (facts.latitude is None) == (facts.longitude is None)
    if facts.latitude is not None and facts.longitude is not None:
        assert abs(facts.latitude) <= 90
        assert abs(facts.longitude) <= 180


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]))
def test_any_bytes_are_a_directory_or_none(data: bytes, magic: bytes) -> None:
    tiff = TiffBytes.parse(magic + data)
    if tiff is None:
        return
    fields, following = tiff.directory(tiff.first)
    assert following >= 0
    for field in fields.values():
        assert field.position + field.size_bytes <= len(tiff.data)
        assert all(isinstance(value, int) for value in tiff.integers(field))
        assert isinstance(tiff.text(field), str)
        assert all(Fraction(top, bottom or 1) is not None for top, bottom in tiff.fractions(field))
