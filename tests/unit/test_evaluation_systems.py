"""Several translators and several scorers in one run: numbers, tests between them, figures, pages, the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from peyda.cli.main import main
from peyda.errors import DataError, ModelError
from peyda.evaluation.hypotheses import TranslationTable, read_translations
from peyda.evaluation.parallel import PairSource, read_pairs
from peyda.evaluation.scorer import damaged_captions, evaluate_scorer
from peyda.evaluation.translation import evaluate_translation
from peyda.metrics.separation import area_under_curve
from peyda.translate import Failed, Outcome, Translated

pytest.importorskip("sacrebleu")

NOUNS = {"dog": "سگ", "cat": "گربه", "boy": "پسر", "girl": "دختر", "horse": "اسب", "bird": "پرنده"}
COLOURS = {"red": "قرمز", "blue": "آبی", "green": "سبز", "white": "سفید"}


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    """24 pairs of 12 photographs: `captions.csv`, whose column caption_b is wrong in every third row."""
    lines = ["image,caption_id,caption_en,caption_fa,caption_b"]
    for at, (noun, colour) in enumerate((noun, colour) for noun in NOUNS for colour in COLOURS):
        english = f"A {colour} {noun} sits near two trees in the park ."
        persian = f"{NOUNS[noun]} {COLOURS[colour]} کنار دو درخت در پارک نشسته‌است"
        other = persian if at % 3 else f"یک {NOUNS[noun]} در باغ"
        lines.append(f"{at // 2}.jpg,{at % 2},{english},{persian},{other}")
    path = tmp_path / "captions.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


class _Engine:
    label, identity, longest_text, batch_size, concurrency, calls_per_s = "perfect", "v1", 100, 5, 1, None

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers

    def translate(self, texts: Sequence[str]) -> list[Outcome]:
        return [Translated(self.answers[text]) if text in self.answers else Failed("refused") for text in texts]

    def close(self) -> None: ...


def _perfect(captions: Path) -> _Engine:
    return _Engine({pair.english: pair.persian for pair in read_pairs(PairSource(captions)).pairs})


# --- translations that are there already ---------------------------------------------------------------------------


def test_every_engine_of_a_table_is_a_system_and_missing_rows_have_no_translation(
    captions: Path, tmp_path: Path
) -> None:
    pairs = read_pairs(PairSource(captions)).pairs
    rows = ["image,caption_id,caption_fa,engine"]
    rows += [f"else/where/{pair.image},{pair.caption_id},{pair.persian},google" for pair in pairs]
    rows += [f"{pairs[0].image},{pairs[0].caption_id},سگ,mini", "no.jpg,0,گربه,third"]
    (tmp_path / "made.csv").write_text("\n".join(rows), encoding="utf-8")
    google, mini = read_translations(TranslationTable(tmp_path / "made.csv"), pairs)
    assert (google.name, google.failed, google.texts) == ("google", 0, [pair.persian for pair in pairs])
    assert (mini.name, mini.failed, mini.texts[:2]) == ("mini", 23, ["سگ", ""])


def test_a_column_is_a_system_and_filters_choose_rows(captions: Path) -> None:
    pairs = read_pairs(PairSource(captions)).pairs
    (one,) = read_translations(TranslationTable(captions, "caption_b"), pairs)
    assert (one.name, one.failed, one.captions_per_second) == ("caption_b", 0, None)
    (one,) = read_translations(TranslationTable(captions, "caption_b", {"caption_id": ["1"], "kind": ["x"]}), pairs)
    assert one.failed == 12


def test_a_table_of_other_captions_or_without_the_column_is_refused(captions: Path, tmp_path: Path) -> None:
    pairs = read_pairs(PairSource(captions)).pairs
    (tmp_path / "other.csv").write_text("image,caption_id,caption_fa\nno.jpg,0,سگ\n", encoding="utf-8")
    with pytest.raises(DataError, match="no translation of these captions"):
        read_translations(TranslationTable(tmp_path / "other.csv"), pairs)
    with pytest.raises(DataError, match="caption_x"):
        read_translations(TranslationTable(captions, "caption_x"), pairs)


# --- several translators -------------------------------------------------------------------------------------------


def test_several_translators_are_measured_on_the_same_captions_and_compared(captions: Path, tmp_path: Path) -> None:
    systems = [_perfect(captions), TranslationTable(captions, "caption_b"), _perfect(captions)]
    report = evaluate_translation(systems, PairSource(captions))
    assert [one["model"] for one in report.metrics] == ["perfect", "caption_b", "perfect 2"]
    assert [one["chrf"] for one in report.metrics] == [100.0, pytest.approx(75, abs=12), 100.0]
    low, high = report.metrics[1]["ci95"]["bleu"]
    assert 0 <= low < report.metrics[1]["bleu"] < high < 100
    assert all(one["captions"] == 24 and one["images"] == 12 for one in report.metrics)
    tests = {(one["metric"], one["first"], one["second"]): one for one in report.comparisons}
    assert len(tests) == 6
    worse, same = tests["chrf", "perfect", "caption_b"], tests["chrf", "perfect", "perfect 2"]
    assert worse["difference"] == pytest.approx(report.metrics[1]["chrf"] - 100, abs=0.011)
    assert worse["ci95"][0] < worse["difference"] < worse["ci95"][1] < 0
    assert worse["p"] < worse["p_holm"] < 0.05
    assert (same["difference"], same["p"], same["p_holm"]) == (0.0, 1.0, 1.0)
    assert report.run["systems"][1] == {
        "model": "caption_b", "table": "captions.csv", "column": "caption_b", "engine": "",
    }  # fmt: skip
    again = evaluate_translation(systems, PairSource(captions))
    assert again.comparisons == report.comparisons
    assert report.write(tmp_path / "out").figure_problem is None
    assert (tmp_path / "out/chrf_of_captions.png").stat().st_size > 1_000
    lines = [json.loads(line) for line in (tmp_path / "out/translations.jsonl").read_text("utf-8").splitlines()]
    assert [line["model"] for line in lines] == ["perfect"] * 24 + ["caption_b"] * 24 + ["perfect 2"] * 24
    worst = [line["chrf"] for line in lines[24:48]]
    assert worst == sorted(worst)


def test_the_page_of_translations_is_self_contained_right_to_left_and_holds_no_markup_of_data(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    rows = ["image,caption_id,caption_en,caption_fa,other"]
    rows += [f"{at}.jpg,0,<script>x</script> {at},پسر <b>{at}</b>,{'سگ <i>' if at else ''}" for at in range(3)]
    table.write_text("\n".join(rows), encoding="utf-8")
    evaluate_translation(TranslationTable(table, "other"), PairSource(table)).write(tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert '<span class="said" lang="fa" dir="rtl">پسر &lt;b&gt;1&lt;/b&gt;</span>' in page
    assert '<span class="said" lang="en" dir="ltr">&lt;script&gt;' in page
    assert not re.search(r"<script|<b>|<i>|https?://", page)
    assert "data:image/png;base64," in page
    for heading in ("Systems", "Caption by caption", "Worst translations", "Best translations"):
        assert f"<h2>{heading}</h2>" in page
    assert "Is one better?" not in page


def test_without_matplotlib_translations_have_numbers_and_a_page(
    captions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    written = evaluate_translation(_perfect(captions), PairSource(captions)).write(tmp_path / "out")
    assert written.figure_problem is not None
    assert "peyda[measure]" in written.figure_problem.hint
    assert "<img" not in (tmp_path / "out/report.html").read_text(encoding="utf-8")


# --- several scorers -----------------------------------------------------------------------------------------------


class _Words:
    """Knows some Persian words by their English ones; a sentence is the sum of its words."""

    embed_dim, fingerprint = 24, "words"

    def __init__(self, name: str, words: dict[str, str]) -> None:
        self.name = name
        known = ["dog", "cat", "boy", "girl", "horse", "bird", "red", "blue", "green", "white", "two"]
        self.rows = {word: at for at, word in enumerate(known)}
        self.rows |= {persian: self.rows[english] for english, persian in words.items()}

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        out = np.full((len(texts), 24), 1e-3, np.float32)
        for at, text in enumerate(texts):
            for word in re.findall(r"\w+", text):
                out[at, self.rows.get(word, 23)] += 1.0 if word in self.rows else 0.05
        return out / np.linalg.norm(out, axis=1, keepdims=True)


def test_several_scorers_are_measured_on_the_same_damages_and_compared(captions: Path, tmp_path: Path) -> None:
    good, poor = _Words("good", {**NOUNS, **COLOURS, "two": "دو"}), _Words("poor", COLOURS)
    report = evaluate_scorer([good, poor, good], PairSource(captions))
    first, second, third = report.metrics
    assert [one["model"] for one in report.metrics] == ["good", "poor", "good 2"]
    assert first["english_to_persian"]["accuracy_at_1"] == 1.0
    assert second["english_to_persian"]["accuracy_at_1"] < 0.5
    assert {**first, "model": "good 2"} == third
    low, high = second["ci95"]["area_under_curve"]
    assert low < second["area_under_curve"] < high
    of_damages = [one["area_under_curve"] for one in second["damages"].values()]
    assert second["area_under_curve"] == pytest.approx(np.mean(of_damages), abs=1e-4)
    tests = {(one["metric"], one["first"], one["second"]): one for one in report.comparisons}
    assert len(tests) == 9
    area = tests["area_under_curve", "good", "poor"]
    assert area["difference"] == pytest.approx(second["area_under_curve"] - first["area_under_curve"], abs=2e-4)
    assert area["ci95"][1] < 0
    assert area["p"] <= area["p_holm"] < 0.05
    assert tests["area_under_curve", "good", "good 2"]["p"] == 1.0
    assert tests["english_to_persian_accuracy_at_1", "good", "poor"]["p_holm"] < 0.01
    report.write(tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out/scores.jsonl").read_text("utf-8").splitlines()]
    mine = [line for line in lines if line["model"] == "poor" and line["damage"] == "swapped_noun"]
    found = area_under_curve(report.results[1].true, [line["damaged_score"] for line in mine])
    assert second["damages"]["swapped_noun"]["area_under_curve"] == pytest.approx(found, abs=1e-4)
    for name in ("scores.png", "roc.png"):
        assert (tmp_path / "out" / name).stat().st_size > 1_000


def test_the_page_of_scorers_shows_what_was_told_apart_worst_and_best(captions: Path, tmp_path: Path) -> None:
    pairs = read_pairs(PairSource(captions)).pairs
    colours = _Words("colours <only>", COLOURS)
    report = evaluate_scorer([colours, _Words("good", {**NOUNS, **COLOURS})], PairSource(captions))
    report.write(tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    for name in ("colours &lt;only&gt;", "good"):
        for heading in ("Told apart worst", "Told apart best", "True pairs with the lowest scores"):
            assert f"<h2>{heading}: {name}</h2>" in page
    assert page.count("data:image/png;base64,") == 2
    assert not re.search(r"<script|<only>|https?://", page)
    worst = page.split("Told apart worst: colours")[1].split("Told apart best")[0]
    untranslated = damaged_captions(pairs, 0)["untranslated_word"]
    shown = re.findall(r'lang="fa" dir="rtl">([^<]*)</span>', worst)
    assert len(shown) == 12  # six cards, each with the true and the damaged caption
    assert set(shown[1::2]) <= set(untranslated)  # the English noun is one that it knows


def test_a_scorer_that_is_broken_and_no_system_at_all_are_refused(captions: Path) -> None:
    broken = _Words("broken", {})
    broken.encode_texts = lambda texts: np.full((len(texts), 24), np.nan, np.float32)  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="not finite"):
        evaluate_scorer(broken, PairSource(captions))
    with pytest.raises(ValueError, match="no scorer"):
        evaluate_scorer([], PairSource(captions))
    with pytest.raises(ValueError, match="no translator"):
        evaluate_translation([], PairSource(captions))


# --- the command line ----------------------------------------------------------------------------------------------


def test_translations_of_columns_and_tables_are_printed_with_a_test(
    captions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["evaluate", "translation", "--captions", str(captions), "--column", "caption_b", "--out"]
    assert main([*asked, str(tmp_path / "one"), "--json"]) == 0
    (metrics,) = json.loads(capsys.readouterr().out)
    assert metrics == json.loads((tmp_path / "one/metrics.json").read_text(encoding="utf-8"))[0]
    made = tmp_path / "made.csv"
    made.write_text(captions.read_text(encoding="utf-8").replace("نشسته", "ایستاده"), encoding="utf-8")
    asked = ["evaluate", "translation", "--captions", str(captions), "--translations", str(made)]
    assert main([*asked, "--column", "caption_fa", "--column", "caption_b", "--out", str(tmp_path / "two")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "captions: 24 captions of 12 photographs"
    assert [line.split()[0] for line in lines[2:4]] == ["made", "caption_b"]
    assert [line.split()[:4] for line in lines[6:]] == [
        ["made", "->", "caption_b", metric] for metric in ("BLEU", "chrF")
    ]


def test_scorers_are_printed_with_their_damages_and_a_test(
    captions: Path, tmp_path: Path, tiny_model_dir: Path, other_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["evaluate", "scorer", "--captions", str(captions), "--scorer", str(tiny_model_dir)]
    assert main([*asked, "--scorer", str(other_model_dir), "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "captions: 24 pairs of 12 photographs"
    assert [line.split()[0] for line in lines[2:4]] == ["tiny", "other"]
    assert [line.split()[:2] for line in lines if line.startswith("swapped_pair")] == [["swapped_pair", "24"]]
    assert sum("->" in line and "first" in line for line in lines[5:]) == 2
    metrics = json.loads((tmp_path / "out/metrics.json").read_text(encoding="utf-8"))
    assert [one["model"] for one in metrics] == ["tiny", "other"]
