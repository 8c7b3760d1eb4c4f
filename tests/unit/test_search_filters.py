"""What a person may write as a filter, and what each slip is answered with."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peyda.errors import QueryError
from peyda.search import parse_where
from peyda.types import Where

MARCH_20 = 1710892800.0  # 2024-03-20T00:00:00


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01", 0.0),
        ("1969-12-31", -86400.0),
        ("2024", 1704067200.0),
        ("2024-03", 1709251200.0),
        ("2024-3-20", MARCH_20),
        ("2024/03/20", MARCH_20),
        ("2024.03.20", MARCH_20),
        ("۲۰۲۴-۰۳-۲۰", MARCH_20),
        ("٢٠٢٤/٠٣/٢٠", MARCH_20),
        ("\u200e2024-03-20\u200f", MARCH_20),
        ("  2024-03-20 ", MARCH_20),
        ("2024-03-20T18:30", MARCH_20 + 18.5 * 3600),
        ("2024-03-20 18:30:05", MARCH_20 + 18.5 * 3600 + 5),
        ("2024-03-20T18:30:05.25", MARCH_20 + 18.5 * 3600 + 5.25),
        (date(2024, 3, 20), MARCH_20),
        (datetime(2024, 3, 20, 18, 30), MARCH_20 + 18.5 * 3600),
    ],
)
def test_one_moment_in_many_forms(text: str | date, seconds: float) -> None:
    assert parse_where(after=text) == Where(after=seconds)
    assert parse_where(before=text) == Where(before=seconds)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("yesterday", "not a date"),
        ("20-03-2024", "not a date"),
        ("2024-02-30", "not a date"),
        ("2024-13-01", "not a date"),
        ("2024-03-20T25:00", "not a date"),
        ("2024-03-20Z", "time zone"),
        ("2024-03-20T10:00Z", "time zone"),
        ("2024-03-20T10:00+03:30", "time zone"),
        ("0000-01-01", "impossible year"),
        ("۱۴۰۳-۰۱-۰۱", "Persian or lunar calendar"),
        (date(1403, 1, 1), "Persian or lunar calendar"),
        (datetime(2024, 3, 20, tzinfo=UTC), "time zone"),
        (datetime(2024, 3, 20, tzinfo=timezone(timedelta(hours=3.5))), "time zone"),
        ("x" * 10_000, "not a date"),
        ("2024-03-20\x1b[31m", "not a date"),
    ],
)
@pytest.mark.parametrize("label", ["after", "before"])
def test_a_slip_is_named_with_the_right_form(label: str, text: str | date, says: str) -> None:
    with pytest.raises(QueryError, match=says) as refusal:
        parse_where(**{label: text})
    assert f"'{label}'" in refusal.value.message
    assert "2024" in refusal.value.hint or "tzinfo" in refusal.value.hint
    assert len(refusal.value.message) < 200
    assert refusal.value.message.isprintable()


@given(st.text(max_size=40))
def test_any_text_is_a_moment_or_a_query_error(text: str) -> None:
    try:
        where = parse_where(after=text)
    except QueryError:
        return
    assert where.after is not None or not text.strip()


@given(st.datetimes(min_value=datetime(1600, 1, 1), max_value=datetime(9999, 12, 31)))
def test_iso_text_means_what_the_datetime_means(moment: datetime) -> None:
    assert parse_where(after=moment.isoformat()) == parse_where(after=moment)


def test_what_is_blank_is_not_given() -> None:
    assert parse_where("", " ", "") == Where()
    assert parse_where(None, None, None).is_empty


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(QueryError, match="not earlier"):
        parse_where(after="2024-03-20", before="2024-03-20")


def test_folders_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    here = os.getcwd()
    assert parse_where("عکس/۱۴۰۲").folder == os.path.join(here, "عکس/۱۴۰۲")
    assert parse_where(".").folder == here
    assert parse_where("/a//b/../c/").folder == "/a/c"
    assert parse_where("~/Pictures").folder == "/home/somebody/Pictures"
    assert parse_where("/caf\udce9").folder == "/caf\udce9"
    with pytest.raises(QueryError, match="NUL"):
        parse_where("/a\x00b")


def test_wrong_types_are_the_programmers_mistake() -> None:
    with pytest.raises(TypeError):
        parse_where(after=20240320)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        parse_where(b"/photos")  # type: ignore[arg-type]
