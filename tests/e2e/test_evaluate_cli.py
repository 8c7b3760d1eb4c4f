"""`peyda evaluate retrieval` as a person runs it: a subprocess, real files, a real model directory."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

CAPTIONS = {
    "red.jpg": ((220, 20, 20), "دیوار قرمز", "قرمز"),
    "green.jpg": ((20, 180, 40), "چمن سبز", "سبز"),
    "blue.jpg": ((20, 40, 220), "آسمان آبی", ""),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """captions.csv, whose names lead nowhere by path, and photos/ with one photograph more."""
    (tmp_path / "photos").mkdir()
    with open(tmp_path / "captions.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "kind", "caption_id", "caption_fa"])
        for name, (colour, sentence, short) in CAPTIONS.items():
            Image.new("RGB", (64, 48), colour).save(tmp_path / "photos" / name)
            writer.writerow([f"elsewhere/{name}", "sentence", 0, sentence])
            writer.writerow([f"elsewhere/{name}", "short", 0, short])
    Image.new("RGB", (64, 48), (250, 250, 250)).save(tmp_path / "photos/other.jpg")
    return tmp_path


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PEYDA_")}
    return subprocess.run(
        [sys.executable, "-m", "peyda", "evaluate", "retrieval", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        env={**environment, "PYTHONUTF8": "1"},
    )


def test_metrics_are_written_and_a_table_is_printed(data: Path, tiny_model_dir: Path) -> None:
    out = data / "out"
    table, photos = data / "captions.csv", data / "photos"
    done = run("--captions", table, "--images", photos, "--model", tiny_model_dir, "--out", out)
    assert done.returncode == 0, done.stderr
    text_to_image, image_to_text = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert (text_to_image["direction"], image_to_text["direction"]) == ("text_to_image", "image_to_text")
    assert (text_to_image["model"], text_to_image["dataset"]) == ("tiny", "captions")
    assert (text_to_image["queries"], text_to_image["images"]) == (5, 3)
    # The model knows colour words: every caption finds its photograph.
    assert text_to_image["accuracy_at_k"] == image_to_text["accuracy_at_k"] == {"1": 1.0, "5": 1.0, "10": 1.0}
    lines = done.stdout.splitlines()
    assert lines[0] == "tiny on captions: 3 photographs"
    assert lines[1].split() == ["direction", "queries", "Acc@1", "Acc@5", "Acc@10", "MRR", "median"]
    assert [line.split()[0] for line in lines[2:]] == ["text_to_image", "image_to_text"]
    assert "1 empty captions" in done.stderr


def test_filters_a_bigger_gallery_and_json(data: Path, tiny_model_dir: Path) -> None:
    out = data / "out"
    done = run(
        *("--captions", data / "captions.csv", "--images", data / "photos", "--out", out, "--json"),
        *("--model", tiny_model_dir),
        *("--where", "kind=short", "--gallery-images", "all", "--k", "۱,2"),
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert metrics == json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics[0]["queries"], metrics[0]["images"]) == (2, 4)
    assert list(metrics[0]["accuracy_at_k"]) == ["1", "2"]
    assert metrics[0]["dataset"] == "captions[kind=short]"
    assert len((out / "ranks.jsonl").read_text(encoding="utf-8").splitlines()) == 4


def test_unreadable_photographs_are_counted_and_do_not_fail_the_run(data: Path, tiny_model_dir: Path) -> None:
    (data / "photos/green.jpg").write_bytes(b"\xff\xd8\xff not a photograph")
    (data / "photos/blue.jpg").unlink()
    table, photos = data / "captions.csv", data / "photos"
    done = run("--captions", table, "--images", photos, "--model", tiny_model_dir, "--out", data / "out")
    assert done.returncode == 0, done.stderr
    assert "2 images skipped" in done.stderr
    assert json.loads((data / "out/metrics.json").read_text(encoding="utf-8"))[0]["queries"] == 2


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"--column": "caption_de"}, 5, "image, kind, caption_id, caption_fa"),
        ({"--captions": "none.csv"}, 5, "none.csv cannot be read"),
        ({"--images": "none"}, 5, "no directory none"),
        ({"--where": "kind=long"}, 5, "sentence, short"),
        ({"--where": "kind"}, 2, "COLUMN=VALUE"),
        ({"--k": "0,1"}, 2, "positive"),
        ({"--model": "no-such-model"}, 7, "no-such-model"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_what_to_do(
    data: Path, tiny_model_dir: Path, changes: dict[str, str], status: int, said: str
) -> None:
    options = {"--captions": str(data / "captions.csv"), "--images": str(data / "photos"), "--out": str(data / "out")}
    options["--model"] = str(tiny_model_dir)
    done = run(*(part for option in {**options, **changes}.items() for part in option))
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (data / "out").exists()


def test_the_embedded_model_is_measured_unless_another_is_named(data: Path) -> None:
    done = run("--captions", data / "captions.csv", "--images", data / "photos", "--out", data / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["model"] == "mini"
