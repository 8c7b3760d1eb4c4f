"""`evaluate_zeroshot`: the rule of classes by hand, templates, several models, and what is written."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from peyda.errors import ConfigError, DataError, ModelError
from peyda.evaluation.labelled import LabelledClass, LabelledSet
from peyda.evaluation.zeroshot import (
    DEFAULT_TEMPLATES,
    ZeroShotReport,
    check_template,
    class_embeddings,
    evaluate_zeroshot,
)
from peyda.types import Float32

VECTORS = {"قرمز": (1.0, 0.0, 0.0), "سبز": (0.0, 1.0, 0.0), "آبی": (0.0, 0.0, 1.0), "سرخ": (0.8, 0.6, 0.0)}


class ColourEncoder:
    """Photographs are their mean colour; sentences the sum of the colour words in them, and of «عکس» a little blue."""

    name = "colours"
    embed_dim = 3
    fingerprint = visual_fingerprint = "a" * 32
    image_size_px = 8

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        return _unit([np.asarray(image.convert("RGB"), np.float64).mean(axis=(0, 1)) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        return _unit([
            sum((np.asarray(VECTORS.get(word, (0, 0, 0.1))) for word in text.split()), np.zeros(3)) for text in texts
        ])  # fmt: skip

    def preprocess(self, image: Image.Image) -> Float32:
        raise NotImplementedError

    def encode_pixels(self, pixels: Float32) -> Float32:
        raise NotImplementedError


class CollapsedEncoder(ColourEncoder):
    name = "collapsed"
    fingerprint = visual_fingerprint = "b" * 32

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        return np.tile(np.float32([0.6, 0.0, 0.8]), (len(images), 1))

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        return np.tile(np.float32([0.6, 0.0, 0.8]), (len(texts), 1))


class BrokenEncoder(ColourEncoder):
    def encode_texts(self, texts: Sequence[str]) -> Float32:
        return np.full((len(texts), 3), np.nan, np.float32)


def _unit(rows: Sequence[object]) -> Float32:
    array = np.asarray(rows, np.float32).reshape(len(rows), 3)
    return array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), np.float32(1e-6))


CLASSES = (LabelledClass("red", ("قرمز", "سرخ")), LabelledClass("green", ("سبز",)), LabelledClass("blue", ("آبی",)))
# Two red, one green that looks red, one green, one blue.
COLOURS = [(250, 0, 0), (240, 30, 0), (200, 90, 0), (0, 250, 0), (0, 10, 250)]
LABELS = [0, 0, 1, 1, 2]


@pytest.fixture
def pixels() -> LabelledSet:
    array = np.stack([np.full((8, 8, 3), colour, np.uint8) for colour in COLOURS])
    return LabelledSet("colours", CLASSES, np.asarray(LABELS), tuple(f"c/{at}" for at in range(5)), array)


@pytest.fixture
def files(tmp_path: Path) -> LabelledSet:
    paths = []
    for at, colour in enumerate(COLOURS):
        paths.append(str(tmp_path / f"{at}.png"))
        Image.new("RGB", (16, 12), colour).save(paths[-1])
    return LabelledSet("colours", CLASSES, np.asarray(LABELS), tuple(paths))


@pytest.mark.parametrize("kind", ["pixels", "files"])
def test_by_hand(kind: str, request: pytest.FixtureRequest) -> None:
    labelled: LabelledSet = request.getfixturevalue(kind)
    report = evaluate_zeroshot(ColourEncoder(), labelled, templates=["{}"])
    metrics = report.metrics[0]
    assert (metrics["photos"], metrics["classes"], metrics["task"]) == (5, 3, "zeroshot")
    assert metrics["top1"] == 0.8
    assert metrics["top5"] == 1.0
    assert report.results[0].predictions.tolist() == [0, 0, 0, 1, 2]
    assert report.results[0].confusion.tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 1]]
    red, green, blue = report.classes(report.results[0])
    assert (red["precision"], red["recall"]) == (pytest.approx(2 / 3, abs=1e-6), 1.0)
    assert (green["precision"], green["recall"], green["f1"]) == (1.0, 0.5, pytest.approx(2 / 3, abs=1e-6))
    assert blue["f1"] == 1.0
    assert metrics["macro_f1"] == pytest.approx((0.8 + 2 / 3 + 1) / 3, abs=1e-6)
    assert metrics["macro_recall"] == pytest.approx(2.5 / 3, abs=1e-6)
    low, high = metrics["ci95"]["top1"]
    assert 0.2 <= low < 0.8 < high <= 1.0


def test_a_collapsed_encoder_is_right_nowhere(pixels: LabelledSet) -> None:
    report = evaluate_zeroshot(CollapsedEncoder(), pixels)
    assert report.metrics[0]["top1"] == 0.0
    assert np.trace(report.results[0].confusion) == 0
    assert report.results[0].confusion.sum() == 5


def test_templates_are_averaged_and_synonyms_where_asked() -> None:
    alone = class_embeddings(ColourEncoder(), CLASSES, ["{}"])
    assert alone.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    both = class_embeddings(ColourEncoder(), CLASSES, ["{}", "عکس {}"])
    second = np.asarray([1, 0, 0.1]) / np.sqrt(1.01)
    mean = np.asarray([1, 0, 0]) + second
    assert both[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    named = class_embeddings(ColourEncoder(), CLASSES, ["{}"], synonyms=True)
    assert named[0] == pytest.approx(np.asarray([1.8, 0.6, 0]) / np.hypot(1.8, 0.6), abs=1e-6)
    assert np.linalg.norm(named, axis=1) == pytest.approx(np.ones(3), abs=1e-6)


@pytest.mark.parametrize("template", ["عکس", "{} و {}", "{0}", "{name} {}"])
def test_a_template_without_a_place_for_the_name_is_refused(pixels: LabelledSet, template: str) -> None:
    with pytest.raises(ConfigError, match="no template"):
        evaluate_zeroshot(ColourEncoder(), pixels, templates=[template])
    for good in DEFAULT_TEMPLATES:
        assert check_template(good) == good


def test_unreadable_photographs_are_left_out_and_counted(files: LabelledSet, tmp_path: Path) -> None:
    Path(files.images[3]).write_bytes(b"not a photograph")
    report = evaluate_zeroshot(ColourEncoder(), files, templates=["{}"])
    assert report.metrics[0]["photos"] == 4
    assert report.results[0].confusion.tolist() == [[2, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert [one.path for one in report.skipped] == [files.images[3]]
    for path in files.images:
        Path(path).write_bytes(b"")
    with pytest.raises(DataError, match="no photograph of colours"):
        evaluate_zeroshot(ColourEncoder(), files)


def test_several_models_and_everything_that_is_written(files: LabelledSet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = evaluate_zeroshot([ColourEncoder(), CollapsedEncoder()], files, templates=["{}"])
    assert report.write(out).figure_problem is None
    assert sorted(path.name for path in out.iterdir()) == [
        "classes.json", "comparisons.json", "confusion_matrix.json", "confusion_matrix.png", "confusion_matrix_2.png",
        "metrics.json", "predictions.jsonl", "report.html", "run.json", "skipped.jsonl",
    ]  # fmt: skip
    assert [one["model"] for one in json.loads((out / "metrics.json").read_text())] == ["colours", "collapsed"]
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 10
    assert lines[2] == {"model": "colours", "image": files.images[2], "class": "green", "predicted": "red", "rank": 2}
    comparison = json.loads((out / "comparisons.json").read_text())[0]
    assert comparison["p_holm"] == comparison["p"]  # one pair: nothing to correct
    assert (comparison["metric"], comparison["difference"]) == ("top1", -0.8)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") == 2
    assert "data:image/jpeg" in page
    assert 'src="http' not in page
    ours, others = page.split("Published elsewhere")
    assert "Babel-ImageNet" in others
    assert "Babel-ImageNet" not in ours


def test_pictures_of_binary_sets_are_on_the_page(pixels: LabelledSet, tmp_path: Path) -> None:
    evaluate_zeroshot(ColourEncoder(), pixels, templates=["{}"]).write(tmp_path)
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count("data:image/jpeg") == 1


def test_without_matplotlib_the_numbers_are_written(
    pixels: LabelledSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report: ZeroShotReport = evaluate_zeroshot(ColourEncoder(), pixels)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    written = report.write(tmp_path)
    assert written.figure_problem is not None
    assert json.loads((tmp_path / "metrics.json").read_text()) == report.metrics
    assert (tmp_path / "report.html").exists()
    assert not (tmp_path / "confusion_matrix.png").exists()


def test_a_broken_model_and_no_model_are_refused(pixels: LabelledSet) -> None:
    with pytest.raises(ModelError, match="not finite"):
        evaluate_zeroshot(BrokenEncoder(), pixels)
    with pytest.raises(ValueError, match="a model and a template"):
        evaluate_zeroshot([], pixels)
