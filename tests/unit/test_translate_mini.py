"""The embedded translator: its text forms, its beam search against an exhaustive one, and its engine on a toy model."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from peyda.errors import ConfigError, ModelError
from peyda.translate import EngineOptions, Failed, Translated
from peyda.translate.mini import open_engine
from peyda.translate.mini_search import SearchOptions, beam_search
from peyda.translate.mini_text import source_text, target_text

# --- text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("مردي  كتاب‌هاي مي‌خواند .", "مردی کتاب‌های می‌خواند"),
        ("سگ ‌ ها", "سگ ها"),
        ("‌سگ‌", "سگ"),
        ("خانهٔ ۀ", "خانه‌ی ه‌ی"),
        ("3 سگ, 2 گربه?", "۳ سگ، ۲ گربه؟"),
        ("کاملاً مُرتَّب", "کاملاً مرتب"),
        ("", ""),
        (" . ", ""),
    ],
)
def test_target_text(raw: str, wanted: str) -> None:
    assert target_text(raw) == wanted
    assert target_text(target_text(raw)) == target_text(raw)


def test_source_text_has_no_final_stop() -> None:
    assert source_text("A man , smiling . ") == source_text("a man , smiling") == "a man , smiling"


# --- search --------------------------------------------------------------------------------------------------------

START, END, PIECES = 0, 1, 5


class _Table:
    """A decoder whose next piece depends on the last one and on how far it is: small enough to search exhaustively."""

    def __init__(self, seeds: list[int], beams: int, length: int) -> None:
        self.logs = []
        for seed in seeds:
            scores = np.random.default_rng(seed).normal(0, 1.5, (length, PIECES, PIECES)).astype(np.float32)
            scores[..., START] = -50.0
            self.logs.append(scores - np.log(np.exp(scores).sum(-1, keepdims=True)))
        self.beams, self.at = beams, 0
        self.paths = [[(START,)] * beams for _ in seeds]

    def step(self, tokens: np.ndarray, parents: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        before = [path for paths in self.paths for path in paths]
        for row in range(len(tokens)):
            for beam in range(self.beams):
                origin = before[parents[row * self.beams + beam]]
                self.paths[row][beam] = (*(origin if self.at else ()), int(tokens[row, beam]))
        rows = np.stack([self.logs[row][self.at][tokens[row]] for row in range(len(tokens))])
        self.at += 1
        pieces = np.argsort(-rows, axis=-1, kind="stable")[..., :width]
        return np.take_along_axis(rows, pieces, -1), pieces

    def worth(self, row: int, pieces: tuple[int, ...], penalty: float) -> float:
        total, last = 0.0, START
        for at, piece in enumerate((*pieces, END)):
            total += float(self.logs[row][at][last, piece])
            last = piece
        return total / (len(pieces) + 1) ** penalty


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_beam_finds_what_exhaustive_search_finds(penalty: float) -> None:
    limit, beams = 4, 64
    table = _Table([1, 2, 3], beams, limit)
    options = SearchOptions(START, END, beams=beams, length_penalty=penalty, limit=limit)
    found = beam_search(table, 3, options)
    for row in range(3):
        every = [pieces for length in range(limit) for pieces in itertools.product(range(2, PIECES), repeat=length)]
        best = max(every, key=lambda pieces: table.worth(row, pieces, penalty))
        assert found[row] is not None
        assert table.worth(row, tuple(found[row] or ()), penalty) == pytest.approx(table.worth(row, best, penalty))


def test_one_beam_is_greedy_and_follows_its_own_past() -> None:
    table = _Table([7], 1, 6)
    found = beam_search(table, 1, SearchOptions(START, END, beams=1, limit=6))[0]
    greedy, last = [], START
    for at in range(6):
        last = int(table.logs[0][at][last].argmax())
        if last == END:
            break
        greedy.append(last)
    assert found == (greedy if last == END else None)
    assert table.paths[0][0][: len(greedy) + 1] == (START, *greedy)[: len(table.paths[0][0])]


def test_a_sentence_without_an_end_is_none_and_others_are_not_disturbed() -> None:
    class Endless(_Table):
        def step(self, tokens: np.ndarray, parents: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
            values, pieces = super().step(tokens, parents, width)
            values[0][pieces[0] == END] = -np.inf
            return values, pieces

    alone = beam_search(_Table([5], 3, 6), 1, SearchOptions(START, END, beams=3, limit=6))
    found = beam_search(Endless([4, 5], 3, 6), 2, SearchOptions(START, END, beams=3, limit=6))
    assert found == [None, alone[0]]


# --- the engine ----------------------------------------------------------------------------------------------------


def test_engine_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--base-url"):
        open_engine(EngineOptions(base_url="http://127.0.0.1"))
    with pytest.raises(ModelError, match="no translator"):
        open_engine(EngineOptions(model="no-such-model"))
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        open_engine(EngineOptions(model=str(tmp_path)))


def test_engine_names_a_malformed_configuration(tmp_path: Path) -> None:
    for name in ("encoder.onnx", "decoder.onnx", "source.json", "target.json"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "config.json").write_text(json.dumps({"peyda": {"name": "x", "files": {}}, "translator": {"no": 1}}))
    with pytest.raises(ModelError, match="malformed"):
        open_engine(EngineOptions(model=str(tmp_path)))


def test_without_a_model_the_error_names_the_other_engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PEYDA_MODELS", str(tmp_path))
    with pytest.raises(ModelError) as caught:
        open_engine(EngineOptions(model="not-trained-yet"))
    assert "--engine" in caught.value.hint
    assert "peyda train translator" in caught.value.hint


def test_embedded_translator_translates_captions() -> None:
    engine = open_engine(EngineOptions(threads=1))
    assert engine.label == "mini"
    texts = ["A dog runs through the snow .", "Two men", "A dog runs through the snow ."]
    answers = engine.translate(texts)
    said = [answer.text for answer in answers if isinstance(answer, Translated)]
    assert len(said) == 3
    assert said[0] == said[2]
    assert "سگ" in said[0]
    assert "برف" in said[0]
    assert engine.translate(texts[:1]) == answers[:1]  # whatever else is in the batch


def test_embedded_translator_refuses_what_is_too_long() -> None:
    engine = open_engine(EngineOptions(threads=1, beam_size=1))
    long, short = engine.translate(["dog " * 240, "a cat"])
    assert isinstance(long, Failed)
    assert long.code == "too_long"
    assert isinstance(short, Translated)
