"""`peyda.evaluation`: the rules of the gallery and of queries, with an encoder whose every answer is known."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from peyda.captions import CaptionTable, read_captions
from peyda.errors import DataError, ModelError, StorageError
from peyda.evaluation import RetrievalReport, evaluate_retrieval, gather_images
from peyda.types import Float32

COLOURS = {"قرمز": (255, 0, 0), "سبز": (0, 255, 0), "آبی": (0, 0, 255), "زرد": (255, 255, 0)}


class ColourEncoder:
    """Photographs are their mean colour; sentences the sum of the colour words in them."""

    name = "colours"
    embed_dim = 3
    fingerprint = "f00d"
    visual_fingerprint = "f00d"
    image_size_px = 8

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        rows = [np.asarray(image.convert("RGB"), dtype=np.float32).mean(axis=(0, 1)) for image in images]
        return _unit(rows)

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        return _unit([sum((np.asarray(COLOURS[word]) for word in text.split()), np.zeros(3)) for text in texts])

    def preprocess(self, image: Image.Image) -> Float32:
        raise NotImplementedError

    def encode_pixels(self, pixels: Float32) -> Float32:
        raise NotImplementedError


class CollapsedEncoder(ColourEncoder):
    """Maps everything to one point."""

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        return np.tile(np.float32([0.6, 0.0, 0.8]), (len(images), 1))

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        return np.tile(np.float32([0.6, 0.0, 0.8]), (len(texts), 1))


class BrokenEncoder(ColourEncoder):
    """A model whose weights overflowed."""

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        return np.full((len(texts), 3), np.nan, dtype=np.float32)


def _unit(rows: Sequence[object]) -> Float32:
    array = np.asarray(rows, dtype=np.float32).reshape(len(rows), 3)
    return array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), np.float32(1e-6))


def paint(path: Path, colour: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), COLOURS[colour]).save(path)


def table_of(*rows: tuple[str, str, str], source: str = "DATA/colours_test.csv") -> CaptionTable:
    """Rows of (image, kind, caption)."""
    images, kinds, captions = ([row[at] for row in rows] for at in range(3))
    columns = {"image": images, "caption_id": [str(at) for at in range(len(rows))], "kind": kinds}
    return CaptionTable(source, {**columns, "caption_fa": captions})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """red.png, green.png, blue.png and one that no table names: extra/yellow.png."""
    folder = tmp_path / "photos"
    for name, colour in [("red", "قرمز"), ("green", "سبز"), ("blue", "آبی"), ("extra/yellow", "زرد")]:
        paint(folder / f"{name}.png", colour)
    return folder


TABLE = table_of(
    ("set/red.png", "sentence", "قرمز"),
    ("set/red.png", "short", "سبز"),  # a caption that is wrong about its photograph
    ("green.png", "short", "سبز"),
    ("blue.png", "sentence", "آبی"),
)


def by_direction(report: RetrievalReport, direction: str) -> list[int]:
    return [line["rank"] for line in report.ranks if line["direction"] == direction]


def test_both_directions_by_hand(photos: Path) -> None:
    report = evaluate_retrieval(ColourEncoder(), TABLE, photos, ks=(2, 1, 2, 10))
    text_to_image, image_to_text = report.metrics
    # The wrong caption scores 1 with green, 0 with red and 0 with blue: a tie, which counts against it.
    assert by_direction(report, "text_to_image") == [1, 3, 1, 1]
    # Green has its own caption and a stranger that scores the same.
    assert by_direction(report, "image_to_text") == [1, 2, 1]
    assert list(text_to_image) == [
        "model", "dataset", "direction", "queries", "images", "accuracy_at_k", "mrr", "median_rank", "mean_rank",
        "ndcg_at_k", "ci95", "protocol",
    ]  # fmt: skip
    assert (text_to_image["direction"], image_to_text["direction"]) == ("text_to_image", "image_to_text")
    assert (text_to_image["model"], text_to_image["dataset"]) == ("colours", "colours_test")
    assert (text_to_image["queries"], text_to_image["images"]) == (4, 3)
    assert (image_to_text["queries"], image_to_text["images"]) == (3, 3)
    assert text_to_image["accuracy_at_k"] == {"1": 0.75, "2": 0.75, "10": 1.0}
    assert text_to_image["mrr"] == pytest.approx((3 + 1 / 3) / 4, abs=1e-6)
    assert image_to_text["accuracy_at_k"] == {"1": pytest.approx(2 / 3, abs=1e-6), "2": 1.0, "10": 1.0}
    assert image_to_text["median_rank"] == 1.0
    low, high = text_to_image["ci95"]["accuracy_at_k"]["1"]
    assert 0.5 <= low < 0.75 < high <= 1.0
    assert set(text_to_image["ci95"]) == {"accuracy_at_k", "mrr", "mean_rank", "ndcg_at_k"}
    assert text_to_image["mean_rank"] == 1.5
    # nDCG@2: three queries have theirs first, one third. Image to text: red has captions at 1 and (after two strangers
    # that are as green or as far) 4, green is second after the stranger, blue first.
    assert text_to_image["ndcg_at_k"]["2"] == 0.75
    second = 1 / math.log2(3)
    assert image_to_text["ndcg_at_k"]["2"] == pytest.approx((1 / (1 + second) + second + 1) / 3, abs=1e-6)


def test_where_chooses_queries_and_not_the_gallery(photos: Path) -> None:
    report = evaluate_retrieval(ColourEncoder(), TABLE, photos, where={"kind": "short"})
    assert report.metrics[0]["dataset"] == "colours_test[kind=short]"
    assert (report.metrics[0]["queries"], report.metrics[0]["images"]) == (2, 3)
    assert report.metrics[1]["queries"] == 2


def test_empty_captions_are_no_queries(photos: Path) -> None:
    table = table_of(("red.png", "s", "قرمز"), ("green.png", "s", ""), ("blue.png", "s", " \u200c\u200f "))
    report = evaluate_retrieval(ColourEncoder(), table, photos)
    assert (report.metrics[0]["queries"], report.metrics[0]["images"]) == (1, 3)
    assert report.run["empty_captions"] == 2


def test_a_collapsed_encoder_scores_zero(photos: Path) -> None:
    report = evaluate_retrieval(CollapsedEncoder(), TABLE, photos, ks=(1, 2, 3))
    assert report.metrics[0]["accuracy_at_k"] == {"1": 0.0, "2": 0.0, "3": 1.0}
    assert report.metrics[1]["accuracy_at_k"]["2"] == 0.0


@pytest.mark.parametrize("how", ["all", "list.txt", "list.csv"])
def test_further_gallery_images_compete(photos: Path, tmp_path: Path, how: str) -> None:
    if how != "all":
        text = "extra/yellow.png\n\nset/red.png\nnone.png\n"
        (tmp_path / how).write_text(text if how == "list.txt" else "image\n" + text)
        how = str(tmp_path / how)
    table = table_of(("red.png", "s", "قرمز سبز"), ("green.png", "s", "سبز"))
    alone = evaluate_retrieval(ColourEncoder(), table, photos)
    crowded = evaluate_retrieval(ColourEncoder(), table, photos, gallery_images=how)
    assert alone.metrics[0]["images"] == 2
    assert crowded.metrics[0]["images"] == (4 if how == "all" else 3)
    # "red green" is yellow exactly; before that photograph came, red only tied with green.
    assert by_direction(alone, "text_to_image") == [2, 1]
    assert by_direction(crowded, "text_to_image") == [3, 1]
    assert [one.path for one in crowded.skipped] == ([] if how == "all" else ["none.png"])


def test_two_names_of_one_file_are_one_image(photos: Path) -> None:
    (photos / "link.png").symlink_to(photos / "red.png")
    table = table_of(("red.png", "s", "قرمز"), ("x/red.png", "s", "قرمز"), ("link.png", "s", "قرمز"))
    report = evaluate_retrieval(ColourEncoder(), table, photos)
    assert report.metrics[0]["images"] == 1
    assert by_direction(report, "text_to_image") == [1, 1, 1]
    assert report.metrics[1]["queries"] == 1


def test_missing_and_unreadable_photographs_are_counted_with_their_captions(photos: Path) -> None:
    (photos / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    (photos / "a").mkdir()
    (photos / "b").mkdir()
    for folder in ("a", "b"):
        paint(photos / folder / "twice.png", "سبز")
    rows = [(name, "s", "قرمز") for name in ("red.png", "bad.png", "none.png", "twice.png")]
    report = evaluate_retrieval(ColourEncoder(), table_of(*rows), photos)
    assert (report.metrics[0]["queries"], report.metrics[0]["images"]) == (1, 1)
    assert report.run["captions_without_image"] == 3
    assert report.run["skipped_images"] == 3
    reasons = {os.path.basename(one.path): one.reason for one in report.skipped}
    assert reasons["none.png"] == "not_found"
    assert reasons["twice.png"] == "ambiguous"
    assert reasons["bad.png"]
    assert all(one.detail for one in report.skipped)


def test_more_photographs_than_a_batch_keep_their_rows(tmp_path: Path) -> None:
    names = [f"{number:03}.png" for number in range(75)]
    for number, name in enumerate(names):
        Image.new("RGB", (8, 8), (255, number * 3, 40)).save(tmp_path / name)
    (tmp_path / names[40]).write_bytes(b"")
    rows = [(name, "s", "قرمز") for name in names]
    steps: list[tuple[str, int, int]] = []
    report = evaluate_retrieval(ColourEncoder(), table_of(*rows), tmp_path, progress=lambda *step: steps.append(step))
    # The redder a photograph, the better its rank: the first has the least green.
    assert by_direction(report, "text_to_image") == list(range(1, 75))
    assert [step for step in steps if step[0] == "images"][-1] == ("images", 75, 75)
    assert steps[-1] == ("texts", 74, 74)


def test_files_are_written_whole(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "my.table.csv"
    lines = [f"{image},{kind},{caption}" for image, kind, caption in zip(
        TABLE.column("image"), TABLE.column("kind"), TABLE.column("caption_fa"), strict=True)]  # fmt: skip
    table.write_text("\n".join(["image,kind,caption_fa", *lines, "none.png,short,سبز", "short,row"]), encoding="utf-8")
    out = tmp_path / "deep/out"
    report = evaluate_retrieval(ColourEncoder(), table, photos, out=out)
    assert json.loads((out / "metrics.json").read_text()) == report.metrics
    ranks = [json.loads(line) for line in (out / "ranks.jsonl").read_text(encoding="utf-8").splitlines()]
    assert ranks == report.ranks
    assert ranks[1] == {
        "model": "colours", "direction": "text_to_image", "image": "set/red.png", "caption_id": "1",
        "caption": "سبز", "rank": 3,
    }  # fmt: skip
    skipped = [json.loads(line) for line in (out / "skipped.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(one.get("image"), one.get("line"), one["reason"]) for one in skipped] == [
        ("none.png", None, "not_found"),
        (None, 7, "wrong_columns"),
    ]
    run = json.loads((out / "run.json").read_text())
    assert (run["model"], run["fingerprint"], run["normalizer_version"]) == ("colours", "f00d", "1")
    assert (run["queries"], run["images"], run["skipped_rows"], run["table"]) == (4, 3, 1, "my.table.csv")
    assert sorted(os.listdir(out)) == [
        "accuracy_at_k.png", "accuracy_at_k_log.png", "comparisons.json", "metrics.json", "ranks.jsonl", "report.html",
        "run.json", "skipped.jsonl",
    ]  # fmt: skip
    assert evaluate_retrieval(ColourEncoder(), table, photos, out=out).metrics == report.metrics


def test_names_with_undecodable_bytes_are_written(photos: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"odd\xff.png")
    paint(photos / name, "قرمز")
    report = evaluate_retrieval(ColourEncoder(), table_of((name, "s", "قرمز")), photos, out=tmp_path / "out")
    line = json.loads((tmp_path / "out/ranks.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert line["image"] == name
    assert report.metrics[0]["queries"] == 1


def test_an_out_that_cannot_be_written_is_said(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        evaluate_retrieval(ColourEncoder(), TABLE, photos, out=tmp_path / "file")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"column": "caption_de"}, "no column 'caption_de'"),
        ({"where": {"kind": "long"}}, "kind = long"),
        ({"column": "empty"}, "leaves no query: 1 captions in empty are empty"),
        ({"gallery_images": "none.txt"}, "none.txt cannot be read"),
    ],
)
def test_what_leaves_nothing_to_measure_is_refused(photos: Path, options: dict[str, object], message: str) -> None:
    table = table_of(("red.png", "s", "قرمز"))
    table = CaptionTable(table.source, {**table.columns, "empty": [""]})
    with pytest.raises(DataError, match=message) as caught:
        evaluate_retrieval(ColourEncoder(), table, photos, **options)  # type: ignore[arg-type]
    assert caught.value.hint


def test_a_list_of_no_images_is_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\n \n")
    with pytest.raises(DataError, match="lists no images"):
        evaluate_retrieval(ColourEncoder(), TABLE, photos, gallery_images=tmp_path / "list.txt")


def test_photographs_that_are_not_there_are_refused(photos: Path) -> None:
    with pytest.raises(DataError, match=r"none of the 1 images .*nowhere\.png"):
        evaluate_retrieval(ColourEncoder(), table_of(("nowhere.png", "s", "قرمز")), photos)
    (photos / "red.png").write_bytes(b"")
    with pytest.raises(DataError, match="no photograph with a caption could be read"):
        evaluate_retrieval(ColourEncoder(), table_of(("red.png", "s", "قرمز")), photos)


def test_a_broken_model_and_wrong_ks_are_refused(photos: Path) -> None:
    with pytest.raises(ModelError, match="not finite"):
        evaluate_retrieval(BrokenEncoder(), TABLE, photos)
    for ks in ([], [0, 1]):
        with pytest.raises(ValueError, match="positive"):
            evaluate_retrieval(ColourEncoder(), TABLE, photos, ks=ks)


def test_gather_images_puts_the_table_first(photos: Path) -> None:
    gallery = gather_images(["blue.png", "red.png"], photos, "all")
    assert [os.path.basename(path) for path in gallery.paths[:2]] == ["blue.png", "red.png"]
    assert {os.path.basename(path) for path in gallery.paths[2:]} == {"green.png", "yellow.png"}
    assert gallery.row_of_name == {"blue.png": 0, "red.png": 1}


def test_a_table_on_disk_equals_one_in_memory(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "colours_test.jsonl"
    path.write_text('{"image": "red.png", "caption_fa": "قرمز"}\n', encoding="utf-8")
    one = evaluate_retrieval(ColourEncoder(), path, photos)
    other = evaluate_retrieval(ColourEncoder(), read_captions(path), photos)
    assert one.metrics == other.metrics
