"""Labelled sets in every format: pixels and labels come out where they were put in, damage is said."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from peyda.errors import DataError
from peyda.evaluation.labelled import LabelledSet, name_classes, read_names
from peyda.evaluation.labelled_formats import read_labelled
from peyda.evaluation.set_names import known_names, set_names
from peyda.persian import normalize
from peyda.persian.lexicon import imagenet_names

RED, GREEN = (250, 10, 20), (10, 250, 30)


def paint(path: Path, colour: tuple[int, int, int] = RED) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 12), colour).save(path)


def keys(labelled: LabelledSet) -> list[str]:
    return [labelled.classes[label].key for label in labelled.labels.tolist()]


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    for name in ("accordion/1.jpg", "accordion/deep/2.PNG", "ant/3.jpg", "BACKGROUND_Google/4.jpg", "گربه/5.jpg"):
        paint(tmp_path / "set" / name)
    (tmp_path / "set/accordion/notes.txt").write_text("no photograph")
    (tmp_path / "set/empty").mkdir()
    labelled = read_labelled(str(tmp_path / "set"))
    assert keys(labelled) == ["accordion", "accordion", "ant", "گربه"]
    assert [Path(image).name for image in labelled.images] == ["1.jpg", "2.PNG", "3.jpg", "5.jpg"]
    assert [one.fa[0] for one in labelled.classes] == ["آکاردئون", "مورچه", "گربه"]
    assert labelled.name == "set"


def test_names_can_be_given_and_missing_ones_are_said(tmp_path: Path) -> None:
    for name in ("zorkle/1.jpg", "ant/2.jpg"):
        paint(tmp_path / "set" / name)
    with pytest.raises(DataError, match="1 classes have no Persian name: zorkle") as caught:
        read_labelled(str(tmp_path / "set"))
    assert "--names" in caught.value.hint
    (tmp_path / "names.csv").write_text("class,fa\nZorkle,زورکل|زرکل\nant,مورچه سیاه\n", encoding="utf-8")
    labelled = read_labelled(str(tmp_path / "set"), names=read_names(str(tmp_path / "names.csv")))
    assert [one.fa for one in labelled.classes] == [("مورچه سیاه",), ("زورکل", "زرکل")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "lacks the columns"),
        ("class,fa\nant,\n", "line 2: a class or name is empty"),
        ("class,fa\nant,مور|\n", "empty"),
        ("class,fa\nant,مور\nant,مورچه\n", "line 3: ant comes twice"),
        ("", "lacks the columns"),
    ],
)
def test_a_bad_file_of_names_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "names.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_names(str(tmp_path / "names.csv"))
    with pytest.raises(DataError, match="cannot be read"):
        read_names(str(tmp_path / "none.csv"))


def test_a_table_of_labels(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        paint(tmp_path / "photos" / name)
    table = tmp_path / "labels.csv"
    table.write_text("image,label\na.jpg,cat\nb.jpg,dog\nnone.jpg,cat\nc.jpg,\n", encoding="utf-8")
    labelled = read_labelled(str(table), images_dir=str(tmp_path / "photos"))
    assert keys(labelled) == ["cat", "dog"]
    assert [one.fa[0] for one in labelled.classes] == ["گربه", "سگ"]
    assert {one.reason for one in labelled.skipped} == {"not_found", "no_label"}
    with pytest.raises(DataError, match="no column 'species'"):
        read_labelled(str(table), images_dir=str(tmp_path / "photos"), column="species")
    table.write_text("image,label\na.jpg,cat\na.jpg,dog\n", encoding="utf-8")
    with pytest.raises(DataError, match="into dog and cat"):
        read_labelled(str(table), images_dir=str(tmp_path / "photos"))


@pytest.fixture
def stl10(tmp_path: Path) -> Path:
    """Three photographs, each with one pixel that tells row from column and plane from plane."""
    folder = tmp_path / "stl/stl10_binary"
    folder.mkdir(parents=True)
    images = np.zeros((3, 96, 96, 3), np.uint8)
    images[0, 5, 70] = RED
    images[1, :, :] = GREEN
    images.transpose(0, 3, 2, 1).tofile(folder / "test_X.bin")
    np.asarray([1, 10, 4], np.uint8).tofile(folder / "test_y.bin")
    return tmp_path / "stl"


def test_stl10_as_it_is_downloaded(stl10: Path) -> None:
    labelled = read_labelled(str(stl10))
    assert labelled.name == "stl10-test"
    assert keys(labelled) == ["airplane", "truck", "cat"]
    assert len(labelled.classes) == 10
    first, second = labelled.picture(0), labelled.picture(1)
    assert first is not None
    assert second is not None
    assert first.size == (96, 96)
    assert first.getpixel((70, 5)) == RED  # x, y
    assert first.getpixel((5, 70)) == (0, 0, 0)
    assert second.getpixel((0, 95)) == GREEN


@pytest.mark.parametrize("name", ["test_X.bin", "test_y.bin"])
def test_damaged_or_missing_stl10_files_are_said(stl10: Path, name: str) -> None:
    file = stl10 / "stl10_binary" / name
    content = file.read_bytes()
    file.write_bytes(content[:-1] if name == "test_X.bin" else content[:-1] + b"\x0b")
    with pytest.raises(DataError, match=r"no multiple|beyond its 10"):
        read_labelled(str(stl10))
    file.write_bytes(content[:-1] if name == "test_y.bin" else content + content[: 3 * 96 * 96])
    with pytest.raises(DataError, match="labels"):
        read_labelled(str(stl10))
    file.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read_labelled(str(stl10), format="stl10")


@pytest.mark.parametrize("fine", [False, True])
def test_cifar_binary(tmp_path: Path, fine: bool) -> None:
    folder = tmp_path / ("cifar-100-binary" if fine else "cifar-10-batches-bin")
    folder.mkdir()
    image = np.zeros((32, 32, 3), np.uint8)
    image[3, 20] = RED
    planes = image.transpose(2, 0, 1).tobytes()
    if fine:
        records = bytes([7, 53]) + planes + bytes([19, 99]) + planes
        (folder / "test.bin").write_bytes(records)
    else:
        (folder / "test_batch.bin").write_bytes(bytes([5]) + planes + bytes([9]) + planes)
        for at in range(1, 6):
            (folder / f"data_batch_{at}.bin").write_bytes(bytes([at]) + planes)
    labelled = read_labelled(str(tmp_path))
    assert keys(labelled) == (["orange", "worm"] if fine else ["dog", "truck"])
    picture = labelled.picture(0)
    assert picture is not None
    assert picture.getpixel((20, 3)) == RED
    if not fine:
        assert keys(read_labelled(str(tmp_path), split="train")) == ["automobile", "bird", "cat", "deer", "dog"]
        assert len(read_labelled(str(tmp_path), split="all")) == 7


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, (f"open({str(tmp_path / 'sprung')!r}, 'w').close()",)

    (folder / "test_batch").write_bytes(pickle.dumps(Trap()))
    for path in (tmp_path, folder):
        with pytest.raises(DataError, match="pickle") as caught:
            read_labelled(str(path))
        assert "binary version" in caught.value.hint
    with pytest.raises(DataError, match="cannot be read"):
        read_labelled(str(folder), format="cifar10")
    assert not (tmp_path / "sprung").exists()


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    (folder / "annotations").mkdir(parents=True)
    lines = ["#Image CLASS-ID SPECIES BREED ID", "Abyssinian_1 1 1 1", "pug_7 26 2 17", "missing_3 1 2 3"]
    (folder / "annotations/list.txt").write_text("\n".join(lines))
    (folder / "annotations/test.txt").write_text("\n".join(lines[:3]))
    for name in ("Abyssinian_1", "pug_7"):
        paint(folder / "images" / f"{name}.jpg")
    return folder


def test_pets_by_breed_and_by_species(pets: Path) -> None:
    labelled = read_labelled(str(pets))
    assert keys(labelled) == ["abyssinian", "pug"]
    assert len(labelled.classes) == 37
    species = read_labelled(str(pets), format="pets-species")
    assert keys(species) == ["cat", "dog"]
    assert [one.fa[0] for one in species.classes] == ["گربه", "سگ"]
    everything = read_labelled(str(pets), split="all")
    assert [one.reason for one in everything.skipped] == ["not_found"]
    (pets / "annotations/test.txt").write_text("pug_7 26 3 17")
    with pytest.raises(DataError, match=r"test\.txt, line 1"):
        read_labelled(str(pets))
    (pets / "annotations/test.txt").write_text("../../etc/x 26 2 17")
    with pytest.raises(DataError, match=r"test\.txt, line 1"):
        read_labelled(str(pets))


def test_imagenet_folders_compete_with_all_classes(tmp_path: Path) -> None:
    for wnid in ("n02123045", "n01440764"):
        paint(tmp_path / wnid / "x.jpg")
    labelled = read_labelled(str(tmp_path))
    assert (labelled.name, len(labelled.classes)) == ("imagenet", 1000)
    assert keys(labelled) == ["n01440764", "n02123045"]
    assert labelled.labels.tolist() == [0, 281]
    assert labelled.classes[281].fa == imagenet_names()[281].fa
    paint(tmp_path / "cat/x.jpg")
    with pytest.raises(DataError, match="cat are no classes of ImageNet"):
        read_labelled(str(tmp_path), format="imagenet")
    assert len(read_labelled(str(tmp_path), format="folders").classes) == 3


def test_caltech_in_its_archive_folder(tmp_path: Path) -> None:
    paint(tmp_path / "101_ObjectCategories/yin_yang/image_0001.jpg")
    labelled = read_labelled(str(tmp_path))
    assert (labelled.name, keys(labelled)) == ("caltech101", ["yin_yang"])


def test_what_is_no_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no"):
        read_labelled(str(tmp_path / "none"))
    with pytest.raises(DataError, match="no folder with photographs"):
        read_labelled(str(tmp_path))
    with pytest.raises(ValueError, match="no format"):
        read_labelled(str(tmp_path), format="zip")
    with pytest.raises(ValueError, match="no split"):
        read_labelled(str(tmp_path), split="dev")


def test_a_sample_keeps_labels_with_their_photographs(stl10: Path) -> None:
    whole = read_labelled(str(stl10))
    part = whole.sample(2, seed=1)
    assert len(part) == 2
    for at, image in enumerate(part.images):
        row = whole.images.index(image)
        assert part.labels[at] == whole.labels[row]
        assert part.pixels is not None
        assert whole.pixels is not None
        assert np.array_equal(part.pixels[at], whole.pixels[row])
    assert len(whole.sample(99)) == 3


@pytest.mark.parametrize(
    ("name", "count"), [("stl10", 10), ("cifar10", 10), ("cifar100", 100), ("pets", 37), ("pets-species", 2)]
)
def test_names_of_the_sets_are_complete_and_tell_classes_apart(name: str, count: int) -> None:
    table = set_names(name)
    assert len(table) == count
    assert list(table) == sorted(table)  # these sets number their classes in this order
    firsts = [normalize(names[0]) for names in table.values()]
    assert len(set(firsts)) == count
    for names in table.values():
        assert all(one == one.strip() and "ي" not in one and "ك" not in one for one in names)
        assert len({normalize(one) for one in names}) == len(names)


def test_every_known_class_is_found_however_its_key_is_written() -> None:
    known = known_names()
    assert {"airplane", "n02123045", "great pyrenees"} <= set(known)
    assert name_classes(["Great-Pyrenees", "AIRPLANE"])[0].fa == known["great pyrenees"]
