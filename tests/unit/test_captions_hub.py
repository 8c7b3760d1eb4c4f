"""Data sets of the Hugging Face hub: read from a folder in the hub's own layout, since tests have no network."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from peyda.captions import ReadOptions, open_reader
from peyda.errors import DataError


@pytest.fixture
def data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two splits of Parquet: pictures inside, five-in-one captions, as most caption sets of the hub have them."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "flickr_fa"
    (folder / "data").mkdir(parents=True)
    features = {
        "image": {"_type": "Image"},
        "captions": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "Sequence"},
        "filename": {"dtype": "string", "_type": "Value"},
    }
    for split, name in (("train", "a.jpg"), ("test", "b.jpg")):
        out = io.BytesIO()
        Image.new("RGB", (40, 30), (200, 10, 10)).save(out, "JPEG")
        table = pa.table(
            {
                "image": [{"bytes": out.getvalue(), "path": name}, {"bytes": b"no picture", "path": None}],
                "captions": [["سگی در برف", "سگ"], ["گربه"]],
                "filename": [name, ""],
            }
        ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        parquet.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")
    return f"hf:{folder}"


@pytest.mark.filterwarnings("ignore")  # what datasets warns of is not ours
def test_a_data_set_is_a_table(data_set: str, tmp_path: Path) -> None:
    options = ReadOptions(language="fa", images_dir=str(tmp_path / "images"))
    with open_reader(data_set, options=options) as reader:
        assert reader.columns == ("image", "caption_id", "caption_fa", "split", "filename")
        rows = [(row["image"], row["caption_id"], row["caption_fa"], row["split"]) for row in reader]
        assert [one.reason for one in reader.skipped] == ["not_an_image", "not_an_image"]
    assert sorted(rows) == [
        ("a.jpg", "0", "سگی در برف", "train"),
        ("a.jpg", "1", "سگ", "train"),
        ("b.jpg", "0", "سگی در برف", "test"),
        ("b.jpg", "1", "سگ", "test"),
    ]
    assert sorted(one.name for one in (tmp_path / "images").iterdir()) == ["a.jpg", "b.jpg"]


@pytest.mark.filterwarnings("ignore")
def test_one_split_and_no_pictures(data_set: str) -> None:
    with open_reader(f"{data_set}?split=test") as reader:
        rows = list(reader)
    assert [row["caption_en"] for row in rows] == ["سگی در برف", "سگ", "گربه"]
    assert {row["split"] for row in rows} == {"test"}
    assert rows[2]["image"] == "test-00000002.jpg"


@pytest.mark.filterwarnings("ignore")
def test_what_is_not_there_is_a_clear_error(data_set: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be loaded") as caught:
        open_reader(f"{data_set}?split=validation")
    assert "network" in caught.value.hint
    with pytest.raises(DataError, match="what is splti"):
        open_reader(f"{data_set}?splti=test")
    with pytest.raises(DataError, match="names no data set"):
        open_reader("hf:")


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="needs the package datasets") as caught:
        open_reader("hf:nlphuji/flickr30k")
    assert "peyda[hub]" in caught.value.hint
