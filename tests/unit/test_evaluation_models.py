"""Retrieval with samples, several models, the original project's protocol, and what is written about it."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from peyda.captions import CaptionTable
from peyda.errors import DataError
from peyda.evaluation import RetrievalReport, evaluate_retrieval
from peyda.evaluation.published import RETRIEVAL
from peyda.evaluation.report import accuracy_curve
from peyda.types import Float32


class HueEncoder:
    """A photograph is its mean colour; a sentence is the colour whose three numbers it spells."""

    name = "hue"
    embed_dim = 3
    fingerprint = visual_fingerprint = "a" * 32
    image_size_px = 8

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        rows = [np.asarray(image.convert("RGB"), np.float32).mean(axis=(0, 1)) for image in images]
        return _unit(rows)

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        return _unit([[float(part) for part in text.split()] for text in texts])

    def preprocess(self, image: Image.Image) -> Float32:
        raise NotImplementedError

    def encode_pixels(self, pixels: Float32) -> Float32:
        raise NotImplementedError


class BlindEncoder(HueEncoder):
    """Every photograph looks the same to it."""

    name = "blind"
    fingerprint = visual_fingerprint = "b" * 32

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        return _unit([[1.0, 1.0, 1.0]] * len(images))


class SameNameEncoder(HueEncoder):
    """Another model that is called the same."""

    fingerprint = visual_fingerprint = "c" * 32


def _unit(rows: Sequence[object]) -> Float32:
    array = np.asarray(rows, dtype=np.float32).reshape(len(rows), 3)
    return array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), np.float32(1e-6))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Thirty photographs 00.png … 29.png, of colours that all differ."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(30):
        Image.new("RGB", (8, 8), _colour(number)).save(folder / f"{number:02}.png")
    return folder


def _colour(number: int) -> tuple[int, int, int]:
    angle = number / 30 * math.pi / 2
    return 40, round(200 * math.cos(angle)), round(200 * math.sin(angle))


@pytest.fixture
def table() -> CaptionTable:
    """Two captions for each photograph, both right."""
    names = [f"{number:02}.png" for number in range(30) for _ in range(2)]
    captions = [" ".join(map(str, _colour(number))) for number in range(30) for _ in range(2)]
    ids = [str(at % 2) for at in range(60)]
    return CaptionTable("hues.csv", {"image": names, "caption_id": ids, "caption_fa": captions})


def images_of(report: RetrievalReport) -> set[str]:
    return {line["image"] for line in report.ranks}


def test_a_sample_is_of_whole_images_and_repeatable(photos: Path, table: CaptionTable) -> None:
    report = evaluate_retrieval(HueEncoder(), table, photos, sample=10, seed=3)
    assert (report.metrics[0]["images"], report.metrics[0]["queries"]) == (10, 20)
    assert report.metrics[0]["accuracy_at_k"]["1"] == 1.0
    assert images_of(evaluate_retrieval(HueEncoder(), table, photos, sample=10, seed=3)) == images_of(report)
    assert images_of(evaluate_retrieval(HueEncoder(), table, photos, sample=10, seed=4)) != images_of(report)
    order = np.random.default_rng(0).permutation(60)
    shuffled = CaptionTable("x.csv", {name: [values[at] for at in order] for name, values in table.columns.items()})
    assert images_of(evaluate_retrieval(HueEncoder(), shuffled, photos, sample=10, seed=3)) == images_of(report)


def test_the_order_of_the_table_changes_nothing(photos: Path, table: CaptionTable) -> None:
    order = np.random.default_rng(9).permutation(60)
    shuffled = CaptionTable("hues.csv", {name: [values[at] for at in order] for name, values in table.columns.items()})

    def numbers(report: RetrievalReport) -> list[dict[str, object]]:
        return [{name: value for name, value in one.items() if name != "ci95"} for one in report.metrics]

    def ranks(report: RetrievalReport) -> list[tuple[object, ...]]:
        return sorted((one["direction"], one["image"], one.get("caption_id", ""), one["rank"]) for one in report.ranks)

    models = [HueEncoder(), BlindEncoder()]
    one, other = evaluate_retrieval(models, table, photos), evaluate_retrieval(models, shuffled, photos)
    assert numbers(one) == numbers(other)
    assert ranks(one) == ranks(other)


def test_a_sample_bigger_than_the_set_is_the_set(photos: Path, table: CaptionTable) -> None:
    report = evaluate_retrieval(HueEncoder(), table, photos, sample=1_000)
    assert (report.metrics[0]["images"], report.metrics[0]["queries"]) == (30, 60)
    assert report.metrics == evaluate_retrieval(HueEncoder(), table, photos).metrics


def test_further_images_stay_when_a_sample_is_drawn(photos: Path, table: CaptionTable) -> None:
    report = evaluate_retrieval(HueEncoder(), table, photos, sample=5, gallery_images="all")
    assert (report.metrics[0]["images"], report.metrics[0]["queries"]) == (30, 10)
    assert report.metrics[0]["accuracy_at_k"]["1"] == 1.0  # rows were renumbered with their photographs


def test_the_original_protocol_takes_rows_and_counts_doubles_and_ties_as_found(
    photos: Path, table: CaptionTable
) -> None:
    report = evaluate_retrieval(HueEncoder(), table, photos, protocol="original", sample=20)
    first = report.metrics[0]
    assert (first["images"], first["queries"], first["protocol"]) == (20, 20, "original")
    assert report.run["distinct_images"] == 10
    assert images_of(report) == {f"{number:02}.png" for number in range(10)}  # the first rows
    assert first["accuracy_at_k"]["1"] == 1.0
    blind = evaluate_retrieval(BlindEncoder(), table, photos, protocol="original", sample=20)
    assert blind.metrics[0]["accuracy_at_k"]["1"] == 1.0
    assert evaluate_retrieval(BlindEncoder(), table, photos).metrics[0]["accuracy_at_k"]["1"] == 0.0
    drawn = evaluate_retrieval(HueEncoder(), table, photos, protocol="original", sample=20, seed=1)
    assert images_of(drawn) != images_of(report)
    whole = evaluate_retrieval(HueEncoder(), table, photos, protocol="original")
    assert whole.metrics[0]["images"] == 60


def test_a_split_restricts_the_gallery_too(photos: Path, table: CaptionTable, tmp_path: Path) -> None:
    splits = ["test" if at < 14 else "train" for at in range(60)]
    own = CaptionTable("hues.csv", {**table.columns, "split": splits})
    report = evaluate_retrieval(HueEncoder(), own, photos, split="test")
    assert (report.metrics[0]["images"], report.metrics[0]["queries"]) == (7, 14)
    assert report.metrics[0]["dataset"] == "hues[split=test]"
    lines = ["image,split", *(f"{number:02}.png,{'test' if number < 7 else 'train'}" for number in range(30))]
    (tmp_path / "split.csv").write_text("\n".join(lines))
    apart = evaluate_retrieval(HueEncoder(), table, photos, split="test", split_table=tmp_path / "split.csv")
    assert apart.metrics == report.metrics
    with pytest.raises(DataError, match="in the split 'dev'") as caught:
        evaluate_retrieval(HueEncoder(), table, photos, split="dev", split_table=tmp_path / "split.csv")
    assert "test, train" in caught.value.hint
    with pytest.raises(DataError, match="no column 'split'"):
        evaluate_retrieval(HueEncoder(), table, photos, split="test")


def test_several_models_are_compared_on_the_same_queries(photos: Path, table: CaptionTable, tmp_path: Path) -> None:
    report = evaluate_retrieval([HueEncoder(), BlindEncoder()], table, photos, ks=(1, 5), out=tmp_path / "out")
    assert [(one["model"], one["direction"]) for one in report.metrics] == [
        ("hue", "text_to_image"), ("hue", "image_to_text"), ("blind", "text_to_image"), ("blind", "image_to_text"),
    ]  # fmt: skip
    alone = evaluate_retrieval(BlindEncoder(), table, photos, ks=(1, 5))
    assert report.metrics[2:] == alone.metrics
    written = json.loads((tmp_path / "out/comparisons.json").read_text())
    assert written == report.comparisons
    one = next(
        line for line in written if (line["direction"], line["metric"]) == ("text_to_image", "accuracy_at_1")
    )  # fmt: skip
    assert (one["first"], one["second"], one["difference"], one["ci95"]) == ("hue", "blind", -1.0, [-1.0, -1.0])
    assert one["p"] == one["p_holm"] < 0.001
    assert {line["model"] for line in report.ranks} == {"hue", "blind"}
    assert len(report.ranks) == 2 * (60 + 30)


def test_pairs_are_corrected_for_their_number_and_same_names_are_told_apart(photos: Path, table: CaptionTable) -> None:
    report = evaluate_retrieval([HueEncoder(), BlindEncoder(), SameNameEncoder()], table, photos, ks=[1])
    names = [one["model"] for one in report.metrics if one["direction"] == "text_to_image"]
    assert names == ["hue@aaaaaaaa", "blind", "hue@cccccccc"]
    mrr = {
        (one["first"], one["second"]): one
        for one in report.comparisons
        if one["metric"] == "mrr" and one["direction"] == "text_to_image"
    }
    assert len(mrr) == 3
    same = mrr["hue@aaaaaaaa", "hue@cccccccc"]
    assert (same["difference"], same["p"], same["p_holm"]) == (0.0, 1.0, 1.0)
    clear = mrr["hue@aaaaaaaa", "blind"]
    assert clear["p_holm"] == pytest.approx(3 * clear["p"], abs=1e-5)


def test_the_curve_ends_at_one_and_agrees_with_the_metrics(photos: Path, table: CaptionTable) -> None:
    report = evaluate_retrieval([HueEncoder(), BlindEncoder()], table, photos, ks=(1, 5, 10, 30))
    for result, metrics in zip(report.results, report.metrics, strict=True):
        curve = accuracy_curve(result)
        assert curve.ks[0] == 1
        assert curve.ks[-1] == (30 if metrics["direction"] == "text_to_image" else 60)
        assert curve.accuracy[-1] == 1.0
        assert (np.diff(curve.accuracy) >= 0).all()
        assert (curve.low <= curve.accuracy).all()
        assert (curve.high >= curve.accuracy).all()
        for k in (1, 5, 10):
            assert curve.accuracy[curve.ks == k][0] == pytest.approx(metrics["accuracy_at_k"][str(k)], abs=1e-6)


class _Page(HTMLParser):
    """Collects addresses and text, and checks that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "img", "br"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_self_contained_and_shows_the_misses(photos: Path, tmp_path: Path) -> None:
    evil = "40 200 0 <script>alert(1)</script>"
    table = CaptionTable("hues.csv", {
        "image": ["00.png", "29.png", "15.png"], "caption_id": ["0", "0", "0"],
        "caption_fa": [" ".join(map(str, _colour(29))), "40 0 200", "40 141 141"], "caption_en": [evil, "", ""],
    })  # fmt: skip
    evaluate_retrieval([HueEncoder(), BlindEncoder()], table, photos, out=tmp_path / "out")
    page = _Page((tmp_path / "out/report.html").read_text(encoding="utf-8"))
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    assert sum(source.startswith("data:image/png") for source in page.sources) == 2
    # hue misses one query (its own and two found), blind all three.
    assert sum(source.startswith("data:image/jpeg") for source in page.sources) == 3 + 3 * 3
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "rank 3 of 3" in page.text
    assert "Is one better?" in page.text


def test_text_from_data_cannot_become_markup(photos: Path, tmp_path: Path) -> None:
    table = CaptionTable("<b>x</b>.csv", {"image": ["00.png", "01.png"], "caption_id": ["0", "1"],
                         "caption_fa": ["40 0 200", "40 0 200"]})  # fmt: skip

    class Evil(BlindEncoder):
        name = "<script>alert('x')</script>"

    evaluate_retrieval(Evil(), table, photos, out=tmp_path / "out")
    page = _Page((tmp_path / "out/report.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert "<script>alert('x')</script>" in page.text


def test_published_numbers_have_a_table_of_their_own(photos: Path, table: CaptionTable, tmp_path: Path) -> None:
    evaluate_retrieval(HueEncoder(), table, photos, out=tmp_path / "out")
    text = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    ours, others = text.split("Published elsewhere")
    assert "XLM-RoBERTa" not in ours
    for one in RETRIEVAL:
        assert one.source.split(",")[0] in others
        assert one.system in others
    assert re.search(r"\bhue\b", others) is None


def test_without_matplotlib_the_numbers_and_the_page_are_written(
    photos: Path, table: CaptionTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = evaluate_retrieval(HueEncoder(), table, photos)
    report.write(tmp_path)
    assert (tmp_path / "accuracy_at_k.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    written = report.write(tmp_path)
    assert written.figure_problem is not None
    assert "peyda[measure]" in written.figure_problem.hint
    assert not (tmp_path / "accuracy_at_k.png").exists()  # an earlier run's must not stand beside new numbers
    assert json.loads((tmp_path / "metrics.json").read_text()) == report.metrics
    assert "data:image/png" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_figures_differ_between_linear_and_logarithmic(photos: Path, table: CaptionTable, tmp_path: Path) -> None:
    evaluate_retrieval(HueEncoder(), table, photos, out=tmp_path)
    for name in ("accuracy_at_k.png", "accuracy_at_k_log.png"):
        with Image.open(tmp_path / name) as figure:
            assert figure.width > 600
            assert figure.height > 400
    assert (tmp_path / "accuracy_at_k.png").read_bytes() != (tmp_path / "accuracy_at_k_log.png").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample": 0}, "at least 1"),
        ({"protocol": "theirs"}, "no protocol"),
        ({"protocol": "original", "gallery_images": "all"}, "further images"),
    ],
)
def test_wrong_arguments_are_refused(
    photos: Path, table: CaptionTable, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_retrieval(HueEncoder(), table, photos, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no model"):
        evaluate_retrieval([], table, photos)
