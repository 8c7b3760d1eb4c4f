"""The report: its numbers, its choice of samples, a page that needs nothing else, and the figure."""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from peyda.errors import DataError, StorageError
from peyda.quality.report import ReportFacts, collect, write_report
from peyda.quality.report.charts import ticks
from peyda.quality.report.page import page
from peyda.quality.report.text import shown
from peyda.quality.report.write import to_dict

HEADER = ("image", "caption_id", "caption_en", "caption_fa", "engine", "score_length", "score_mini", "kept", "reason")


def row(at: int, score: float | str, reason: str = "", engine: str = "google", persian: str = "") -> tuple[str, ...]:
    image = ("red", "green", "blue", "gone")[at % 4] + ".jpg"
    kept = "false" if reason else "true"
    return (image, str(at), f"English {at}", persian or f"فارسی {at}", engine, "1", str(score), kept, reason)


def write(path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = HEADER) -> Path:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Forty rows, scores 0.00 to 0.39 twice over two engines; those below 0.10 rejected, some for rules."""
    rows = []
    for at in range(40):
        score = at / 100
        reason = "below_top" if score < 0.1 else "untranslated" if at in (20, 30, 39) else ""
        rows.append(row(at, score, reason, engine="موتور" if at % 2 else "google"))
    rows.append(row(40, "", "empty"))
    return write(tmp_path / "table.csv", rows)


def titles(facts: ReportFacts) -> dict[str, list[str]]:
    return {
        title: [sample.caption_en.removeprefix("English ") for sample in rows] for title, rows in facts.samples.items()
    }


def test_counts_cut_and_histogram(table: Path) -> None:
    facts = collect([table])
    assert (facts.rows, facts.kept, facts.column, facts.is_judged) == (41, 27, "score_mini", True)
    assert facts.reasons == {"below_top": 10, "untranslated": 3, "empty": 1}
    assert facts.cut == pytest.approx(0.1)
    assert int(facts.kept_counts().sum()) == 27
    assert int(facts.other_counts().sum()) == 13, "a row without a score is in no bin"
    assert facts.edges[0] <= 0
    assert facts.edges[-1] >= 0.39
    google, other = facts.engines
    assert (google.name, google.rows, google.kept) == ("google", 21, 13)
    assert (other.name, other.rows, other.kept) == ("موتور", 20, 14)
    assert other.mean == pytest.approx(0.2)
    assert [one.column for one in facts.scores] == ["score_length", "score_mini"]
    assert facts.scores[1].median == pytest.approx(0.195)


def test_samples_are_the_rows_they_are_called(table: Path) -> None:
    found = titles(collect([table], samples=4))
    assert found["Best scores"] == ["38", "37", "36", "35"]
    assert found["Lowest scores that are kept"] == ["10", "11", "12", "13"]
    assert found["Just below the cut"] == ["9", "8", "7", "6"]
    assert set(found["Rejected: untranslated"]) < {"20", "30", "39"}
    assert found["Rejected: empty"] == ["40"]
    assert len(found["Kept, at random"]) == 4
    assert set(found["Kept, at random"]) <= {str(at) for at in range(10, 39)} - {"20", "30"}


def test_the_same_table_gives_the_same_samples(table: Path) -> None:
    assert titles(collect([table])) == titles(collect([table]))
    assert titles(collect([table], seed=1)) != titles(collect([table]))
    assert collect([table], samples=0).samples == {}


def test_best_samples_are_not_one_caption_many_times(tmp_path: Path) -> None:
    rows = [row(at, 0.9, persian="یکی") for at in range(10)] + [row(50, 0.5), row(51, 0.4)]
    assert titles(collect([write(tmp_path / "t.csv", rows)], samples=3))["Best scores"] == ["0", "50", "51"]


def test_several_tables_are_one(tmp_path: Path, table: Path) -> None:
    kept = write(tmp_path / "kept.csv", [row(1, 0.9)])
    rejects = write(tmp_path / "rejects.csv", [row(2, 0.1, "low_score")])
    facts = collect([kept, rejects])
    assert (facts.rows, facts.kept, facts.cut) == (2, 1, 0.9)
    assert titles(facts)["Just below the cut"] == ["2"]


def test_a_table_that_was_not_filtered(tmp_path: Path) -> None:
    rows = [row(at, at / 10)[:7] for at in range(5)]
    facts = collect([write(tmp_path / "t.csv", rows, HEADER[:7])])
    assert (facts.is_judged, facts.kept, facts.cut, facts.reasons) == (False, 5, None, {})
    assert "not filtered yet" in "".join(page(facts, {}))
    assert collect([tmp_path / "t.csv"], cut=0.25).cut == 0.25


def test_a_table_without_scores(tmp_path: Path) -> None:
    rows = [(*row(at, "")[:4], "true", "") for at in range(3)]
    header = (*HEADER[:4], "kept", "reason")
    facts = collect([write(tmp_path / "t.csv", rows, header)])
    assert facts.column is None
    assert "<svg" not in "".join(page(facts, {}))
    write_report(facts, tmp_path / "out")
    assert (tmp_path / "out/report.png").is_file()


def test_which_score_is_shown(tmp_path: Path) -> None:
    header = ("image", "caption_id", "caption_fa", "score_length", "score_labse", "score_mini")
    path = write(tmp_path / "t.csv", [("a.jpg", "0", "سگ", "1", "0.5", "0.6")], header)
    assert collect([path]).column == "score_mini"
    assert collect([path], by="labse").column == "score_labse"
    with pytest.raises(DataError, match="no score 'x'") as caught:
        collect([path], by="x")
    assert "score_labse" in caught.value.hint
    with pytest.raises(DataError, match="no rows"):
        collect([write(tmp_path / "empty.csv", [], header)])


def test_a_rejected_row_without_a_reason_is_counted(tmp_path: Path) -> None:
    rows = [(*row(1, 0.5)[:7], "0", ""), (*row(2, 0.5)[:7], "", "")]
    facts = collect([write(tmp_path / "t.csv", rows)])
    assert (facts.kept, facts.reasons) == (1, {"not_kept": 1})


class Outline(HTMLParser):
    """What a page refers to, and whether its elements are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.directions: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if found.get("class") == "fa":
            self.directions.append((found["lang"] or "", found["dir"]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("red", "green", "blue"):
        Image.new("RGB", (600, 400), name).save(folder / f"{name}.jpg")
    (folder / "blue.jpg").write_bytes(b"no photograph")
    return folder


def test_the_page_needs_nothing_else(table: Path, photographs: Path, tmp_path: Path) -> None:
    facts = collect([table])
    written = write_report(facts, tmp_path / "out", images=photographs)
    text = Path(written.page).read_text(encoding="utf-8")
    outline = Outline()
    outline.feed(text)
    assert outline.open == []
    assert outline.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in outline.addresses)
    assert "<script" not in text
    assert "http:" not in text
    assert "https:" not in text
    assert "default-src 'none'" in text
    assert len(outline.directions) == sum(map(len, facts.samples.values()))
    assert set(outline.directions) == {("fa", "rtl")}
    assert "prefers-color-scheme: dark" in text
    assert "cut 0.100" in text
    assert text.count("no photograph") > 0
    assert sorted((one.path, one.reason) for one in written.skipped) == [
        ("blue.jpg", "not_an_image"),
        ("gone.jpg", "not_found"),
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "report.json", "report.png"]


def test_numbers_beside_the_page(table: Path, tmp_path: Path) -> None:
    facts = collect([table])
    write_report(facts, tmp_path / "out")
    numbers = json.loads((tmp_path / "out/report.json").read_text(encoding="utf-8"))
    assert numbers == to_dict(facts)
    assert (numbers["rows"], numbers["kept"], numbers["cut"]) == (41, 27, 0.1)
    assert sum(numbers["histogram"]["kept"]) == 27
    assert numbers["engines"][1]["engine"] == "موتور"
    assert numbers["reasons"]["below_top"] == 10


def test_text_of_a_table_is_only_text(tmp_path: Path) -> None:
    hostile = '<script>alert(1)</script>"\x00\u202e\u2028 & $x_1$ ' + "\U000f0000"
    rows = [row(1, 0.5, persian=hostile), row(2, 0.5, reason=hostile, engine=hostile)]
    header = tuple(hostile if name == "score_length" else name for name in HEADER)
    facts = collect([write(tmp_path / "t.csv", rows, header)])
    text = "".join(page(facts, {}))
    assert "<script" not in text
    assert "\x00" not in text
    outline = Outline()
    outline.feed(text)
    assert outline.open == []
    write_report(facts, tmp_path / "out")  # matplotlib takes $…$ for a formula
    assert shown("a" * 400) == "a" * 299 + "…"


def test_the_figure_is_a_picture_with_all_its_panels(table: Path, tmp_path: Path) -> None:
    written = write_report(collect([table]), tmp_path / "out")
    assert written.figure is not None
    with Image.open(written.figure) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        assert picture.width > 1_000
    for colour in ((0x2F, 0x7D, 0x6B), (0xC9, 0x70, 0x5A)):  # kept, rejected
        assert (pixels == colour).all(axis=1).sum() > 1_000


def test_without_matplotlib_there_is_a_page_and_advice(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    written = write_report(collect([table]), tmp_path / "out")
    assert written.figure is None
    assert written.figure_problem is not None
    assert "peyda[measure]" in written.figure_problem.hint
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "report.json"]


def test_a_matplotlib_that_cannot_shape_persian_is_refused(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib

    old = ModuleType("matplotlib.ft2font")
    monkeypatch.setitem(sys.modules, "matplotlib.ft2font", old)
    monkeypatch.setattr(matplotlib, "ft2font", old, raising=False)
    written = write_report(collect([table]), tmp_path / "out")
    assert written.figure_problem is not None
    assert "Persian" in written.figure_problem.message


def test_a_place_that_cannot_be_written(table: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_report(collect([table]), tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.27, 0.31), (0.0, 3_000_000.0), (5.0, 5.0), (0.1, 0.7)]
)
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 1 <= len(found) <= 22
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)
    assert all(re.fullmatch(r"-?\d*\.?\d*(e\+?\d+)?", f"{tick:g}") for tick in found)
    assert not any(math.isnan(tick) for tick in found)
