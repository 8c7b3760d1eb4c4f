"""What Peyda wants from EXIF: which way is up, when, and where. Nothing else is read.

A reader of its own because metadata must never cost the photograph (Pillow raises or warns on damaged EXIF) and
because it is read for every file. Source: EXIF 2.32 (CIPA DC-008), section 4.6.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from peyda.images.ifd import Field, TiffBytes

_ORIENTATION, _DATE_TIME, _EXIF_IFD, _GPS_IFD = 0x0112, 0x0132, 0x8769, 0x8825
_DATE_TIME_ORIGINAL, _DATE_TIME_DIGITIZED = 0x9003, 0x9004
_DATE = re.compile(
    r"\s*(\d{4})\D{1,2}(\d{1,2})\D{1,2}(\d{1,2})(?:\D{1,2}(\d{1,2})\D{1,2}(\d{1,2})(?:\D{1,2}(\d{1,2}))?)?"
)


@dataclass(frozen=True, slots=True)
class ExifFacts:
    """`orientation` is 1 to 8; `taken_at` is ISO 8601 to the second without a zone; degrees are WGS 84."""

    orientation: int = 1
    taken_at: str | None = None
    latitude: float | None = None
    longitude: float | None = None


NO_EXIF = ExifFacts()


def read_exif(block: bytes | None) -> ExifFacts:
    """Read an EXIF block (with or without its "Exif" prefix) or a whole TIFF file.

    Never raises: what is damaged, missing or impossible is left at its default.
    """
    if not block:
        return NO_EXIF
    for _ in range(2):  # some writers put the prefix twice
        block = block.removeprefix(b"Exif\0\0")
    tiff = TiffBytes.parse(block)
    if tiff is None:
        return NO_EXIF
    main, _ = tiff.directory(tiff.first)
    orientation = tiff.integer(main.get(_ORIENTATION), 1)
    exif = tiff.directory(tiff.integer(main[_EXIF_IFD]))[0] if _EXIF_IFD in main else {}
    dates = (exif.get(_DATE_TIME_ORIGINAL), exif.get(_DATE_TIME_DIGITIZED), main.get(_DATE_TIME))
    taken_at = next((date for field in dates if (date := _date(tiff.text(field)))), None)
    latitude, longitude = _place(tiff, main.get(_GPS_IFD))
    return ExifFacts(orientation if 1 <= orientation <= 8 else 1, taken_at, latitude, longitude)


def _date(text: str) -> str | None:
    """ISO 8601 of an EXIF date; None for "0000:00:00", an impossible day or one to come.

    Two days of grace: a camera's clock has no zone, and may be set to one ahead of this machine's.
    """
    match = _DATE.match(text)
    if match is None:
        return None
    try:
        date = datetime(*(int(part or 0) for part in match.groups()))  # type: ignore[arg-type]
        if date > datetime.now() + timedelta(days=2):
            return None
    except (ValueError, OverflowError):
        return None
    return date.isoformat(timespec="seconds")


def _place(tiff: TiffBytes, pointer: Field | None) -> tuple[float | None, float | None]:
    """(latitude, longitude), or (None, None): half a place is none.

    Exactly 0, 0 is what cameras write before they know where they are.
    """
    if pointer is None:
        return None, None
    gps, _ = tiff.directory(tiff.integer(pointer))
    latitude = _degrees(tiff, gps.get(1), gps.get(2), "N", "S", 90)
    longitude = _degrees(tiff, gps.get(3), gps.get(4), "E", "W", 180)
    if latitude is None or longitude is None or latitude == longitude == 0:
        return None, None
    return latitude, longitude


def _degrees(
    tiff: TiffBytes, side: Field | None, field: Field | None, positive: str, negative: str, most: int
) -> float | None:
    letter = tiff.text(side)[:1].upper()
    parts = tiff.fractions(field, 3)
    if letter not in (positive, negative) or not parts or any(bottom == 0 for _, bottom in parts):
        return None
    value: float = sum(top / bottom / 60**power for power, (top, bottom) in enumerate(parts))
    if not 0 <= value <= most:
        return None
    return round(-value if letter == negative else value, 7)
