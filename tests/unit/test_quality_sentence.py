"""Sentence encoders: found by name, checked before use, and the library behind the extra."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from peyda.encoders.sentence import (
    KNOWN_SENTENCE_MODELS,
    OnnxSentenceEncoder,
    SentenceTransformersEncoder,
    column_name,
    load_sentence_encoder,
    read_sentence_model_info,
)
from peyda.errors import ModelError


@pytest.fixture
def scorer_dir(tiny_model_dir: Path, tmp_path: Path) -> Path:
    """A directory as `peyda train scorer` leaves it: the files at its top."""
    directory = tmp_path / "models" / "mini-scorer"
    directory.mkdir(parents=True)
    for name in ("model.onnx", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_model_dir / "textual" / name, directory / name)
    config = {"embed_dim": 16, "text_cfg": {"context_length": 8}, "peyda": {"name": "mini-scorer"}}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def test_both_layouts_give_the_same_vectors(scorer_dir: Path, tiny_model_dir: Path) -> None:
    flat, dual = OnnxSentenceEncoder(scorer_dir), OnnxSentenceEncoder(tiny_model_dir)
    texts = ["قرمز", "red", "سبز سیاه", ""]
    np.testing.assert_array_equal(flat.encode_texts(texts), dual.encode_texts(texts))
    rows = flat.encode_texts(texts)
    assert rows.shape == (4, 16)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert flat.encode_texts([]).shape == (0, 16)
    assert (flat.name, dual.name) == ("mini", "tiny")
    assert flat.fingerprint == dual.fingerprint


def test_a_model_is_found_by_name_with_and_without_its_suffix(
    scorer_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PEYDA_MODELS", str(scorer_dir.parent))
    for name in ("mini", "mini-scorer", str(scorer_dir)):
        assert load_sentence_encoder(name).name == "mini"


def test_a_missing_or_damaged_directory_is_named(scorer_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model directory"):
        load_sentence_encoder(str(tmp_path / "absent"))
    (scorer_dir / "config.json").write_text('{"embed_dim": "many"}')
    with pytest.raises(ModelError, match="malformed"):
        read_sentence_model_info(scorer_dir)
    (scorer_dir / "config.json").write_text('{"embed_dim": 16, "peyda": {"normalizer_version": "0"}}')
    with pytest.raises(ModelError, match="normaliser"):
        read_sentence_model_info(scorer_dir)
    (scorer_dir / "config.json").write_text('{"embed_dim": 17}')
    with pytest.raises(ModelError, match="rows of 16 numbers"):
        OnnxSentenceEncoder(scorer_dir).encode_texts(["red"])
    (scorer_dir / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        read_sentence_model_info(scorer_dir)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("sentence-transformers/LaBSE", "labse"),
        ("distiluse", "distiluse"),
        ("org/My Model-v2.1/", "my_model_v2_1"),
        ("مدل", "model"),
    ],
)
def test_names_fit_a_column(name: str, column: str) -> None:
    assert column_name(name) == column


class FakeLibrary(ModuleType):
    """What is used of sentence_transformers."""

    def __init__(self) -> None:
        super().__init__("sentence_transformers")
        self.loaded: list[str] = []
        self.texts: list[str] = []
        library = self

        class SentenceTransformer:
            def __init__(self, name: str) -> None:
                if "absent" in name:
                    raise OSError("We couldn't connect to the hub")
                library.loaded.append(name)

            def __getitem__(self, at: int) -> object:
                return object()

            def encode(self, texts: list[str], **options: Any) -> np.ndarray:
                assert options["convert_to_numpy"]
                assert not options["show_progress_bar"]
                library.texts += texts
                return np.asarray([[3.0, 4.0, len(text)] for text in texts], np.float64)

        self.SentenceTransformer = SentenceTransformer


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeLibrary:
    fake = FakeLibrary()
    monkeypatch.setitem(sys.modules, "sentence_transformers", fake)
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    return fake


def test_short_names_lead_to_the_hub(library: FakeLibrary) -> None:
    encoder = load_sentence_encoder("LaBSE")
    assert library.loaded == [KNOWN_SENTENCE_MODELS["labse"]]
    assert encoder.name == "labse"
    assert encoder.embed_dim == 3
    assert "LaBSE" in encoder.fingerprint
    rows = encoder.encode_texts(["a", "می‌رود ۱۲"])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert library.texts[-1] == "می‌رود ۱۲", "these models never saw our normaliser"
    assert encoder.encode_texts([]).shape == (0, 3)
    encoder.encode_texts(["half a surrogate \ud800"])
    assert library.texts[-1] == "half a surrogate ?"
    with pytest.raises(TypeError, match="list of str"):
        encoder.encode_texts("a")


def test_a_model_that_is_not_there(library: FakeLibrary) -> None:
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        SentenceTransformersEncoder("org/absent")
    assert "directory" in caught.value.hint


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ModelError, match="not installed") as caught:
        load_sentence_encoder("labse")
    assert "peyda[sentence]" in caught.value.hint
