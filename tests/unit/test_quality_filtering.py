"""Filtering a table: which row is rejected for which reason, where the cut lies, and that nothing is lost."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import peyda.quality.filtering as filtering
from peyda.captions import open_reader
from peyda.errors import DataError
from peyda.quality import REASONS, filter_captions
from peyda.quality.rules import EmptyRule

HEADER = ("image", "caption_id", "caption_en", "caption_fa", "engine", "score_mini")


def write(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> Path:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def scored(scores: Sequence[str]) -> list[tuple[str, ...]]:
    """Good rows, told apart by their image."""
    return [(f"{at}.jpg", "0", "", f"گربهٔ شمارهٔ {at}", "x", score) for at, score in enumerate(scores)]


def reasons(path: Path) -> list[str]:
    """The reason of each row; "kept" for those that are."""
    with open_reader(path, duplicates="keep") as reader:
        rows = list(reader)
    for row in rows:
        assert row["kept"] == ("false" if row["reason"] else "true")
    return [row["reason"] or "kept" for row in rows]


def test_each_row_has_its_verdict_and_its_first_reason(tmp_path: Path) -> None:
    rows = [
        ("a.jpg", "0", "A dog runs", "سگی می‌دود", "x", "0.9"),
        ("a.jpg", "1", "A dog runs", "", "x", ""),
        ("a.jpg", "2", "Two dogs run", "چند dogs می‌دوند", "x", "0.1"),
        ("a.jpg", "3", "A dog runs", "سگی می‌دود", "y", "n/a"),
        ("a.jpg", "4", "A dog runs", "سگی می‌دود", "y", "0.3"),
        ("a.jpg", "0", "A dog runs", "سگی در حال دویدن", "x", "0.95"),
        ("a.jpg", "0", "A dog runs", "سگی می‌دود", "y", "nan"),
    ]
    summary = filter_captions(write(tmp_path / "in.csv", rows), tmp_path / "out.csv", by="mini", min_score=0.5)
    expected = ["kept", "empty", "untranslated", "no_score", "low_score", "duplicate_key", "no_score"]
    assert reasons(tmp_path / "out.csv") == expected
    assert summary.reasons == {
        "empty": 1,
        "untranslated": 1,
        "duplicate_key": 1,
        "no_score": 2,
        "low_score": 1,
    }
    assert list(summary.reasons) == [reason for reason in REASONS if reason in summary.reasons]
    assert (summary.rows, summary.kept, summary.cut, summary.by) == (7, 1, 0.5, "score_mini")
    assert summary.engines == {"x": (4, 1), "y": (3, 0)}


def test_a_doubled_key_does_not_cost_the_good_row(tmp_path: Path) -> None:
    rows = [
        ("a.jpg", "0", "A dog runs", "", "x", ""),
        ("a.jpg", "0", "A dog runs", "سگی می‌دود", "x", ""),
        ("a.jpg", "0", "A dog runs", "سگی در حال دویدن", "x", ""),
        ("a.jpg", "0", "A dog runs", "سگی می‌دود", "another engine", ""),
    ]
    filter_captions(write(tmp_path / "in.csv", rows), tmp_path / "out.csv")
    assert reasons(tmp_path / "out.csv") == ["empty", "kept", "duplicate_key", "kept"]


def test_one_output_for_many_sources_is_a_stuck_engine(tmp_path: Path) -> None:
    stuck = [
        (f"{at}.jpg", "0", f"A picture of a thing called {'x' * at}", "تصویری از یک شیء", "x", "") for at in range(12)
    ]
    same = [(f"s{at}.jpg", "0", "A dog runs", "سگی می‌دود", "x", "") for at in range(20)]
    native = [(f"n{at}.jpg", "0", "", "گربه‌ای خوابیده", "", "") for at in range(20)]
    table = write(tmp_path / "in.csv", [*stuck, *same, *native])
    filter_captions(table, tmp_path / "out.csv", rules=[])
    assert reasons(tmp_path / "out.csv") == ["same_output"] * 12 + ["kept"] * 40
    filter_captions(table, tmp_path / "out.csv", rules=[], same_output_sources=13)
    assert set(reasons(tmp_path / "out.csv")) == {"kept"}
    filter_captions(table, tmp_path / "out.csv", rules=[], same_output_sources=0)
    assert set(reasons(tmp_path / "out.csv")) == {"kept"}


def test_the_best_share_of_what_passes_the_rules(tmp_path: Path) -> None:
    rows = [*scored([f"0.{at}" for at in range(1, 9)]), ("e.jpg", "0", "", "", "x", "0.99")]
    summary = filter_captions(write(tmp_path / "in.csv", rows), tmp_path / "out.csv", top=0.5)
    assert reasons(tmp_path / "out.csv") == ["below_top"] * 4 + ["kept"] * 4 + ["empty"]
    assert summary.cut == 0.5


def test_equal_scores_at_the_cut_all_pass(tmp_path: Path) -> None:
    table = write(tmp_path / "in.csv", scored(["0.9", "0.5", "0.5", "0.5", "0.1"]))
    filter_captions(table, tmp_path / "out.csv", top=0.4)
    assert reasons(tmp_path / "out.csv") == ["kept", "kept", "kept", "kept", "below_top"]


def test_a_floor_and_a_share_together(tmp_path: Path) -> None:
    table = write(tmp_path / "in.csv", scored(["0.9", "0.8", "0.7", "0.2"]))
    summary = filter_captions(table, tmp_path / "out.csv", min_score=0.5, top=0.5)
    assert reasons(tmp_path / "out.csv") == ["kept", "kept", "below_top", "low_score"]
    assert summary.cut == 0.8


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 20), min_size=1, max_size=30), st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.8, 1.0]))
def test_the_cut_is_that_of_a_sorted_list(tmp_path: Path, scores: list[int], top: float) -> None:
    summary = filter_captions(
        write(tmp_path / "in.csv", scored([str(score) for score in scores])), tmp_path / "out.csv", top=top
    )
    count = -(-len(scores) * int(top * 10) // 10)
    nth = sorted(scores, reverse=True)[count - 1]
    assert summary.cut == nth
    assert summary.kept == sum(score >= nth for score in scores) >= count


def test_rejects_go_to_their_own_file_and_nothing_is_lost(tmp_path: Path) -> None:
    rows = [(*row, f"note {at}") for at, row in enumerate(scored(["0.9", "", "0.1"]))]
    source = write(tmp_path / "in.csv", rows, [*HEADER, "note"])
    filter_captions(source, tmp_path / "kept.jsonl", rejects=tmp_path / "rejects.tsv", min_score=0.5)
    assert reasons(tmp_path / "kept.jsonl") == ["kept"]
    assert reasons(tmp_path / "rejects.tsv") == ["no_score", "low_score"]
    with open_reader(tmp_path / "kept.jsonl") as kept, open_reader(tmp_path / "rejects.tsv") as rejects:
        assert sorted(row["note"] for row in [*kept, *rejects]) == ["note 0", "note 1", "note 2"]


def test_a_second_run_judges_anew(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", scored(["0.9", "0.1"]))
    filter_captions(table, table, min_score=0.5)
    assert reasons(table) == ["kept", "low_score"]
    filter_captions(table, table, min_score=0.05)
    assert reasons(table) == ["kept", "kept"]


def test_rules_of_ones_own(tmp_path: Path) -> None:
    class NoCats:
        reason = "cat"

        def check(self, pair: object) -> object:
            return (False, "cat") if "گربه" in pair.caption_fa else True  # type: ignore[attr-defined]

    table = write(tmp_path / "in.csv", [*scored([""]), ("e.jpg", "0", "", "", "", "")])
    summary = filter_captions(table, tmp_path / "out.csv", rules=[EmptyRule(), NoCats()])  # type: ignore[list-item]
    assert reasons(tmp_path / "out.csv") == ["cat", "empty"]
    assert summary.reasons == {"empty": 1, "cat": 1}


def test_which_score_decides(tmp_path: Path) -> None:
    header = ("image", "caption_id", "caption_en", "caption_fa", "score_length", "score_mini", "score_labse")
    rows = [("a.jpg", "0", "", "سگ", "1", "0.2", "0.9")]
    both = write(tmp_path / "both.csv", rows, header)
    with pytest.raises(DataError, match="several") as caught:
        filter_captions(both, tmp_path / "out.csv", top=0.5)
    assert "--by" in caught.value.hint
    assert filter_captions(both, tmp_path / "out.csv", by="score_labse", min_score=0.5).kept == 1
    with pytest.raises(DataError, match="no score 'laser'") as caught:
        filter_captions(both, tmp_path / "out.csv", by="laser", min_score=0.5)
    assert "score_labse" in caught.value.hint
    none = write(tmp_path / "none.csv", [row[:5] for row in rows], header[:5])
    with pytest.raises(DataError, match="no score to cut by"):
        filter_captions(none, tmp_path / "out.csv", min_score=0.5)
    one = write(tmp_path / "one.csv", [row[:6] for row in rows], header[:6])
    assert filter_captions(one, tmp_path / "out.csv", min_score=0.1).by == "score_mini"


def test_an_empty_table_is_an_empty_table(tmp_path: Path) -> None:
    summary = filter_captions(write(tmp_path / "in.csv", []), tmp_path / "out.csv")
    assert (summary.rows, summary.kept, summary.reasons) == (0, 0, {})


def test_lines_that_are_no_rows_are_reported(tmp_path: Path) -> None:
    table = write(tmp_path / "in.csv", scored(["0.9"]))
    with open(table, "a", encoding="utf-8") as file:
        file.write("too,few\n")
    summary = filter_captions(table, tmp_path / "out.csv")
    assert [(one.line, one.reason) for one in summary.skipped] == [(3, "wrong_columns")]


def test_a_table_that_changes_under_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write(tmp_path / "in.csv", scored(["0.9", "0.8"]))
    cut = filtering._cut

    def change(*arguments: object) -> object:
        write(table, scored(["0.9"]))
        return cut(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(filtering, "_cut", change)
    with pytest.raises(DataError, match="changed"):
        filter_captions(table, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_mistakes_of_the_caller(tmp_path: Path) -> None:
    table = write(tmp_path / "in.csv", scored(["0.9"]))
    with pytest.raises(ValueError, match="share"):
        filter_captions(table, tmp_path / "out.csv", top=0)
    with pytest.raises(ValueError, match="one file"):
        filter_captions(table, tmp_path / "out.csv", rejects=tmp_path / "out.csv")
