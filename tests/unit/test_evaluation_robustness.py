"""`evaluate_robustness`: each variant is measured on the queries that it changes, beside the same queries clean."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from peyda.captions import CaptionTable
from peyda.evaluation.robustness import RobustnessReport, evaluate_robustness
from peyda.persian import normalize
from peyda.persian.typos import VARIANTS
from peyda.types import Float32

ZWNJ = "\N{ZERO WIDTH NON-JOINER}"
COLOURS = {"قرمز": (255, 0, 0), "سبز": (0, 255, 0), "آبی": (0, 0, 255), f"قهوه{ZWNJ}ای": (140, 80, 20)}


class WordEncoder:
    """Knows the colour words, as the normaliser leaves them, and nothing else: a mistyped word is lost."""

    name = "words"
    embed_dim = 3
    fingerprint = visual_fingerprint = "a" * 32
    image_size_px = 8

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        return _unit([np.asarray(image.convert("RGB"), np.float64).mean(axis=(0, 1)) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        known = {normalize(word): colour for word, colour in COLOURS.items()}
        return _unit([known.get(normalize(text), (-1, -1, -1)) for text in texts])

    def preprocess(self, image: Image.Image) -> Float32:
        raise NotImplementedError

    def encode_pixels(self, pixels: Float32) -> Float32:
        raise NotImplementedError


class DeafEncoder(WordEncoder):
    name = "deaf"
    fingerprint = visual_fingerprint = "b" * 32

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        return _unit([(-1, -1, -1)] * len(texts))


def _unit(rows: Sequence[object]) -> Float32:
    array = np.asarray(rows, np.float32).reshape(len(rows), 3)
    return array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), np.float32(1e-6))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for at, colour in enumerate(COLOURS.values()):
        Image.new("RGB", (16, 12), colour).save(folder / f"{at}.png")
    return folder


TABLE = CaptionTable("words.csv", {
    "image": [f"{at}.png" for at in range(4)], "caption_id": ["0"] * 4, "caption_fa": list(COLOURS),
})  # fmt: skip


def of(report: RobustnessReport, variant: str, model: str = "words") -> dict[str, object]:
    return next(one for one in report.metrics if (one["variant"], one["model"]) == (variant, model))


def test_every_variant_beside_its_own_clean_queries(photos: Path) -> None:
    report = evaluate_robustness(WordEncoder(), TABLE, photos, ks=[1])
    assert [one["variant"] for one in report.metrics] == ["clean", *(one.code for one in VARIANTS)]
    assert of(report, "clean")["accuracy_at_k"] == {"1": 1.0}
    # The normaliser knows Arabic letters and a spaced half-space: nothing is lost.
    arabic = of(report, "arabic_letters")
    assert (arabic["queries"], arabic["same_after_normalizing"]) == (2, 2)  # those with «ی» or «ک»
    assert arabic["accuracy_at_k"] == arabic["clean_accuracy_at_k"] == {"1": 1.0}
    spaced = of(report, "space_for_half_space")
    assert (spaced["queries"], spaced["same_after_normalizing"]) == (1, 1)
    # This encoder knows no other spelling.
    finglish = of(report, "finglish")
    assert (finglish["queries"], finglish["same_after_normalizing"]) == (4, 0)
    assert (finglish["accuracy_at_k"], finglish["clean_accuracy_at_k"]) == ({"1": 0.0}, {"1": 1.0})
    difference = finglish["difference"]["1"]  # type: ignore[index]
    assert (difference["value"], difference["ci95"]) == (-1.0, [-1.0, -1.0])
    assert of(report, "digits")["queries"] == 0


def test_lines_give_the_rank_before_and_after(photos: Path) -> None:
    report = evaluate_robustness(WordEncoder(), TABLE, photos, variants=["keyboard_layout", "no_half_space"])
    assert {line["variant"] for line in report.lines} == {"keyboard_layout", "no_half_space"}
    line = next(one for one in report.lines if one["variant"] == "no_half_space")
    assert (line["image"], line["text"], line["clean_rank"]) == ("3.png", "قهوهای", 1)
    assert line["rank"] > 1
    assert report.run["queries"] == 4


def test_slips_depend_on_the_seed_alone(photos: Path) -> None:
    def texts(seed: int) -> list[str]:
        report = evaluate_robustness(WordEncoder(), TABLE, photos, variants=["typing_slip"], seed=seed)
        return [line["text"] for line in report.lines]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_several_models_a_sample_and_what_is_written(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = evaluate_robustness([WordEncoder(), DeafEncoder()], TABLE, photos, ks=(1, 3), sample=3)
    assert report.metrics[0]["images"] == 3
    assert of(report, "finglish", "deaf")["model"] == "deaf"
    assert report.write(tmp_path).figure_problem is None
    assert json.loads((tmp_path / "metrics.json").read_text()) == report.metrics
    assert (tmp_path / "robustness.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Model words" in page
    assert "Model deaf" in page
    assert "ghermez" in page or "sabz" in page
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert report.write(tmp_path).figure_problem is not None
    assert json.loads((tmp_path / "metrics.json").read_text()) == report.metrics
    assert not (tmp_path / "robustness.png").exists()


def test_one_model_has_its_figure_too(photos: Path, tmp_path: Path) -> None:
    report = evaluate_robustness(WordEncoder(), TABLE, photos)
    assert report.write(tmp_path).figure_problem is None
    assert (tmp_path / "robustness.png").stat().st_size > 5_000


@pytest.mark.parametrize("options", [{"variants": ["telepathy"]}, {"ks": [0]}, {"ks": []}, {"sample": 0}])
def test_wrong_arguments_are_refused(photos: Path, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="typing_slip"):
        evaluate_robustness(WordEncoder(), TABLE, photos, **options)  # type: ignore[arg-type]
