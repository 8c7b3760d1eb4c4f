"""The loader over caption tables: who gets in, batches whatever the workers, resume, unreadable photographs."""

from __future__ import annotations

import csv
import os
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.hostile import cut, encoded, noisy, png_bomb

from peyda.errors import DataError, ImageRefused
from peyda.training.loading import PhotoBatch, PhotoCaptions, SkipLog, batches_per_epoch, photo_batches
from peyda.training.loading.tables import FileImages
from peyda.types import Float32, Skipped

torch = pytest.importorskip("torch")

SIZE = 8
PHOTOS = 23


def preprocess(image: Image.Image) -> Float32:
    return np.asarray(image.resize((SIZE, SIZE)), np.float32).transpose(2, 0, 1) / 255


def shaky(image: Image.Image, rng: np.random.Generator, texts: list[str]) -> Image.Image:
    """An augmentation that shows which lots it was given."""
    return Image.eval(image, lambda value: (value + int(rng.integers(256))) % 256)


def numbered(text: str, rng: np.random.Generator) -> str:
    return f"{text} {rng.integers(1 << 30)}"


def write_table(path: Path, rows: list[dict[str, str]]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(PHOTOS):
        colour = (number * 11 % 256, number * 47 % 256, number * 89 % 256)
        Image.new("RGB", (40, 30), colour).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [
        {"image": f"{number:02}.png", "caption_id": str(one), "caption_fa": f"عکس {number}/{one}", "split": "train"}
        for number in range(PHOTOS)
        for one in range(number % 4 + 1)
    ]
    return write_table(tmp_path / "captions.csv", rows)


def epoch(source: PhotoCaptions, **options: object) -> list[PhotoBatch]:
    chosen = {"batch": 5, "seed": 3, "epoch": 1, "captions_per_photo": 2, "preprocess": preprocess, **options}
    return list(photo_batches(source, augment_image=shaky, augment_text=numbered, **chosen))  # type: ignore[arg-type]


def same(one: list[PhotoBatch], other: list[PhotoBatch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a.images, b.images) and torch.equal(a.photos, b.photos) and a.texts == b.texts
        for a, b in zip(one, other, strict=True)
    )


# --- which rows get in ---------------------------------------------------------------------------------------------


def test_rows_that_are_rejected_or_of_other_splits_stay_out(tmp_path: Path, photos: Path) -> None:
    table = write_table(
        tmp_path / "t.csv",
        [
            {"image": "00.png", "caption_id": "0", "caption_fa": " سگ ", "kept": "true", "split": "train"},
            {"image": "00.png", "caption_id": "1", "caption_fa": "گربه", "kept": "false", "split": "train"},
            {"image": "00.png", "caption_id": "2", "caption_fa": "سگ", "kept": "", "split": "train"},
            {"image": "x/00.png", "caption_id": "3", "caption_fa": "سگی در برف", "split": "train"},
            {"image": "01.png", "caption_id": "0", "caption_fa": "اسب", "split": "val"},
            {"image": "02.png", "caption_id": "0", "caption_fa": "گاو", "split": ""},
            {"image": "03.png", "caption_id": "0", "caption_fa": " ", "split": "train"},
            {"image": "none.png", "caption_id": "0", "caption_fa": "ماهی", "split": "train"},
        ],
    )
    source = PhotoCaptions.from_table(table, photos)
    assert [os.path.basename(photo) for photo in source.photos] == ["00.png"]
    assert len(source) == 1
    assert source.texts_of(0) == ["سگ", "سگی در برف"]
    assert source.left_out == {"not_kept": 1, "other_split": 1, "no_split": 1, "no_text": 1}
    assert [(one.path, one.reason) for one in source.skipped] == [("none.png", "not_found")]
    assert source.held_out == {"01"}
    assert PhotoCaptions.from_table(table, photos, "val").texts_of(0) == ["اسب"]
    assert len(PhotoCaptions.from_table(table, photos, None)) == 3


def test_rows_can_be_chosen_and_weighted(tmp_path: Path, photos: Path) -> None:
    table = write_table(
        tmp_path / "t.csv",
        [
            {"image": "00.png", "caption_id": "0", "caption_fa": "سگ", "kind": "short", "weight": "3"},
            {"image": "00.png", "caption_id": "1", "caption_fa": "سگی در برف", "kind": "sentence", "weight": "1"},
            {"image": "00.png", "caption_id": "2", "caption_fa": "سگِ بد", "kind": "sentence", "weight": "0"},
        ],
    )
    source = PhotoCaptions.from_table(table, photos, None, weight_column="weight")
    assert source.weights_of(0).tolist() == pytest.approx([0.75, 0.25])
    assert source.left_out == {"no_weight": 1}
    drawn = Counter(
        text
        for number in range(400)
        for one in photo_batches(source, batch=1, seed=0, epoch=number, preprocess=preprocess)
        for text in one.texts[0]
    )
    assert drawn["سگ"] + drawn["سگی در برف"] == 400
    assert 260 < drawn["سگ"] < 340
    assert PhotoCaptions.from_table(table, photos, None, where={"kind": "short"}).texts_of(0) == ["سگ"]


@pytest.mark.parametrize("weight", ["-1", "nan", "inf", "many", ""])
def test_a_weight_that_is_none_is_an_error(tmp_path: Path, photos: Path, weight: str) -> None:
    table = write_table(tmp_path / "t.csv", [{"image": "00.png", "caption_fa": "سگ", "weight": weight}])
    with pytest.raises(DataError, match="line 2: weight is"):
        PhotoCaptions.from_table(table, photos, None, weight_column="weight")


def test_what_a_table_lacks_is_said(tmp_path: Path, photos: Path) -> None:
    table = write_table(tmp_path / "t.csv", [{"image": "00.png", "caption_en": "a dog"}])
    with pytest.raises(DataError, match="no column 'caption_fa'"):
        PhotoCaptions.from_table(table, photos)
    with pytest.raises(DataError, match="no column 'split'") as caught:
        PhotoCaptions.from_table(table, photos, column="caption_en")
    assert "--split hash" in caught.value.hint
    with pytest.raises(DataError, match="no directory"):
        PhotoCaptions.from_table(table, photos / "none", None, "caption_en")
    splits = write_table(tmp_path / "splits.csv", [{"image": "00.jpg", "split": "val"}])
    with pytest.raises(DataError, match="in the split 'train'") as caught:
        PhotoCaptions.from_table(table, photos, column="caption_en", split_table=splits)
    assert caught.value.hint == "its splits: val"
    lost = write_table(tmp_path / "lost.csv", [{"image": "99.png", "caption_en": "a dog"}])
    with pytest.raises(DataError, match="no photograph with a caption: not_found 1"):
        PhotoCaptions.from_table(lost, photos, None, "caption_en")


# --- honest splits -------------------------------------------------------------------------------------------------


def test_a_photograph_in_two_splits_is_refused(tmp_path: Path, photos: Path) -> None:
    rows = [
        {"image": "a/00.png", "caption_id": "0", "caption_fa": "سگ", "split": "train", "kept": "true"},
        {"image": "b/00.JPG", "caption_id": "1", "caption_fa": "سگی", "split": "test", "kept": "false"},
    ]
    with pytest.raises(DataError, match="in test, and it is in train already"):
        PhotoCaptions.from_table(write_table(tmp_path / "t.csv", rows), photos)


def test_one_file_under_two_names_in_two_splits_is_refused(tmp_path: Path, photos: Path) -> None:
    (photos / "train.png").symlink_to(photos / "00.png")
    (photos / "test.png").symlink_to(photos / "00.png")
    rows = [
        {"image": "train.png", "caption_fa": "سگ", "split": "train"},
        {"image": "test.png", "caption_fa": "سگی", "split": "test"},
    ]
    with pytest.raises(DataError, match=r"train\.png and test\.png are one file"):
        PhotoCaptions.from_table(write_table(tmp_path / "t.csv", rows), photos)


def test_a_table_of_splits_decides(tmp_path: Path, table: Path, photos: Path) -> None:
    splits = [{"image": f"{number:02}.jpg", "split": "train" if number % 2 else "test"} for number in range(PHOTOS)]
    by_table = write_table(tmp_path / "splits.csv", splits)
    train = PhotoCaptions.from_table(table, photos, split_table=by_table)
    test = PhotoCaptions.from_table(table, photos, "test", split_table=by_table)
    assert (len(train), len(test)) == (11, 12)
    train.check_apart(test)
    with pytest.raises(DataError, match="11 photographs are both trained on and measured on"):
        train.check_apart(PhotoCaptions.from_table(table, photos, None))


def test_joining_keeps_what_another_source_holds_out(tmp_path: Path, table: Path, photos: Path) -> None:
    whole = PhotoCaptions.from_table(table, photos)
    rows = [
        {"image": "00.png", "caption_fa": "سگ", "split": "train"},
        {"image": "01.png", "caption_fa": "گربه", "split": "test"},
    ]
    other = PhotoCaptions.from_table(write_table(tmp_path / "o.csv", rows), photos)
    with pytest.raises(DataError, match=r"01\.png is in another split in another source"):
        PhotoCaptions.joined([whole, other])
    more = PhotoCaptions.from_table(write_table(tmp_path / "m.csv", rows[:1]), photos)
    both = PhotoCaptions.joined([more, whole])
    assert len(both) == PHOTOS
    assert both.texts_of(0) == ["سگ", "عکس 0/0"]
    assert both.read(1, target_px=8).getpixel((0, 0)) == (11, 47, 89)


# --- batches -------------------------------------------------------------------------------------------------------


def test_a_batch_holds_what_it_says(table: Path, photos: Path) -> None:
    source = PhotoCaptions.from_table(table, photos)
    batches = epoch(source)
    assert len(batches) == batches_per_epoch(source, 5) == 4
    seen = [number for one in batches for number in one.photos.tolist()]
    assert len(set(seen)) == len(seen) == 20
    for one in batches:
        assert one.images.shape == (5, 3, SIZE, SIZE)
        assert (one.images.dtype, one.photos.dtype) == (torch.float32, torch.int64)
        for number, texts in zip(one.photos.tolist(), one.texts, strict=True):
            clean = [text.rsplit(" ", 1)[0] for text in texts]
            assert len(set(clean)) == len(clean) == min(2, number % 4 + 1)
            assert set(clean) <= set(source.texts_of(number))
    plain = list(photo_batches(source, batch=5, seed=3, epoch=1, preprocess=preprocess))
    number = int(plain[0].photos[0])
    expected = np.float32([number * 11 % 256, number * 47 % 256, number * 89 % 256]) / 255
    np.testing.assert_allclose(plain[0].images[0, :, 4, 4].numpy(), expected)


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_workers_change_nothing(table: Path, photos: Path, workers: int) -> None:
    for broken in ("05.png", "06.png", "17.png"):
        (photos / broken).write_bytes(b"no picture")
    source = PhotoCaptions.from_table(table, photos)
    told: list[Skipped] = []
    alone = epoch(source, on_skip=told.append)
    log = SkipLog()
    assert same(alone, epoch(source, workers=workers, on_skip=log))
    assert sorted(one.path for one in told) == sorted(one.path for one in log.skipped)


def test_seed_and_epoch_decide(table: Path, photos: Path) -> None:
    source = PhotoCaptions.from_table(table, photos)
    assert same(epoch(source), epoch(source))
    assert not same(epoch(source), epoch(source, epoch=2))
    assert not same(epoch(source), epoch(source, seed=4))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_in_the_middle_without_decoding_what_was(
    table: Path, photos: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = PhotoCaptions.from_table(table, photos)
    whole = epoch(source)
    read: list[int] = []
    decode = FileImages.read

    def noting(self: FileImages, number: int, target_px: int) -> Image.Image:
        read.append(number)
        return decode(self, number, target_px)

    monkeypatch.setattr(FileImages, "read", noting)
    assert same(whole[2:], epoch(source, start_batch=2, workers=workers))
    assert sorted(read) == sorted(number for one in whole[2:] for number in one.photos.tolist())
    assert epoch(source, start_batch=4) == []


def test_what_cannot_be_read_moves_no_other_batch(table: Path, photos: Path) -> None:
    source = PhotoCaptions.from_table(table, photos)
    clean = epoch(source)
    broken = clean[1].photos.tolist()[2]
    (photos / f"{broken:02}.png").write_bytes(b"no picture")
    whole = epoch(source)
    assert same(whole[:1] + whole[2:], clean[:1] + clean[2:])
    assert torch.equal(whole[1].photos != clean[1].photos, torch.arange(5) == 2)
    assert same(whole[1:], epoch(source, start_batch=1, workers=2))


def test_the_last_batch_may_be_short(table: Path, photos: Path) -> None:
    source = PhotoCaptions.from_table(table, photos)
    batches = epoch(source, drop_last=False)
    assert [len(one.texts) for one in batches] == [5, 5, 5, 5, 3]
    assert batches_per_epoch(source, 5, drop_last=False) == 5
    assert sorted(number for one in batches for number in one.photos.tolist()) == list(range(PHOTOS))


def test_closing_ends_the_workers(table: Path, photos: Path) -> None:
    source = PhotoCaptions.from_table(table, photos)
    batches = photo_batches(source, batch=2, seed=0, epoch=0, preprocess=preprocess, workers=3)
    next(batches)
    assert any(one.name.startswith("peyda-loader") for one in threading.enumerate())
    batches.close()  # type: ignore[attr-defined]
    assert not any(one.name.startswith("peyda-loader") for one in threading.enumerate())


def test_decoding_keeps_no_more_than_is_needed(tmp_path: Path) -> None:
    Image.effect_noise((1600, 1200), 50).convert("RGB").save(tmp_path / "big.jpg")
    table = write_table(tmp_path / "t.csv", [{"image": "big.jpg", "caption_fa": "نویز"}])
    source = PhotoCaptions.from_table(table, tmp_path, None)
    sizes: list[tuple[int, int]] = []

    def noting(image: Image.Image) -> Float32:
        sizes.append(image.size)
        return preprocess(image)

    list(photo_batches(source, batch=1, seed=0, epoch=0, preprocess=noting))
    assert max(sizes[-1]) < 400
    assert min(sizes[-1]) >= SIZE


# --- what cannot be read -------------------------------------------------------------------------------------------


def test_unreadable_photographs_are_counted_and_replaced(table: Path, photos: Path) -> None:
    (photos / "01.png").write_bytes(cut(encoded(noisy(1), "PNG")))
    (photos / "02.png").write_bytes(b"no picture")
    (photos / "03.png").write_bytes(b"")
    (photos / "04.png").write_bytes(png_bomb(100_000, 100_000))
    source = PhotoCaptions.from_table(table, photos)
    (photos / "07.png").unlink()
    log = SkipLog()
    for number in range(3):
        batches = epoch(source, epoch=number, on_skip=log, workers=number)
        assert [len(one.texts) for one in batches] == [5, 5, 5, 5]
        for one in batches:
            assert len(set(one.photos.tolist())) == 5
            assert not {1, 2, 3, 4, 7} & set(one.photos.tolist())
    assert log.counts == {"truncated": 1, "not_an_image": 1, "empty": 1, "too_many_pixels": 1, "vanished": 1}
    assert str(log).startswith("5 photographs skipped: ")
    assert {os.path.basename(one.path) for one in log.skipped} == {"01.png", "02.png", "03.png", "04.png", "07.png"}
    assert str(SkipLog()) == ""


def test_a_photograph_is_told_of_once_an_epoch(table: Path, photos: Path) -> None:
    source = PhotoCaptions.from_table(table, photos)
    for number in range(0, PHOTOS, 2):
        (photos / f"{number:02}.png").write_bytes(b"no picture")
    told: list[Skipped] = []
    batches = epoch(source, on_skip=told.append, batch=4)
    assert len(batches) == 5
    # Of twelve, those that come up: the order's last three photographs fill no batch, and may not be asked for.
    assert len(told) == len({one.path for one in told}) >= 9


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_without_a_readable_photograph_is_an_error(table: Path, photos: Path, workers: int) -> None:
    source = PhotoCaptions.from_table(table, photos)
    for one in photos.iterdir():
        one.write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of 23 photographs can be read: not_an_image 23") as caught:
        epoch(source, workers=workers)
    assert caught.value.hint
    with pytest.raises(DataError, match="none of 23"):
        epoch(source, workers=workers, drop_last=False, batch=40)


def test_too_few_readable_photographs_are_an_error(table: Path, photos: Path) -> None:
    source = PhotoCaptions.from_table(table, photos)
    for number in range(PHOTOS - 3):
        (photos / f"{number:02}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="of 23 photographs only 3 can be read, and a batch has 5: not_an_image 20"):
        epoch(source)
    assert [len(one.texts) for one in epoch(source, drop_last=False, batch=40)] == [3]
    with pytest.raises(DataError, match="23 photographs do not fill a batch of 24"):
        epoch(source, batch=24)


def test_preprocessing_may_refuse_and_its_mistakes_are_errors(table: Path, photos: Path) -> None:
    source = PhotoCaptions.from_table(table, photos)

    def picky(image: Image.Image) -> Float32:
        if image.getpixel((0, 0)) == (11, 47, 89):
            raise ImageRefused("undecodable", "I do not like it.")
        return preprocess(image)

    log = SkipLog()
    list(photo_batches(source, batch=5, seed=0, epoch=0, preprocess=picky, on_skip=log, drop_last=False))
    assert log.counts == {"undecodable": 1}
    with pytest.raises(ValueError, match="must give"):
        epoch(source, preprocess=lambda _: np.zeros((3, 4, 5), np.float32))
    with pytest.raises(ValueError, match=r"gives \(3, 30, 30\), and \(3, 64, 64\) before"):
        epoch(source, preprocess=lambda image: np.zeros((3, image.height, image.height), np.float32))
    with pytest.raises(ValueError, match="at least"):
        epoch(source, batch=0)
