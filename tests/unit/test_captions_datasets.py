"""Published sets by name: read from folders in the hub's own layout, with the columns that the real copies have."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from peyda.captions import ReadOptions, datasets, open_reader
from peyda.errors import DataError

TEXT = {"dtype": "string", "_type": "Value"}
TEXTS = {"feature": TEXT, "_type": "Sequence"}
PICTURE = {"_type": "Image"}


def jpeg() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 10, 10)).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a data set where a name leads: split → columns, in the hub's layout."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def put(name: str, splits: dict[str, dict[str, list[Any]]], features: dict[str, Any]) -> None:
        folder = tmp_path / "hub" / name
        (folder / "data").mkdir(parents=True)
        files = [f"  - split: {split}\n    path: data/{split}-*\n" for split in splits]
        (folder / "README.md").write_text(
            "---\nconfigs:\n- config_name: default\n  data_files:\n" + "".join(files) + "---\n"
        )
        metadata = {"huggingface": json.dumps({"info": {"features": features}})} if features else {}
        for split, columns in splits.items():
            table = pa.table(columns).replace_schema_metadata(metadata)
            parquet.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")
        own = datasets.SETS[name]
        _, _, query = own.source.partition("?")
        wanted = [part for part in query.split("&") if part.startswith("split=")]  # a folder has no revisions
        here = dataclasses.replace(own, source="?".join([f"hf:{folder}", *wanted]))
        monkeypatch.setattr(datasets, "SETS", {**datasets.SETS, name: here})

    return put


def rows(name: str, images: Path) -> list[tuple[str, ...]]:
    with open_reader(f"set:{name}", options=ReadOptions(images_dir=str(images))) as reader:
        text = "caption_fa" if "caption_fa" in reader.columns else "caption_en"
        found = [(row["image"], row["caption_id"], row[text], row["split"]) for row in reader]
        assert reader.skipped == []
    return sorted(found)


@pytest.mark.filterwarnings("ignore")  # what datasets warns of is not ours
def test_flickr30k_has_no_split_of_its_own(publish: Callable[..., None], tmp_path: Path) -> None:
    columns = {
        "image": [{"bytes": jpeg(), "path": None}],
        "caption": [["Two men .", "A dog ."]],
        "sentids": [["0", "1"]],
        "img_id": ["0"],
        "filename": ["1000092795.jpg"],
    }
    publish("flickr30k", {"test": columns}, {"image": PICTURE, "caption": TEXTS, "sentids": TEXTS, "img_id": TEXT,
                                             "filename": TEXT})  # fmt: skip
    assert rows("flickr30k", tmp_path / "images") == [
        ("1000092795.jpg", "0", "Two men .", ""),
        ("1000092795.jpg", "1", "A dog .", ""),
    ]
    assert (tmp_path / "images" / "1000092795.jpg").read_bytes() == jpeg()


@pytest.mark.filterwarnings("ignore")
def test_nocaps_is_its_validation_split_for_measuring(publish: Callable[..., None], tmp_path: Path) -> None:
    columns = {
        "image": [{"bytes": jpeg(), "path": "0.jpg"}],
        "image_coco_url": ["https://example.org/0013ea2087020901.jpg"],
        "image_file_name": ["0013ea2087020901.jpg"],
        "annotations_ids": [[0, 1]],
        "annotations_captions": [["A baby .", "A child ."]],
    }
    publish("nocaps", {"validation": columns, "test": columns}, {})
    assert rows("nocaps", tmp_path / "images") == [
        ("0013ea2087020901.jpg", "0", "A baby .", "test"),
        ("0013ea2087020901.jpg", "1", "A child .", "test"),
    ]


@pytest.mark.filterwarnings("ignore")
def test_xm3600_fa_is_the_persian_split(publish: Callable[..., None], tmp_path: Path) -> None:
    def columns(caption: str) -> dict[str, list[Any]]:
        return {
            "image_id": ["000411001ff7dd4f"],
            "image_locale": ["fa"],
            "captions": [[caption]],
            "captions_tokenized": [[caption]],
            "image": [{"bytes": jpeg(), "path": None}],
        }

    publish("xm3600-fa", {"en": columns("a mosque"), "fa": columns("یک مسجد")}, {})
    assert rows("xm3600-fa", tmp_path / "images") == [("000411001ff7dd4f.jpg", "0", "یک مسجد", "test")]
    assert (tmp_path / "images" / "000411001ff7dd4f.jpg").is_file()


@pytest.mark.filterwarnings("ignore")
def test_coco_has_karpathys_splits_and_addresses(publish: Callable[..., None], tmp_path: Path) -> None:
    def columns(number: int) -> dict[str, list[Any]]:
        return {
            "filepath": ["val2014"],
            "sentids": [[1]],
            "filename": [f"COCO_{number}.jpg"],
            "imgid": [number],
            "sentences": [[f"Caption {number}"]],
            "cocoid": [number],
            "url": [f"http://images.example/COCO_{number}.jpg"],
        }

    publish("coco", {"train": columns(1), "restval": columns(2), "validation": columns(3), "test": columns(4)}, {})
    assert [(one[0], one[2], one[3]) for one in rows("coco", tmp_path / "images")] == [
        ("COCO_1.jpg", "Caption 1", "train"),
        ("COCO_2.jpg", "Caption 2", "train"),
        ("COCO_3.jpg", "Caption 3", "val"),
        ("COCO_4.jpg", "Caption 4", "test"),
    ]
    with open_reader("set:coco") as reader:
        assert next(iter(reader))["url"].startswith("http://")


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(DataError, match="no published set 'flikr30k'") as caught:
        open_reader("set:flikr30k")
    assert "set:flickr30k" in caught.value.hint
    assert "coco" in caught.value.hint


@pytest.mark.parametrize("name", datasets.SETS)
def test_the_page_says_what_the_code_does(name: str) -> None:
    one = datasets.SETS[name]
    page = (Path(__file__).parents[2] / "docs/data/sets.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {name} |")]
    copy, _, query = one.source.removeprefix("hf:").partition("?")
    assert copy in line
    parts = dict(part.split("=") for part in query.split("&")) if query else {}
    assert parts.get("revision", "")[:7] in line
    assert ("inside" in line) == one.has_photographs
    if one.reading.image_column:
        assert f"`{one.reading.image_column}`" in line
