"""Babel-ImageNet in Persian: ImageNet's photographs under the names of its file, and no other class beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from peyda.errors import DataError
from peyda.evaluation.babel_imagenet import NAME, read_babel_names
from peyda.evaluation.labelled_formats import read_labelled
from peyda.persian.lexicon import imagenet_names


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "babel_imagenet.json"
    path.write_text(json.dumps({"FA": [[1, 281], ["ماهی قرمز", "گربه"]], "DE": [[1], ["Goldfisch"]]}))
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    classes = imagenet_names()
    for number in (0, 1, 281):
        folder = tmp_path / "val" / classes[number].wnid
        folder.mkdir(parents=True)
        Image.new("RGB", (20, 20), (number % 256, 0, 0)).save(folder / "a.jpg")
    return tmp_path / "val"


def test_only_named_classes_take_part(names: Path, photos: Path) -> None:
    found = read_labelled(str(photos), format=NAME, names=read_babel_names(str(names)))
    assert [one.fa for one in found.classes] == [("ماهی قرمز",), ("گربه",)]
    assert found.labels.tolist() == [0, 1]
    assert len(found) == 2, "the photograph of class 0 is left out"


def test_the_command_measures_it(names: Path, photos: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    from peyda.cli.evaluate_zeroshot import zeroshot

    arguments = ["--set", str(photos), "--format", NAME, "--names", str(names), "--model", str(tiny_model_dir)]
    done = CliRunner().invoke(zeroshot, [*arguments, "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert done.exit_code == 0
    (metrics,) = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["classes"], metrics["photos"]) == (2, 2)


@pytest.mark.parametrize(
    "content",
    ["no json", "[]", "{}", '{"FA": [[1], []]}', '{"FA": [[1000], ["x"]]}', '{"FA": [[1], [" "]]}', '{"FA": [[], []]}'],
)
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_babel_names(str(path))
    assert "Babel-ImageNet" in caught.value.hint


def test_it_says_what_is_missing(photos: Path, names: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none is given"):
        read_labelled(str(photos), format=NAME)
    with pytest.raises(DataError, match="cannot be read"):
        read_babel_names(str(tmp_path / "absent.json"))
    other = tmp_path / "other" / imagenet_names()[5].wnid
    other.mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(other / "a.jpg")
    with pytest.raises(DataError, match="no photograph is of a class"):
        read_labelled(str(other.parent), format=NAME, names=read_babel_names(str(names)))
