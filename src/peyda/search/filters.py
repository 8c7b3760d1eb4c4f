"""What a person writes as a filter → a `Where`: folders, and dates in ISO form with any digits.

Owns the reading of filters for the command line, Python and HTTP alike, so that one text means one thing everywhere.
The clock has no zone, like the one in cameras (`Photo.taken_at`). Dates of the Persian calendar are not read yet; a
year that looks like one is refused by name rather than searched a millennium too early.
"""

from __future__ import annotations

import os
import re
import unicodedata
from datetime import UTC, date, datetime

from peyda.errors import QueryError
from peyda.types import Where

DateLike = str | date | datetime

_FORM = "write it as YYYY-MM-DD, for instance 2024-03-20, or 2024-03-20T18:30 for a moment of that day"
_DATE = re.compile(
    r"(?P<year>\d{4})"
    r"(?:[-/.](?P<month>\d{1,2})"
    r"(?:[-/.](?P<day>\d{1,2})"
    r"(?:[T\s]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<fraction>\d{1,6}))?)?)?)?)?"
)
_ZONE = re.compile(r"\s*(?:Z|[+-]\d{2}:?\d{2})$", re.IGNORECASE)
_FIRST_YEAR = 1600
"""Photography is younger; years below it are slips or another calendar."""


def parse_where(
    folder: str | os.PathLike[str] | None = None,
    after: DateLike | None = None,
    before: DateLike | None = None,
) -> Where:
    """Read the filters of a search.

    Args:
        folder: A directory; its whole subtree matches. A relative one is taken from the current directory and `~` is
            expanded. It need not exist (its disk may be unplugged).
        after: Photographs taken at this moment or later. "2024", "2024-03", "2024-03-20", "2024-03-20T18:30" or
            "2024-03-20 18:30:05", with ASCII, Persian or Arabic digits; or a `date` or zoneless `datetime`.
        before: Photographs taken before this moment, which is itself excluded; same forms.

    Blank strings count as not given, because that is what an empty field of a form sends.

    Raises:
        QueryError: A date that cannot be read, a range in which nothing can lie, or an impossible folder name.

    >>> parse_where(after="۲۰۲۴-۰۳-۲۰") == parse_where(after="2024-03-20")
    True
    >>> parse_where().is_empty
    True
    """
    start, end = _moment("after", after), _moment("before", before)
    if start is not None and end is not None and start >= end:
        raise QueryError(
            "no photograph can lie in that range: 'after' is not earlier than 'before'",
            hint="swap the two dates; 'after' is included in the range and 'before' is not",
        )
    return Where(folder=_folder(folder), after=start, before=end)


def _folder(folder: str | os.PathLike[str] | None) -> str | None:
    if folder is None:
        return None
    name = os.fspath(folder)
    if not isinstance(name, str):
        raise TypeError(f"folder must be str or a path of str, not {type(folder).__name__}")
    if not name.strip():
        return None
    if "\x00" in name:
        raise QueryError("a folder name cannot hold a NUL character", hint="give the folder as it is on disk")
    return os.path.abspath(os.path.expanduser(name))


def _moment(label: str, value: DateLike | None) -> float | None:
    """Seconds since 1970-01-01 on the zoneless clock; None for "not given"."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str):
        return _seconds(_read(label, value))
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            raise QueryError(
                f"'{label}' has a time zone, but photographs carry the camera's own clock, which has none",
                hint="pass a datetime without tzinfo",
            )
        _check_year(label, value.year, str(value))
        return _seconds(value)
    if isinstance(value, date):
        return _moment(label, datetime(value.year, value.month, value.day))
    raise TypeError(f"{label} must be str, date or datetime, not {type(value).__name__}")


def _read(label: str, text: str) -> datetime:
    plain = _ascii_digits(text).strip()
    shown = f"'{text[:40]}'" if text[:40].isprintable() else ascii(text[:40])
    match = _DATE.fullmatch(plain)
    if match is None:
        if _DATE.fullmatch(_ZONE.sub("", plain)):
            raise QueryError(
                f"'{label}' has a time zone ({shown}), but photographs carry the camera's own clock, which has none",
                hint=_FORM,
            )
        raise QueryError(f"'{label}' is not a date: {shown}", hint=_FORM)
    parts = {name: int(value) for name, value in match.groupdict().items() if value is not None}
    _check_year(label, parts["year"], shown)
    try:
        return datetime(
            parts["year"],
            parts.get("month", 1),
            parts.get("day", 1),
            parts.get("hour", 0),
            parts.get("minute", 0),
            parts.get("second", 0),
            int((match["fraction"] or "0").ljust(6, "0")),
        )
    except ValueError as error:
        raise QueryError(f"'{label}' is not a date: {shown} ({error})", hint=_FORM) from None


def _check_year(label: str, year: int, shown: str) -> None:
    if 1200 <= year < _FIRST_YEAR:
        raise QueryError(
            f"'{label}' looks like a date of the Persian or lunar calendar: {shown}",
            hint="write the Gregorian date, for instance 2024-03-20 for 1403-01-01",
        )
    if year < _FIRST_YEAR:
        raise QueryError(f"'{label}' has an impossible year: {shown}", hint=_FORM)


def _seconds(moment: datetime) -> float:
    return moment.replace(tzinfo=UTC).timestamp()


def _ascii_digits(text: str) -> str:
    """Any decimal digit of Unicode in ASCII, and without the invisible marks that right-to-left editors leave."""
    visible = (char for char in text if unicodedata.category(char) != "Cf")
    return "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in visible)
