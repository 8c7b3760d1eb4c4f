"""Splits by image, conversion without loss, and what `show` says of a table."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from peyda.captions import open_reader
from peyda.captions.convert import convert_table
from peyda.captions.splits import split_by_hash, split_by_lists, split_by_table
from peyda.captions.summary import summarise
from peyda.errors import DataError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_hash_split_has_the_shares_asked_for_and_another_seed_is_another_split() -> None:
    names = [f"{at:07}.jpg" for at in range(20_000)]
    rule = split_by_hash({"train": 0.8, "val": 0.05, "test": 0.15})
    counts = Counter(map(rule, names))
    for name, share in (("train", 0.8), ("val", 0.05), ("test", 0.15)):
        assert abs(counts[name] / len(names) - share) < 4 * math.sqrt(share * (1 - share) / len(names))
    other = split_by_hash({"train": 0.8, "val": 0.05, "test": 0.15}, seed="x")
    both = sum(rule(name) == other(name) == "train" for name in names) / len(names)
    assert abs(both - 0.64) < 0.02  # independent, as two draws are
    assert split_by_hash({"all": 1.0})("a") == "all"


def test_a_hash_split_is_of_the_photograph_not_of_its_path_and_never_changes() -> None:
    rule = split_by_hash()
    for name in (f"{at}.jpg" for at in range(50)):
        stem = name.removesuffix(".jpg")
        assert (
            len({rule(one) for one in (name, f"flickr8k/{name}", f"D:\\x\\{name}", f"{stem}.JPG", f"{stem}.png")}) == 1
        )
    # Pinned: a split that changes with a version would leak test photographs into training.
    assert [rule(f"{at}.jpg") for at in range(8)] == [
        "train",
        "test",
        "train",
        "train",
        "train",
        "train",
        "train",
        "test",
    ]
    assert rule("https://x.org/1/photo.jpg") == rule("http://x.org/1/photo.jpg")
    urls = {rule(f"https://x.org/{at}/photo.jpg") for at in range(50)}
    assert len(urls) > 1  # the whole address counts: its last part is often the same


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}])
def test_shares_that_are_none(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        split_by_hash(shares)


def test_splits_from_files(tmp_path: Path) -> None:
    table = write(tmp_path / "split.csv", "image,split\na.jpg,test\nsub/b.jpg,train\n")
    rule = split_by_table(str(table))
    assert [rule(name) for name in ("x/a.jpg", "b.jpg", "c.jpg")] == ["test", "train", ""]
    lists = {
        "train": str(write(tmp_path / "Flickr_8k.trainImages.txt", "a.jpg\nb.jpg\n\n")),
        "test": str(write(tmp_path / "Flickr_8k.testImages.txt", "c.jpg\n")),
    }
    rule = split_by_lists(lists)
    assert [rule(name) for name in ("a.jpg", "c.jpg", "d.jpg")] == ["train", "test", ""]
    write(tmp_path / "Flickr_8k.testImages.txt", "B.jpg\n")
    with pytest.raises(DataError, match=r"B\.jpg into test, and it is in train"):
        split_by_lists(lists)
    with pytest.raises(DataError, match="no column 'split'"):
        split_by_table(str(write(tmp_path / "no.csv", "image\na\n")))
    with pytest.raises(DataError, match="cannot be read"):
        split_by_lists({"test": str(tmp_path / "none.txt")})


def test_every_caption_of_an_image_is_in_one_split(tmp_path: Path) -> None:
    lines = [f"{image}.jpg,{at},x" for image in range(40) for at in range(5)]
    source = write(tmp_path / "t.csv", "image,caption_id,caption_en\n" + "\n".join(lines) + "\n")
    summary = convert_table(source, tmp_path / "out.parquet", split=split_by_hash())
    splits: dict[str, set[str]] = {}
    for row in open_reader(tmp_path / "out.parquet"):
        splits.setdefault(row["image"], set()).add(row["split"])
    assert all(len(one) == 1 for one in splits.values())
    assert sum(summary.splits.values()) == summary.rows == 200
    assert summary.images == 40


def test_an_image_in_two_splits_keeps_its_first(tmp_path: Path) -> None:
    source = write(tmp_path / "t.csv", "image,caption_id,split\na,0,train\na,1,test\nb,0,\nb,1,test\n")
    summary = convert_table(source, tmp_path / "out.csv")
    assert [(one.line, one.reason) for one in summary.skipped] == [(3, "split_conflict"), (5, "split_conflict")]
    assert [row["caption_id"] for row in open_reader(tmp_path / "out.csv")] == ["0", "0"]


def test_images_that_do_not_exist_are_rows_with_a_reason(tmp_path: Path) -> None:
    write(tmp_path / "images/a.jpg", "")
    write(tmp_path / "images/1/c.jpg", "")
    write(tmp_path / "images/2/c.jpg", "")
    source = write(tmp_path / "t.csv", "image,x\na.jpg,1\nb.jpg,2\nc.jpg,3\n../../etc/passwd,4\n")
    summary = convert_table(source, tmp_path / "out.csv", images=str(tmp_path / "images"))
    assert [(row["kept"], row["reason"], row["x"]) for row in open_reader(tmp_path / "out.csv")] == [
        ("", "", "1"),
        ("false", "image_not_found", "2"),
        ("false", "image_ambiguous", "3"),
        ("false", "image_not_found", "4"),
    ]
    assert summary.without_image == {"not_found": 2, "ambiguous": 1}
    with pytest.raises(DataError, match="no directory"):
        convert_table(source, tmp_path / "out.csv", images=str(tmp_path / "none"))


def test_filters_limits_and_other_columns(tmp_path: Path) -> None:
    source = write(tmp_path / "t.csv", "image,kind,mood\na,short,x\nb,sentence,y\nc,short,z\n")
    convert_table(source, tmp_path / "out.jsonl", where={"kind": ["short"]}, limit=1)
    assert list(open_reader(tmp_path / "out.jsonl")) == [
        {"image": "a", "caption_id": "0", "kind": "short", "mood": "x"}
    ]
    with pytest.raises(DataError, match="kind = long"):
        convert_table(source, tmp_path / "out.jsonl", where={"kind": ["long"]})
    with pytest.raises(DataError, match="no column 'sort'"):
        convert_table(source, tmp_path / "out.jsonl", where={"sort": ["x"]})
    with pytest.raises(DataError, match="no usable rows"):
        convert_table(write(tmp_path / "e.csv", "image\n"), tmp_path / "out.jsonl")
    assert len(list(open_reader(tmp_path / "out.jsonl"))) == 1  # the good one is still there


def test_a_summary_counts_what_there_is(tmp_path: Path) -> None:
    text = (
        "image,caption_id,caption_fa,engine,score_mini,kept,split\n"
        "a,0,سگ,mini,0.5,true,train\na,1,سگ در برف,mini,,false,train\n"
        "b,0,,google,1.0,,test\nb,1,x,google,oops,,test\n,,,,,,\n"
    )
    found = summarise(write(tmp_path / "t.csv", text), rows=2)
    assert (found.rows, found.images, found.most_captions) == (4, 2, 2)
    assert found.filled["caption_fa"] == 3
    assert found.longest["caption_fa"] == len("سگ در برف")
    assert found.values["engine"] == {"mini": 2, "google": 2}
    score = found.scores["score_mini"]
    assert (score.count, score.bad, score.low, score.high, score.mean) == (2, 1, 0.5, 1.0, 0.75)
    assert [row["image"] for row in found.sample] == ["a", "a"]


def test_a_sample_is_from_all_over_the_table_and_the_same_with_the_same_seed(tmp_path: Path) -> None:
    source = write(tmp_path / "t.csv", "image\n" + "\n".join(map(str, range(1000))) + "\n")
    picks = [[int(row["image"]) for row in summarise(source, rows=10, seed=seed).sample] for seed in (1, 1, 2)]
    assert picks[0] == picks[1] != picks[2]
    assert max(picks[0]) > 300
    assert len(set(picks[0])) == 10
