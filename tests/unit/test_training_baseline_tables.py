"""The baseline on a caption table and a folder of photographs, instead of the development data."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tests.conftest import COLOURS

pytest.importorskip("torch")

from peyda.cli.train_baseline import baseline
from peyda.encoders import load_encoder
from peyda.errors import ConfigError, DataError
from peyda.training.baseline.recipe import BaselineRecipe
from peyda.training.baseline.sources import TABLE_KIND, read_sources

pytestmark = pytest.mark.torch


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Twelve photographs: eight to train on, two each for val and test; one caption of each is rejected."""
    (tmp_path / "photos").mkdir()
    path = tmp_path / "kept.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption_id", "caption_fa", "kept", "split"])
        for number in range(12):
            word, rgb = list(COLOURS.values())[number % len(COLOURS)]
            noise = np.random.default_rng(number).integers(-9, 10, (20, 20, 3))
            pixels = np.clip(np.asarray(rgb) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
            split = "train" if number < 8 else "val" if number < 10 else "test"
            writer.writerow([f"{number}.png", 0, f"مربع {word}", "true", split])
            writer.writerow([f"{number}.png", 1, f"مردود {number}", "false", split])
    return path


def test_kept_rows_of_train_and_val_are_read(table: Path) -> None:
    found = read_sources(BaselineRecipe(), data=None, captions=table, images=table.parent / "photos")
    assert sorted(path.name for path in found.training.photos) == [f"{n}.png" for n in range(8)]
    assert len(found.training.texts) == 8
    assert not any("مردود" in text for text in found.training.texts)
    queries = found.queries[TABLE_KIND]
    assert sorted(path.name for path in queries.photos) == ["8.png", "9.png"]
    assert (found.native, found.table) == (0, "kept.csv")


def test_the_command_trains_on_it(
    table: Path, tiny_model_dir: Path, tmp_path: Path, private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PEYDA_DATA", raising=False)
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        f"[image]\nencoder = '{tiny_model_dir}/'\n[fit]\nepochs = 2\nbatch = 4\n"
        "[words]\ndim = 8\nmin_count = 1\n[corrnet]\ndim = 16\n"
    )
    arguments = [str(recipe), "--captions", str(table), "--run", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    missing = CliRunner().invoke(baseline, arguments)
    assert isinstance(missing.exception, ConfigError)
    assert "--images" in missing.exception.hint
    photos = ["--images", str(table.parent / "photos")]
    done = CliRunner().invoke(baseline, [*arguments, *photos], catch_exceptions=False)
    assert done.exit_code == 0
    assert load_encoder(tmp_path / "out").embed_dim == 16
    card = (tmp_path / "out" / "model_card.md").read_text("utf-8")
    assert "8 photographs and 8 captions of the split train of `kept.csv`" in card
    assert "Flickr8k" not in card


def test_a_table_without_val_is_refused(table: Path) -> None:
    text = table.read_text("utf-8").replace(",val", ",test")
    table.write_text(text, "utf-8")
    with pytest.raises(DataError):
        read_sources(BaselineRecipe(), data=None, captions=table, images=table.parent / "photos")
