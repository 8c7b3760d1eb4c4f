"""`peyda reproduce original` at toy size: the published files' own formats, random towers in the hub's files, a local
service that speaks as Google's does; killed twice on its way."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests import foreign_models, torchvision_ops
from tests.conftest import COLOURS
from tests.e2e.test_reproduce import check_results, environment, peyda, run, running_with, start, states, wait_until
from tests.e2e.test_reproduce import service as service  # a fixture
from tests.torchvision_ops import define_torchvision_ops
from tests.translation_service import TranslationService

pytestmark = [pytest.mark.torch, pytest.mark.slow]
for package in ("torch", "googletrans", "transformers", "sentence_transformers"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}", allow_module_level=True)

FLICKR, NOCAPS = 16, 6


def photo(path: Path, number: int) -> None:
    rgb = list(COLOURS.values())[number % len(COLOURS)][1]
    noise = np.random.default_rng(number).integers(-20, 21, (40, 50, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(np.asarray(rgb) + noise, 0, 255).astype(np.uint8)).save(path, quality=90)


def colour(number: int) -> str:
    return list(COLOURS)[number % len(COLOURS)]


def write_flickr30k(folder: Path) -> None:
    """results.csv as it is published, with the row that lacks a separator; splits by a table of one's own."""
    lines = ["image_name| comment_number| comment"]
    for n in range(FLICKR):
        name = f"{1000092795 + n}.jpg"
        photo(folder / "images" / name, n)
        lines.append(f"{name}| 0| A {colour(n)} square in place {n} .")
        lines.append(f"{name}| 1{'   ' if n == 3 else '| '}One {colour(n)} square | in the light of {n} .")
    (folder / "results.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    splits = ["train"] * 9 + ["val"] * 3 + ["test"] * 4
    rows = [f"{1000092795 + n}.jpg,{split}" for n, split in enumerate(splits)]
    (folder / "split.csv").write_text("\n".join(["image,split", *rows]) + "\n")


def write_nocaps(folder: Path) -> None:
    """nocaps_val_4500_captions.json, as it is published."""
    images, annotations = [], []
    for n in range(NOCAPS):
        name = f"{n:016x}.jpg"
        photo(folder / "images" / name, n + 100)
        url = f"https://s3.amazonaws.com/nocaps/val/{name}"
        images.append(
            {"id": n, "file_name": name, "coco_url": url, "domain": "near-domain", "open_images_id": f"{n:x}"}
        )
        for at in range(2):
            caption = f"The {colour(n + 100)} square number {100 + 10 * n + at}."
            annotations.append({"id": 2 * n + at, "image_id": n, "caption": caption})
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))


def write_stl10(folder: Path) -> None:
    """test_X.bin and test_y.bin: one photograph of each class."""
    folder.mkdir()
    np.random.default_rng(0).integers(0, 256, (10, 3, 96, 96)).astype(np.uint8).tofile(folder / "test_X.bin")
    np.arange(1, 11, dtype=np.uint8).tofile(folder / "test_y.bin")


def write_pets(folder: Path) -> None:
    """annotations/test.txt and images/: a cat and a dog breed."""
    lines = []
    for n, (name, number, species, breed) in enumerate([("Abyssinian", 1, 1, 1), ("beagle", 5, 2, 4)] * 2):
        photo(folder / "images" / f"{name}_{n}.jpg", n)
        lines.append(f"{name}_{n} {number} {species} {breed}")
    (folder / "annotations").mkdir()
    (folder / "annotations" / "test.txt").write_text("\n".join(lines) + "\n")


def write_site(folder: Path) -> None:
    """What `define_torchvision_ops` does, for the processes that are started: when they import torchvision."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        """
import importlib.abc
import sys

kept = []


class BeforeTorchvision(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            kept.append(torch.library.Library("torchvision", "DEF"))
            for one in ("nms", "qnms"):
                kept[0].define(f"{one}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return None


sys.meta_path.insert(0, BeforeTorchvision())
"""
    )


def write_models(folder: Path) -> None:
    """The original's towers and scorer, tiny and random, in the hub's files; recipes that name them."""
    vision, text = foreign_models.clip_vision(folder / "vision"), foreign_models.roberta_text(folder / "text")
    foreign_models.sentence_transformer(folder / "distiluse")
    (folder / "clip.toml").write_text(
        f"""
[towers]
image = "hf:{vision}"
text = "hf:{text}"
[image]
pool = "pooler"
resize = "squash"
augment = false
[text]
pool = "pooler"
augment = false
[heads]
kind = "none"
[train]
epochs = 2
batch = 8
warmup_steps = 1
checkpoint_steps = 1
"""
    )
    (folder / "baseline.toml").write_text(
        f"""
[image]
encoder = "hf:{vision}"
[words]
dim = 8
epochs = 2
min_count = 1
[corrnet]
dim = 16
[fit]
epochs = 2
batch = 8
"""
    )


@pytest.fixture
def original(tmp_path: Path, service: TranslationService, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    define_torchvision_ops()
    if torchvision_ops._declared:
        write_site(tmp_path / "site")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
    write_flickr30k(tmp_path / "flickr30k")
    write_nocaps(tmp_path / "nocaps")
    write_stl10(tmp_path / "stl10_binary")
    write_pets(tmp_path / "pets")
    write_models(tmp_path / "models")
    return [
        "original", "--out", "walk",
        "--flickr30k-captions", "flickr30k/results.csv", "--flickr30k-images", "flickr30k/images",
        "--nocaps-captions", "nocaps/captions.json", "--nocaps-images", "nocaps/images",
        "--split", "flickr30k/split.csv", "--base-url", service.address,
        "--scorer", str(tmp_path / "models/distiluse"), "--score", "score_distiluse", "--top", "0.95",
        "--clip-recipe", "models/clip.toml", "--baseline-recipe", "models/baseline.toml",
        "--sample", "5", "--k", "1,2", "--stl10", "stl10_binary", "--pets", "pets",
    ]  # fmt: skip


def test_the_whole_walk_killed_twice(original: list[str], service: TranslationService, tmp_path: Path) -> None:
    reached = threading.Event()

    def hang_at_the_fifth(_: list[str]) -> str:
        if len(service.asked) > 4:
            reached.set()
            return "hang"
        return "ok"

    service.plan = hang_at_the_fifth
    process = start(peyda("reproduce", *original), tmp_path)
    try:
        assert reached.wait(90)
    finally:
        process.kill()
        process.communicate()
    wait_until(lambda: not running_with(service.address))
    assert states(tmp_path, *original)["translate-flickr30k"] == "begun"

    service.plan = []
    begun = tmp_path / "walk/runs/clip/recipe.json"
    process = start(peyda("reproduce", *original), tmp_path)
    try:
        wait_until(begun.is_file, 240)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    wait_until(lambda: not running_with("walk/runs/clip"))
    found = states(tmp_path, *original)
    assert found["report"] == "done"
    assert found["clip"] in {"begun", "done"}, "done, where the kill came too late"
    assert found["baseline"] == "to do"
    marked = begun.stat().st_mtime_ns

    done = run(peyda("reproduce", *original), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "$ peyda translate" not in done.stderr
    assert begun.stat().st_mtime_ns >= marked
    assert set(states(tmp_path, *original).values()) == {"done"}
    retrieval = {"acc-flickr30k", "acc-nocaps", "retrieval-flickr30k", "retrieval-nocaps"}
    check_results(tmp_path / "walk", {"report", *retrieval, "zeroshot-stl10", "zeroshot-pets"})
    results = json.loads((tmp_path / "walk/results.json").read_text("utf-8"))
    metrics = {one["stage"]: one["metrics"] for one in results["stages"] if one["stage"] in retrieval}
    for stage, measured in metrics.items():
        assert len({one["model"] for one in measured}) == 2, "the dual encoder and the baseline"
        assert {one["protocol"] for one in measured} == {"original" if stage.startswith("acc") else "peyda"}
    assert {one["images"] for one in metrics["retrieval-flickr30k"]} == {4}, "the photographs of the split test"


def test_by_name_without_a_network_the_first_stage_says_so(tmp_path: Path, original: list[str]) -> None:
    at = original.index("--flickr30k-captions")
    del original[at : at + 4]  # its photographs too
    done = run(peyda("reproduce", *original), tmp_path)
    assert done.returncode == 1
    assert "lmms-lab/flickr30k cannot be loaded" in done.stderr
    assert "the stage flickr30k ended with exit status 5" in done.stderr
    assert environment(tmp_path)["HF_HUB_OFFLINE"] == "1"
