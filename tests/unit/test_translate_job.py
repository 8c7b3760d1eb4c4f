"""The job: a table in, the same table with Persian captions out, whatever the engine does."""

from __future__ import annotations

import csv
import gzip
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.translation_service import TranslationService, persian

from peyda.captions.reading import open_reader
from peyda.errors import DataError, StorageError
from peyda.translate import (
    ERROR_COLUMN,
    EngineOptions,
    Failed,
    Outcome,
    Progress,
    RetryPolicy,
    Translated,
    TranslationStopped,
    TranslationSummary,
    open_engine,
    translate_table,
)

QUICK = RetryPolicy(tries=5, backoff_s=0.001, patience=4)


class ScriptedEngine:
    """Translates by a function; remembers what it was asked."""

    longest_text = 500
    calls_per_s: float | None = None

    def __init__(
        self,
        answer: Callable[[str], Outcome | str] = "fa({})".format,
        *,
        label: str = "scripted",
        identity: str = "scripted|1",
        batch_size: int = 4,
        concurrency: int = 2,
    ) -> None:
        self.label, self.identity = label, identity
        self.batch_size, self.concurrency = batch_size, concurrency
        self._answer = answer
        self._lock = threading.Lock()
        self.calls: list[list[str]] = []

    @property
    def asked(self) -> list[str]:
        return [text for call in self.calls for text in call]

    def translate(self, texts: Sequence[str]) -> list[Outcome]:
        with self._lock:
            self.calls.append(list(texts))
        answers = [self._answer(text) for text in texts]
        return [Translated(answer) if isinstance(answer, str) else answer for answer in answers]

    def close(self) -> None:
        pass


def write_table(path: Path, captions: Sequence[str], **extra: Sequence[str]) -> Path:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption_id", "caption_en", *extra])
        for n, caption in enumerate(captions):
            writer.writerow([f"{n}.jpg", "0", caption, *(values[n] for values in extra.values())])
    return path


def read(path: Path) -> list[dict[str, str]]:
    return list(open_reader(path, duplicates="keep"))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is on this machine, whatever proxy the environment names."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., TranslationSummary]:
    def run_it(engine: Any, **options: Any) -> TranslationSummary:
        chosen = {"cache": tmp_path / "cache.sqlite", "policy": QUICK, **options}
        return translate_table(tmp_path / "in.csv", tmp_path / chosen.pop("out", "out.csv"), engine, **chosen)

    return run_it


def test_rows_come_back_in_order_with_everything_else_unchanged(tmp_path: Path, run: Any) -> None:
    captions = [f"caption {n}" for n in range(23)]
    extra = {"split": ["train"] * 23, "note": [f'"{n}", ok\nnext' for n in range(23)]}
    write_table(tmp_path / "in.csv", captions, **extra)
    summary = run(ScriptedEngine())
    rows = read(tmp_path / "out.csv")
    assert [row["caption_en"] for row in rows] == captions
    assert [row["caption_fa"] for row in rows] == [f"fa({caption})" for caption in captions]
    assert [row["note"] for row in rows] == extra["note"]
    assert {row["engine"] for row in rows} == {"scripted"}
    assert {row[ERROR_COLUMN] for row in rows} == {""}
    assert list(rows[0])[:6] == ["image", "caption_id", "caption_en", "caption_fa", "engine", "split"]
    assert (summary.rows, summary.translated, summary.texts_sent, summary.texts_cached) == (23, 23, 23, 0)


def test_equal_texts_are_sent_once(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", ["a  dog ", "a dog", "A dog", "a\ndog", "a cat"])
    engine = ScriptedEngine()
    run(engine)
    assert sorted(engine.asked) == ["A dog", "a cat", "a dog"]
    rows = read(tmp_path / "out.csv")
    assert [row["caption_fa"] for row in rows] == ["fa(a dog)", "fa(a dog)", "fa(A dog)", "fa(a dog)", "fa(a cat)"]
    assert rows[0]["caption_en"] == "a  dog ", "the table keeps the caption as it was"


def test_persian_spelling_is_mended_and_half_spaces_stay(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", ["books"])
    run(ScriptedEngine(lambda _: " كتاب\u200cهاي\n علي\u200f "))
    assert read(tmp_path / "out.csv")[0]["caption_fa"] == "کتاب\u200cهای علی"


def test_a_later_run_asks_nothing_again(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", ["a dog", "a cat"])
    run(ScriptedEngine())
    write_table(tmp_path / "in.csv", ["a bird", "a  cat", "a dog"])
    engine = ScriptedEngine()
    summary = run(engine, out="other.csv")
    assert engine.asked == ["a bird"]
    assert (summary.texts_sent, summary.texts_cached) == (1, 2)
    assert [row["caption_fa"] for row in read(tmp_path / "other.csv")] == ["fa(a bird)", "fa(a cat)", "fa(a dog)"]


def test_another_engine_has_translations_of_its_own(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", ["a dog"])
    run(ScriptedEngine())
    other = ScriptedEngine("other({})".format, identity="scripted|2")
    run(other)
    assert other.asked == ["a dog"]
    assert read(tmp_path / "out.csv")[0]["caption_fa"] == "other(a dog)"


def test_a_bad_text_keeps_its_error_and_stops_nothing(tmp_path: Path, run: Any) -> None:
    captions = [f"caption {n}" for n in range(20)] + ["bad one"]
    write_table(tmp_path / "in.csv", captions)

    def answer(text: str) -> Outcome | str:
        return Failed("refused", "not this one") if "bad" in text else f"fa({text})"

    summary = run(ScriptedEngine(answer))
    rows = read(tmp_path / "out.csv")
    assert [row[ERROR_COLUMN] for row in rows if row[ERROR_COLUMN]] == ["refused: not this one"]
    assert (rows[-1]["caption_fa"], rows[-1]["engine"]) == ("", "scripted")
    assert (summary.translated, summary.failed, summary.reasons) == (20, 1, {"refused": 1})


def test_an_engine_that_fails_whole_batches_fails_one_text_in_the_end(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", [f"caption {n}" for n in range(16)] + ["poison"])

    class Choking(ScriptedEngine):
        def translate(self, texts: Sequence[str]) -> list[Outcome]:
            outcomes = super().translate(texts)
            if "poison" in texts:
                raise ValueError("choked")
            return outcomes

    engine = Choking(batch_size=16, concurrency=1)
    summary = run(engine)
    assert (summary.translated, summary.reasons) == (16, {"crashed": 1})
    assert read(tmp_path / "out.csv")[-1][ERROR_COLUMN] == "crashed: ValueError: choked"


def test_an_engine_that_returns_too_few_outcomes_is_not_believed(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", ["a", "b", "c", "d"])

    class Losing(ScriptedEngine):
        def translate(self, texts: Sequence[str]) -> list[Outcome]:
            outcomes = super().translate(texts)
            return outcomes[1:] if len(texts) > 1 else outcomes

    run(Losing())
    assert [row["caption_fa"] for row in read(tmp_path / "out.csv")] == ["fa(a)", "fa(b)", "fa(c)", "fa(d)"]


def test_failures_are_tried_again_by_the_next_run_and_by_no_resumed_one(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", ["bad", *(f"caption {n}" for n in range(8))])
    banned = threading.Event()

    def answer(text: str) -> Outcome | str:
        if text == "caption 7":
            banned.set()
        if banned.is_set():
            raise TranslationStopped("banned", hint="wait")
        return Failed("refused") if text == "bad" else f"fa({text})"

    with pytest.raises(TranslationStopped):
        run(ScriptedEngine(answer, batch_size=1, concurrency=1))

    resumed = ScriptedEngine(batch_size=1)
    summary = run(resumed)
    assert resumed.asked == ["caption 7"], "neither what was translated nor what was given up on"
    assert summary.reasons == {"refused": 1}

    fresh = ScriptedEngine(batch_size=1)
    summary = run(fresh)
    assert fresh.asked == ["bad"]
    assert (summary.failed, summary.translated) == (0, 9)


def test_a_ban_keeps_what_is_done_and_leaves_the_table_alone(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", [f"caption {n}" for n in range(10)])
    (tmp_path / "out.csv").write_text("older\n")

    def answer(text: str) -> str:
        if text == "caption 6":
            raise TranslationStopped("banned", hint="wait some hours")
        return f"fa({text})"

    engine = ScriptedEngine(answer, batch_size=1, concurrency=1)
    with pytest.raises(TranslationStopped, match=r"banned \(6 texts were translated in this run\)") as caught:
        run(engine)
    assert caught.value.hint == "wait some hours"
    assert len(engine.asked) == 7
    assert (tmp_path / "out.csv").read_text() == "older\n"
    assert not (tmp_path / "out.csv.lock").exists()
    resumed = ScriptedEngine()
    run(resumed)
    assert sorted(resumed.asked) == [f"caption {n}" for n in range(6, 10)]


def test_an_outage_ends_the_run_after_few_calls_and_marks_no_text(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", [f"caption {n}" for n in range(500)])
    down = ScriptedEngine(lambda _: Failed("unreachable", may_pass=True))
    with pytest.raises(TranslationStopped, match="in a row"):
        run(down)
    assert len(set(down.asked)) < 20, "an outage must not burn through the table"
    healthy = ScriptedEngine(batch_size=100)
    assert run(healthy).translated == 500
    assert len(healthy.asked) == 500


def test_asked_to_stop_it_writes_no_table_and_goes_on_later(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", [f"caption {n}" for n in range(30)])
    seen = threading.Event()

    def answer(text: str) -> str:
        seen.set()
        stopped.wait(10)
        return f"fa({text})"

    stopped = threading.Event()

    def should_stop() -> bool:
        if seen.is_set():
            stopped.set()
        return seen.is_set()

    summary = run(ScriptedEngine(answer, batch_size=1, concurrency=1), should_stop=should_stop)
    assert not summary.is_complete
    assert summary.rows == 0
    assert summary.texts_sent >= 1, "the answer that was on its way is kept"
    assert not (tmp_path / "out.csv").exists()
    resumed = ScriptedEngine()
    assert run(resumed).texts_cached == summary.texts_sent
    assert len(resumed.asked) == 30 - summary.texts_sent


def test_progress_reaches_the_total(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", [f"caption {n}" for n in range(9)] + ["bad"])
    seen: list[Progress] = []
    run(ScriptedEngine(lambda text: Failed("refused") if text == "bad" else text), progress=seen.append)
    assert (seen[-1].done, seen[-1].total, seen[-1].failed) == (10, 10, 1)


def test_a_million_character_caption_is_not_sent_and_says_so(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", ["x" * 1_000_000, "a dog", "   ", "\u200b\x00"])
    engine = ScriptedEngine()
    summary = run(engine)
    rows = read(tmp_path / "out.csv")
    assert engine.asked == ["a dog"]
    assert rows[0][ERROR_COLUMN] == "too_long: 1,000,000 characters, and the engine takes 500"
    assert rows[0]["caption_en"] == "x" * 1_000_000
    assert rows[2][ERROR_COLUMN] == "no_text: there is nothing to translate in this row"
    assert summary.reasons == {"no_text": 2, "too_long": 1}


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", ["a dog"])
    engine = ScriptedEngine()
    with pytest.raises(DataError, match="no column 'caption_de'") as caught:
        run(engine, column="caption_de")
    assert "caption_en" in caught.value.hint
    assert not engine.calls


def test_a_wrong_encoding_is_said_before_anything_is_sent(tmp_path: Path, run: Any) -> None:
    (tmp_path / "in.csv").write_bytes("image,caption_en\n1.jpg,café\n".encode("cp1252"))
    engine = ScriptedEngine()
    with pytest.raises(DataError, match="not UTF-8"):
        run(engine)
    assert not engine.calls
    assert not (tmp_path / "out.csv").exists()


def test_rows_with_the_same_key_are_all_kept_and_marked(tmp_path: Path, run: Any) -> None:
    (tmp_path / "in.csv").write_text("image,caption_id,caption_en\n1.jpg,0,a dog\n1.jpg,0,a cat\n1.jpg,1,a cow\n")
    summary = run(ScriptedEngine())
    rows = read(tmp_path / "out.csv")
    assert [row["caption_fa"] for row in rows] == ["fa(a dog)", "fa(a cat)", "fa(a cow)"]
    assert [row[ERROR_COLUMN].split(":")[0] for row in rows] == ["", "duplicate_key", ""]
    assert (summary.duplicates, summary.failed) == (1, 0)


def test_lines_that_are_no_rows_are_counted(tmp_path: Path, run: Any) -> None:
    (tmp_path / "in.csv").write_text("image,caption_id,caption_en\n1.jpg,0,a dog\nbroken\n,1,nowhere\n")
    summary = run(ScriptedEngine())
    assert (summary.rows, summary.skipped_count) == (1, 2)
    assert [(one.line, one.reason) for one in summary.skipped] == [(3, "wrong_columns"), (4, "no_image")]


def test_another_column_becomes_the_english_side(tmp_path: Path, run: Any) -> None:
    (tmp_path / "in.jsonl").write_text('{"image": "1.jpg", "raw_text": "a dog", "n": 3}\n')
    translate_table(
        tmp_path / "in.jsonl", tmp_path / "out.jsonl", ScriptedEngine(), cache=tmp_path / "c", column="raw_text"
    )
    (row,) = read(tmp_path / "out.jsonl")
    assert (row["raw_text"], row["caption_en"], row["caption_fa"], row["n"]) == ("a dog", "a dog", "fa(a dog)", "3")


OLD = ["سگی در برف", "", "گربه"]


@pytest.mark.parametrize(
    ("existing", "expected", "asked"),
    [
        ("both", [("سگی در برف", ""), ("fa(a dog)", "e"), ("fa(a cow)", "e"), ("گربه", ""), ("fa(a cat)", "e")], 3),
        ("keep", [("سگی در برف", ""), ("fa(a cow)", "e"), ("گربه", "")], 1),
        ("replace", [("fa(a dog)", "e"), ("fa(a cow)", "e"), ("fa(a cat)", "e")], 3),
    ],
)
def test_rows_that_have_a_persian_caption(
    tmp_path: Path, run: Any, existing: str, expected: list[tuple[str, str]], asked: int
) -> None:
    write_table(tmp_path / "in.csv", ["a dog", "a cow", "a cat"], caption_fa=OLD, score_mini=["0.9", "", "0.8"])
    engine = ScriptedEngine(label="e")
    summary = run(engine, existing=existing)
    rows = read(tmp_path / "out.csv")
    assert [(row["caption_fa"], row["engine"]) for row in rows] == expected
    assert len(engine.asked) == asked
    assert [row["score_mini"] for row in rows] == [
        {"سگی در برف": "0.9", "گربه": "0.8"}.get(fa, "") for fa, _ in expected
    ]
    assert (summary.translated, summary.passed) == (asked, len(expected) - asked)


def test_two_engines_one_after_the_other_make_one_row_each(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", ["a dog", "a cow"])
    run(ScriptedEngine(label="first"))
    second = ScriptedEngine("2({})".format, label="second", identity="second")
    options: dict[str, Any] = {"cache": tmp_path / "cache.sqlite", "policy": QUICK}
    translate_table(tmp_path / "out.csv", tmp_path / "both.csv", second, **options)
    rows = read(tmp_path / "both.csv")
    assert [(row["engine"], row["caption_fa"]) for row in rows] == [
        ("first", "fa(a dog)"),
        ("second", "2(a dog)"),
        ("first", "fa(a cow)"),
        ("second", "2(a cow)"),
    ]
    # Once more with either engine: everything is there, so nothing is added and nothing asked.
    for engine in (second, ScriptedEngine(label="first")):
        engine.calls.clear()
        summary = translate_table(tmp_path / "both.csv", tmp_path / "again.csv", engine, **options)
        assert read(tmp_path / "again.csv") == rows
        assert (summary.passed, summary.translated, engine.calls) == (4, 0, [])


def test_out_may_be_in(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", ["a dog"])
    run(ScriptedEngine(), out="in.csv")
    assert read(tmp_path / "in.csv")[0]["caption_fa"] == "fa(a dog)"


def test_a_table_that_changes_meanwhile_is_refused_and_nothing_is_lost(tmp_path: Path, run: Any) -> None:
    table = write_table(tmp_path / "in.csv", ["a dog", "a cat"])

    def answer(text: str) -> str:
        table.write_text(table.read_text() + "9.jpg,0,a bird\n")
        return f"fa({text})"

    with pytest.raises(DataError, match="changed while"):
        run(ScriptedEngine(answer, batch_size=10, concurrency=1))
    assert not (tmp_path / "out.csv").exists()
    engine = ScriptedEngine()
    assert run(engine).failed == 0
    assert "a dog" not in engine.asked


def test_a_second_run_for_the_same_table_is_refused(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", ["a dog"])
    refused: list[BaseException] = []

    def answer(text: str) -> str:
        with pytest.raises(StorageError, match="another run") as caught:
            run(ScriptedEngine())
        refused.append(caught.value)
        return f"fa({text})"

    assert run(ScriptedEngine(answer)).translated == 1
    assert len(refused) == 1


def test_an_ending_that_cannot_be_written_is_refused_first(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", ["a dog"])
    engine = ScriptedEngine()
    with pytest.raises(DataError, match="no table format"):
        run(engine, out="out.docx")
    assert not engine.calls


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.jsonl", "out.csv.gz", "sub/folder/out.jsonl.gz"])
def test_the_ending_is_the_format(tmp_path: Path, run: Any, name: str) -> None:
    write_table(tmp_path / "in.csv", ["a dog, big", 'a "cat"'])
    run(ScriptedEngine(), out=name)
    assert [row["caption_fa"] for row in read(tmp_path / name)] == ["fa(a dog, big)", 'fa(a "cat")']
    data = (tmp_path / name).read_bytes()
    if name.endswith(".gz"):
        data = gzip.decompress(data)
    assert data.startswith({"csv": b"image,", "tsv": b"image\t", "jso": b"{"}[name.split(".")[1][:3]])


def test_an_empty_table_gives_an_empty_table(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", [])
    summary = run(ScriptedEngine())
    assert (summary.rows, summary.failed) == (0, 0)
    assert read(tmp_path / "out.csv") == []


def test_half_a_surrogate_pair_in_an_answer_does_not_break_the_table(tmp_path: Path, run: Any) -> None:
    write_table(tmp_path / "in.csv", ["a dog"])
    run(ScriptedEngine(lambda _: json.loads('"سگ\\ud83d"')))
    assert read(tmp_path / "out.csv")[0]["caption_fa"] == "سگ"


def test_a_service_that_does_everything_wrong_gets_everything_done(tmp_path: Path, run: Any) -> None:
    captions = [f"caption {n}" for n in range(40)]
    write_table(tmp_path / "in.csv", captions)
    plan = [
        "ok",
        "error",
        "ok",
        "missing",
        "half",
        "ok",
        "html",
        "ok",
        "empty",
        "cut",
        "ok",
        "odd",
        "hang",
        "ok",
        "drip",
    ]
    with TranslationService(plan) as service:
        options = EngineOptions(model="m", base_url=service.address, timeout_s=0.3, batch_size=8)
        summary = run(open_engine("openai", options), policy=RetryPolicy(backoff_s=0.01, tries=8))
    assert (summary.translated, summary.failed) == (40, 0)
    expected = [persian(caption).replace("ي", "ی") for caption in captions]
    assert [row["caption_fa"] for row in read(tmp_path / "out.csv")] == expected
    assert set(service.answered.values()) == {1}, "what was answered well is not asked again"
