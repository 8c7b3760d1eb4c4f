"""WebDataset shards as the field writes them, and as they come off a bad disk or from a bad neighbour."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from peyda.errors import DataError, ImageRefused
from peyda.training.loading import PhotoCaptions, SkipLog, photo_batches
from peyda.training.loading.shard_names import shard_paths
from peyda.training.loading.shards import CAPTION_BYTES
from peyda.types import Float32

Members = list[tuple[str, bytes]]


def jpeg(shade: int, size: tuple[int, int] = (24, 16)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (shade, shade, shade)).save(out, "JPEG")
    return out.getvalue()


SAMPLE = 512 + -(-len(jpeg(0)) // 512) * 512 + 512 + 512
"""Bytes of a sample of `text_samples` in a shard: a header and the photograph, a header and a short text."""


def write_shard(path: Path, members: Members, form: int = tarfile.USTAR_FORMAT) -> Path:
    """As the webdataset package's `TarWriter` writes: plain members, one after the other, and an end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o444
            tar.addfile(info, io.BytesIO(data))
    return path


def text_samples(first: int, count: int) -> Members:
    return [
        member
        for number in range(first, first + count)
        for member in ((f"{number:06}.jpg", jpeg(number)), (f"{number:06}.txt", f"عکس {number}".encode()))
    ]


def reasons(source: PhotoCaptions) -> dict[str, str]:
    return {one.path.rsplit("/", 1)[-1]: one.reason for one in source.skipped}


def names(source: PhotoCaptions) -> list[str]:
    return [photo.rsplit("/", 1)[-1] for photo in source.photos]


def preprocess(image: Image.Image) -> Float32:
    return np.asarray(image.resize((4, 4)), np.float32).transpose(2, 0, 1)


def test_shards_in_a_range(tmp_path: Path) -> None:
    for shard in range(3):
        write_shard(tmp_path / f"shard-{shard:06}.tar", text_samples(10 * shard, 4))
    source = PhotoCaptions.from_webdataset(f"{tmp_path}/shard-{{000000..000002}}.tar")
    assert len(source) == 12
    assert source.photos[4] == f"{tmp_path}/shard-000001.tar/000010.jpg"
    assert source.texts_of(4) == ["عکس 10"]
    assert source.skipped == ()
    for number, shade in ((0, 0), (4, 10), (11, 23)):
        assert source.read(number, target_px=8).getpixel((3, 3)) == pytest.approx((shade,) * 3, abs=2)


def test_shards_make_the_same_batches_whatever_the_workers(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    members = text_samples(0, 20)
    members[6] = ("000003.jpg", jpeg(3)[:200])
    write_shard(tmp_path / "a.tar", members)
    source = PhotoCaptions.from_webdataset(tmp_path / "a.tar")
    log = SkipLog()
    runs = [
        list(photo_batches(source, batch=4, seed=0, epoch=0, preprocess=preprocess, workers=workers, on_skip=log))
        for workers in (0, 3)
    ]
    assert len(runs[0]) == len(runs[1]) == 5
    for one, other in zip(*runs, strict=True):
        assert torch.equal(one.images, other.images)
        assert one.texts == other.texts
        for number, texts, pixels in zip(one.photos.tolist(), one.texts, one.images, strict=True):
            assert texts == [f"عکس {number}"]
            assert abs(float(pixels.mean()) - number) < 3
    assert [one.path.rsplit("/", 1)[-1] for one in log.skipped] == ["000003.jpg"]


def test_captions_of_every_shape(tmp_path: Path) -> None:
    def document(value: object) -> bytes:
        return json.dumps(value, ensure_ascii=False).encode()

    shapes: dict[str, tuple[list[tuple[str, bytes]], list[str]]] = {
        "one": ([("txt", "سگی\u200cدر برف \n".encode())], ["سگی\u200cدر برف"]),
        "lines": ([("txt", "سگ\r\n\r\n گربه  سیاه\n".encode())], ["سگ", "گربه سیاه"]),
        "bom": ([("txt", "\ufeffسگ".encode())], ["سگ"]),
        "list": ([("json", document(["سگ", "گربه", "سگ"]))], ["سگ", "گربه"]),
        "captions": ([("json", document({"captions": ["سگ", "", "گربه"]}))], ["سگ", "گربه"]),
        "karpathy": (
            [("json", document({"sentences": [{"raw": "سگ"}, {"raw": "گربه", "sentid": 3}]}))],
            ["سگ", "گربه"],
        ),
        "column": ([("json", document({"caption_fa": "سگ", "caption": "a dog"})), ("txt", b"a dog")], ["سگ"]),
        "img2dataset": ([("json", document({"key": "1", "caption": "a dog", "url": "x"})), ("txt", b"dog")], ["dog"]),
        "string": ([("json", document("سگ"))], ["سگ"]),
        "broken": ([("json", b'{"caption'), ("txt", b"dog")], ["dog"]),
    }
    members = [
        member
        for key, (texts, _) in shapes.items()
        for member in [(f"./{key}.JPG", jpeg(9)), *((f"./{key}.{ending}", data) for ending, data in texts)]
    ]
    source = PhotoCaptions.from_webdataset(write_shard(tmp_path / "a.tar", members))
    assert source.skipped == ()
    found = {name.removesuffix(".JPG"): source.texts_of(number) for number, name in enumerate(names(source))}
    assert found == {key: expected for key, (_, expected) in shapes.items()}


def test_samples_that_lack_something_are_skipped_with_a_reason(tmp_path: Path) -> None:
    members = [
        ("__meta__", b"x"),
        ("._hidden.jpg", b"x"),
        ("good.jpg", jpeg(1)),
        ("good.txt", b"dog"),
        ("good.cls", b"3"),
        ("alone.txt", b"no picture"),
        ("mute.jpg", jpeg(2)),
        ("blank.jpg", jpeg(2)),
        ("blank.txt", b" \n "),
        ("numbers.jpg", jpeg(2)),
        ("numbers.json", b'{"width": 3, "caption": 7}'),
        ("latin.jpg", jpeg(2)),
        ("latin.txt", "سگ در برف".encode("cp1256")),
        ("deep.jpg", jpeg(2)),
        ("deep.json", b"[" * 200_000),
        ("long.jpg", jpeg(2)),
        ("long.txt", b"x" * (CAPTION_BYTES + 1)),
        ("good.jpg", jpeg(3)),
        ("good.txt", b"cat"),
        ("sub/good.png", jpeg(4)),
        ("sub/good.txt", b"bird"),
    ]
    source = PhotoCaptions.from_webdataset(write_shard(tmp_path / "a.tar", members))
    assert [source.texts_of(number) for number in range(len(source))] == [["dog"], ["bird"]]
    assert reasons(source) == {
        "alone": "no_image",
        "mute.jpg": "no_text",
        "blank.jpg": "no_text",
        "numbers.jpg": "no_text",
        "latin.jpg": "unreadable_text",
        "deep.jpg": "unreadable_text",
        "long.jpg": "file_too_large",
        "good.jpg": "duplicate_key",
    }


class Explosive:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('a pickle was opened')",))


def test_nothing_in_a_shard_is_run_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = tmp_path / "in" / "a.tar"
    shard.parent.mkdir()
    evil = pickle.dumps(Explosive())
    with tarfile.open(shard, "w") as tar:
        for name, data in (
            ("a.pyd", evil), ("a.pickle", evil), ("a.jpg", jpeg(5)), ("a.txt", b"dog"),
            ("../../out.jpg", jpeg(6)), ("../../out.txt", b"cat"), ("/tmp/abs.jpg", jpeg(7)), ("/tmp/abs.txt", b"cow"),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for kind, target in ((tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "a.jpg"), (tarfile.FIFOTYPE, "")):
            info = tarfile.TarInfo(f"link{kind.decode()}.txt")
            info.type, info.linkname = kind, target
            tar.addfile(info)
    monkeypatch.chdir(shard.parent)
    source = PhotoCaptions.from_webdataset("a.tar")
    assert [source.texts_of(number) for number in range(len(source))] == [["dog"], ["cat"], ["cow"]]
    assert source.read(0, target_px=16).size == (24, 16)
    assert source.skipped == ()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar", "in"]


# --- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "long_names"),
    [(tarfile.USTAR_FORMAT, False), (tarfile.PAX_FORMAT, True), (tarfile.GNU_FORMAT, True)],
    ids=["ustar", "pax", "gnu"],
)
def test_what_stands_before_the_cut_is_kept(tmp_path: Path, form: int, long_names: bool) -> None:
    prefix = "پوشه" * 60 + "/" if long_names else ""
    members = [(prefix + name, data) for name, data in text_samples(0, 6)]
    whole = write_shard(tmp_path / "whole.tar", members, form).read_bytes()
    assert len(PhotoCaptions.from_webdataset(tmp_path / "whole.tar")) == 6
    shard = tmp_path / "cut.tar"
    first = whole.index("عکس 0".encode()) + len("عکس 0".encode())
    counts = []
    for end in range(first - 900, len(whole), 300):
        shard.write_bytes(whole[:end])
        if end < first:
            with pytest.raises(DataError, match="no photograph with a caption"):
                PhotoCaptions.from_webdataset(shard)
            continue
        source = PhotoCaptions.from_webdataset(shard)
        for number in range(len(source)):
            assert source.texts_of(number) == [f"عکس {number}"]
            assert source.read(number, target_px=8).getpixel((0, 0)) == pytest.approx((number,) * 3, abs=2)
        if len(source) < 6:
            assert "shard_damaged" in [one.reason for one in source.skipped]
        counts.append(len(source))
    assert counts == sorted(counts)
    assert set(counts) == set(range(1, 7))


def test_damage_in_one_shard_leaves_the_others(tmp_path: Path) -> None:
    good = write_shard(tmp_path / "0.tar", text_samples(0, 2)).read_bytes()
    (tmp_path / "1.tar").write_bytes(b"")
    (tmp_path / "2.tar").write_bytes(b"not a tar at all" * 100)
    (tmp_path / "3.tar").write_bytes(gzip.compress(good))
    (tmp_path / "4.tar").write_bytes(good[:SAMPLE] + b"\xff" * 512 + good[SAMPLE + 512 :])
    write_shard(tmp_path / "5.tar", text_samples(0, 2))
    source = PhotoCaptions.from_webdataset(tmp_path)
    assert [photo[len(str(tmp_path)) :] for photo in source.photos] == [
        "/0.tar/000000.jpg", "/0.tar/000001.jpg", "/4.tar/000000.jpg", "/5.tar/000000.jpg", "/5.tar/000001.jpg",
    ]  # fmt: skip
    assert reasons(source) == dict.fromkeys(("1.tar", "2.tar", "3.tar", "4.tar"), "shard_damaged")
    detail = {one.path[-5:]: one.detail for one in source.skipped}
    assert "compressed" in detail["3.tar"]
    assert "no header where one should be" in detail["4.tar"]
    with pytest.raises(DataError, match="shard_damaged 1"):
        PhotoCaptions.from_webdataset(tmp_path / "2.tar")


def test_headers_that_lie_end_the_shard(tmp_path: Path) -> None:
    good = write_shard(tmp_path / "good.tar", text_samples(0, 1)).read_bytes()[:SAMPLE]

    def header(**fields: object) -> bytes:
        info = tarfile.TarInfo("x.jpg")
        for name, value in fields.items():
            setattr(info, name, value)
        return info.tobuf(tarfile.GNU_FORMAT)

    lies = {
        "negative": header(size=-2048),
        "huge": header(size=1 << 60),
        "huge_name": header(type=tarfile.GNUTYPE_LONGNAME, size=1 << 40),
        "huge_pax": header(type=tarfile.XHDTYPE, size=1 << 33),
        "many_pax": header(type=tarfile.XHDTYPE, size=0) * 5000,
    }
    for name, lie in lies.items():
        shard = tmp_path / f"{name}.tar"
        shard.write_bytes(good + lie + bytes(10240))
        source = PhotoCaptions.from_webdataset(shard)
        assert names(source) == ["000000.jpg"], name
        assert f"{name}.tar" in reasons(source), name


def test_a_shard_that_changes_afterwards_is_a_reason(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", text_samples(0, 3))
    source = PhotoCaptions.from_webdataset(shard)
    shard.write_bytes(shard.read_bytes()[:600])
    with pytest.raises(ImageRefused) as caught:
        source.read(2, target_px=8)
    assert caught.value.reason == "truncated"
    shard.unlink()
    with pytest.raises(ImageRefused) as caught:
        source.read(2, target_px=8)
    assert caught.value.reason == "vanished"


# --- splits --------------------------------------------------------------------------------------------------------


def test_splits_of_samples(tmp_path: Path) -> None:
    members = [
        member
        for number, split in enumerate(("train", "val", "test", "train", ""))
        for member in (
            (f"p{number}.jpg", jpeg(number)),
            (f"p{number}.json", json.dumps({"caption_fa": f"عکس {number}", "split": split}).encode()),
        )
    ]
    shard = write_shard(tmp_path / "a.tar", members)
    train = PhotoCaptions.from_webdataset(shard)
    assert names(train) == ["p0.jpg", "p3.jpg", "p4.jpg"]
    assert train.left_out == {"other_split": 2}
    assert names(PhotoCaptions.from_webdataset(shard, "val")) == ["p1.jpg", "p4.jpg"]
    assert len(PhotoCaptions.from_webdataset(shard, None)) == 5
    table = tmp_path / "splits.csv"
    table.write_text("image,split\np1.jpg,train\np2.jpg,test\n", encoding="utf-8")
    by_table = PhotoCaptions.from_webdataset(shard, "train", split_table=table)
    assert names(by_table) == ["p1.jpg"]
    assert by_table.left_out == {"no_split": 3, "other_split": 1}
    assert by_table.held_out == {"p2"}
    with pytest.raises(DataError, match="in the split 'val'") as caught:
        PhotoCaptions.from_webdataset(shard, "val", split_table=table)
    assert caught.value.hint == "its splits: test, train"


def test_keys_that_are_running_numbers_are_not_the_same_photograph(tmp_path: Path) -> None:
    train = PhotoCaptions.from_webdataset(write_shard(tmp_path / "train" / "0.tar", text_samples(0, 3)))
    test = PhotoCaptions.from_webdataset(write_shard(tmp_path / "test" / "0.tar", text_samples(0, 3)))
    train.check_apart(test)
    assert len(PhotoCaptions.joined([train, test])) == 6
    with pytest.raises(DataError, match="3 photographs"):
        train.check_apart(train)


# --- names of shards -----------------------------------------------------------------------------------------------


def test_names_of_shards(tmp_path: Path) -> None:
    for name in ("a-08.tar", "a-09.tar", "a-10.tar", "b.tar", "odd{1..2}[x].tar"):
        write_shard(tmp_path / name, text_samples(0, 1))

    def found(*patterns: str) -> list[str]:
        return [Path(one).name for one in shard_paths([f"{tmp_path}/{pattern}" for pattern in patterns])]

    assert found("a-{08..10}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar"]
    assert found("a-{10,08}.tar") == ["a-10.tar", "a-08.tar"]
    assert found("{a,a}-{08,09}.tar") == ["a-08.tar", "a-09.tar"]
    assert found("a-*.tar", "a-08.tar", "b.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "b.tar"]
    assert found("odd{1..2}[x].tar") == ["odd{1..2}[x].tar"]
    assert len(found("")) == 5


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a-{00..03}.tar", r"no shard .*a-00\.tar, nor 3 others"),
        ("none-*.tar", "no shard matches"),
        ("a-{9..1}.tar", "counts from 9 to 1"),
        ("a-{0..99999999}.tar", "counts from"),
        ("{0..999}{0..999}{0..999}", "more than 1,000,000"),
        ("pipe:cat x.tar", "no local path"),
        ("https://example.com/{0..1}.tar", "no local path"),
    ],
)
def test_names_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        shard_paths(pattern)
