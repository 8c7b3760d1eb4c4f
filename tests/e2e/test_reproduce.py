"""`peyda reproduce` as people run it: both shipped walks at toy size, killed, stopped, resumed, and gone wrong."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.conftest import COLOURS
from tests.translation_service import TranslationService

WORDS = {name: fa for name, (fa, _) in COLOURS.items()}
PHOTOS = 24


def persian(text: str) -> str:
    """What the service makes of «a red square .»: something that the tiny model and the filter understand."""
    colour = next(word for word in text.replace(".", " ").split() if word in WORDS)
    number = re.search(r"\d+", text)
    assert number is not None
    return f"مربع {WORDS[colour]} در جای {number[0]}"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[TranslationService]:
    monkeypatch.setattr("tests.translation_service.persian", persian)
    with TranslationService() as running:
        yield running


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(5)
    colours = list(COLOURS.values())
    for number in range(PHOTOS):
        rgb = np.asarray(colours[number % len(colours)][1]) + rng.integers(-20, 21, 3)
        pixels = np.clip(rgb + rng.integers(-8, 9, (48, 64, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:010}.jpg", quality=95)
    return folder


def captions_of(number: int) -> list[str]:
    colour = list(COLOURS)[number % len(COLOURS)]
    return [f"a {colour} square in place {number} .", f"one {colour} square in the {colour} light of {number} ."]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "captions.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption_en"])
        writer.writerows((f"{n:010}.jpg", caption) for n in range(PHOTOS) for caption in captions_of(n))
    return path


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PEYDA_")}
    own = {"PEYDA_HOME": str(home / "home"), "PEYDA_CONFIG": "", "OMP_NUM_THREADS": "1"}
    return {**kept, **own, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "HF_HUB_OFFLINE": "1"}


def peyda(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "peyda", *arguments]


def run(arguments: list[str], home: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, env=environment(home), capture_output=True, text=True, timeout=300, check=False, cwd=home, **more
    )


def start(arguments: list[str], home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments, env=environment(home), cwd=home, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def states(home: Path, *arguments: str) -> dict[str, str]:
    done = run(peyda("reproduce", *arguments, "--list", "--json"), home)
    assert done.returncode == 0, done.stderr
    return {one["stage"]: one["state"] for one in json.loads(done.stdout)}


def wait_until(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def running_with(text: str) -> list[int]:
    """Processes whose command line holds a text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in line and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


@pytest.fixture
def mini(tiny_model_dir: Path, photos: Path, table: Path, service: TranslationService) -> list[str]:
    """`peyda reproduce mini` with a model of colours and a service on this machine."""
    return [
        "mini", "--images", str(photos), "--captions", str(table), "--out", "walk", "--model", str(tiny_model_dir),
        "--engine", "openai", "--engine-model", "m", "--base-url", service.address, "--baseline-recipe", "",
        "--top", "0.9", "--split", "hash:0.4,0.1,0.5", "--k", "1,5",
    ]  # fmt: skip


def test_mini_is_killed_in_the_middle_goes_on_and_shows_everything(
    mini: list[str], service: TranslationService, tmp_path: Path
) -> None:
    reached = threading.Event()

    def hang_at_the_second(_: list[str]) -> str:
        if len(service.asked) > 1:
            reached.set()
            return "hang"
        return "ok"

    service.plan = hang_at_the_second
    process = start(peyda("reproduce", *mini), tmp_path)
    try:
        assert reached.wait(60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    wait_until(lambda: not running_with(str(service.address)))  # the stage does not outlive the walk
    assert states(tmp_path, *mini)["convert"] == "done"
    assert states(tmp_path, *mini)["translate"] == "begun"
    assert not (tmp_path / "walk/translated.csv").exists()

    service.plan = []
    done = run(peyda("reproduce", *mini), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "done before" in done.stderr
    assert "$ peyda translate walk/captions.csv --out walk/translated.csv --engine openai" in done.stderr
    assert "the walk is complete" in done.stdout
    assert set(states(tmp_path, *mini).values()) == {"done", "left out"}
    check_results(tmp_path / "walk", {"report", "retrieval", "original-protocol", "robustness"})

    asked = len(service.asked)
    again = run(peyda("reproduce", *mini), tmp_path)
    assert again.returncode == 0
    assert "$ peyda" not in again.stderr, "nothing is done twice"
    assert len(service.asked) == asked


def check_results(out: Path, shown: set[str]) -> None:
    """results.json and the page hold what the stages wrote."""
    results = json.loads((out / "results.json").read_text("utf-8"))
    assert results["complete"]
    with_metrics = {one["stage"]: one["metrics"] for one in results["stages"] if "metrics" in one}
    assert set(with_metrics) == shown
    page = (out / "index.html").read_text("utf-8")
    for address in re.findall(r'href="([^"]+)"', page):
        assert (out / address).is_file(), address
    assert not re.search(r'(?:src|href)="(?:https?:|/)', page), "the page needs nothing from elsewhere"
    figures = [name for one in results["stages"] for name in one.get("figures", ())]
    assert all((out / name).is_file() for name in figures)
    assert page.count("data:image/png;base64,") == len(figures)
    for stage, metrics in with_metrics.items():
        assert stage in page
        if isinstance(metrics, list) and "mrr" in metrics[0]:
            assert f"{metrics[0]['mrr']:.3f}" in page


def toy_walk(tmp_path: Path, service: TranslationService) -> list[str]:
    """Three stages of one's own: convert, translate at a service, show."""
    path = tmp_path / "toy.toml"
    path.write_text(
        """
title = "A toy"

[values.captions]
about = "Captions."
path = true
required = true

[[stage]]
name = "convert"
about = "To a table."
command = ["captions", "convert", "{captions}", "{out}/captions.csv"]
inputs = ["{captions}"]
outputs = ["{out}/captions.csv"]

[[stage]]
name = "translate"
about = "Into Persian."
command = ["translate", "{out}/captions.csv", "--out", "{out}/fa.csv", "--engine", "openai", "--model", "m",
  "--base-url", "ADDRESS", "--batch-size", "1", "--concurrency", "1"]
inputs = ["{out}/captions.csv"]
outputs = ["{out}/fa.csv"]

[[stage]]
name = "report"
about = "To look at."
command = ["report", "{out}/fa.csv", "--out", "{out}/report"]
inputs = ["{out}/fa.csv"]
outputs = ["{out}/report"]
page = "{out}/report/report.html"
""".replace("ADDRESS", service.address),
        encoding="utf-8",
    )
    return ["toy.toml", "--captions", "captions.csv", "--out", "walk"]


def test_a_killed_stage_goes_on_where_it_was(table: Path, service: TranslationService, tmp_path: Path) -> None:
    reached = threading.Event()

    def hang_at_the_sixth(_: list[str]) -> str:
        if len(service.asked) > 5:
            reached.set()
            return "hang"
        return "ok"

    service.plan = hang_at_the_sixth
    toy = toy_walk(tmp_path, service)
    process = start(peyda("reproduce", *toy), tmp_path)
    try:
        assert reached.wait(60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    wait_until(lambda: not running_with(service.address))
    service.plan = []
    done = run(peyda("reproduce", *toy), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "goes on where it stopped" in done.stderr
    assert len(service.answered) == 2 * PHOTOS
    assert set(service.answered.values()) == {1}, "nothing was translated twice"
    assert len(service.asked) == 2 * PHOTOS + 1, "all but the one that hung was asked once"


def test_ctrl_c_lets_the_stage_end_in_good_order(table: Path, service: TranslationService, tmp_path: Path) -> None:
    reached = threading.Event()

    def slowly(_: list[str]) -> str:
        if len(service.asked) > 3:
            reached.set()
        return "slow"

    service.plan = slowly
    toy = toy_walk(tmp_path, service)
    process = start(peyda("reproduce", *toy), tmp_path)
    try:
        assert reached.wait(60)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert "run the same command again" in stderr
    assert "Traceback" not in stderr
    assert states(tmp_path, *toy) == {"convert": "done", "translate": "begun", "report": "to do"}
    service.plan = []
    done = run(peyda("reproduce", *toy), tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(service.answered.values()) == {1}


def test_a_stage_that_fails_says_where_its_log_is_and_how_to_go_on(
    table: Path, service: TranslationService, tmp_path: Path
) -> None:
    service.plan = ["ok", "ban"]
    toy = toy_walk(tmp_path, service)
    failed = run(peyda("reproduce", *toy), tmp_path)
    assert failed.returncode == 1
    assert "the stage translate ended with exit status 20" in failed.stderr
    assert "walk/logs/02-translate.log" in failed.stderr
    assert "run the same command again" in failed.stderr
    log = (tmp_path / "walk/logs/02-translate.log").read_text("utf-8")
    assert "does not accept" in log, "what the command said is in its log"
    assert "$ peyda translate walk/captions.csv" in log
    assert states(tmp_path, *toy) == {"convert": "done", "translate": "failed", "report": "to do"}
    page = (tmp_path / "walk/index.html").read_text("utf-8")
    assert "Not complete" in page
    done = run(peyda("reproduce", *toy, "--json"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["complete"]


def test_what_changes_is_done_again_and_nothing_else(table: Path, service: TranslationService, tmp_path: Path) -> None:
    toy = toy_walk(tmp_path, service)
    plan = run(peyda("reproduce", *toy, "--dry-run"), tmp_path)
    assert "peyda captions convert captions.csv walk/captions.csv" in plan.stdout
    assert not (tmp_path / "walk").exists(), "a dry run writes nothing"
    assert run(peyda("reproduce", *toy), tmp_path).returncode == 0

    (tmp_path / "walk/report/report.html").unlink()
    assert states(tmp_path, *toy) == {"convert": "done", "translate": "done", "report": "changed"}
    done = run(peyda("reproduce", *toy, "--only", "convert"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("$ peyda") == 1
    assert "still to do: translate, report" in done.stdout
    with open(table, "a", encoding="utf-8") as file:
        file.write("0000000000.jpg,a red thing 7 .\n")
    assert states(tmp_path, *toy)["convert"] == "changed"
    asked = len(service.asked)
    done = run(peyda("reproduce", *toy), tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(service.asked) == asked + 1, "one caption is new"
    assert set(states(tmp_path, *toy).values()) == {"done"}

    (tmp_path / "walk").rename(tmp_path / "moved")
    moved = [*toy[:-1], "moved"]
    assert set(states(tmp_path, *moved).values()) == {"done"}, "a walk may be moved"
    done = run(peyda("reproduce", *moved, "--from", "translate"), tmp_path)
    assert done.stderr.count("$ peyda") == 2


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        (["--from", "trnslate"], 3, "its stages: convert, translate, report"),
        (["--only", "translate"], 5, "run the stage convert first"),
        (["--captions", "none.csv"], 5, "there is no none.csv"),
        (["--out", "captions.csv"], 21, "cannot write to captions.csv"),
        (["--engine", "mini"], 2, "No such option"),
    ],
)
def test_mistakes_are_explained(
    table: Path, service: TranslationService, tmp_path: Path, change: list[str], status: int, said: str
) -> None:
    done = run(peyda("reproduce", *toy_walk(tmp_path, service), *change), tmp_path)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert service.asked == []


def test_one_directory_holds_one_walk_and_one_run(table: Path, service: TranslationService, tmp_path: Path) -> None:
    toy = toy_walk(tmp_path, service)
    reached = threading.Event()
    service.plan = lambda _: (reached.set(), "slow")[1]
    process = start(peyda("reproduce", *toy), tmp_path)
    try:
        assert reached.wait(60)
        second = run(peyda("reproduce", *toy), tmp_path)
        assert second.returncode == 5
        assert "another run works in walk" in second.stderr
    finally:
        process.kill()
        process.communicate()
    (tmp_path / "toy.toml").rename(tmp_path / "other.toml")
    other = run(peyda("reproduce", "other.toml", *toy[1:]), tmp_path)
    assert other.returncode == 3
    assert "walk holds the walk toy" in other.stderr


def test_names_that_are_no_walk(tmp_path: Path) -> None:
    unknown = run(peyda("reproduce", "minni"), tmp_path)
    assert unknown.returncode == 2
    assert "minni" in unknown.stderr
    absent = run(peyda("reproduce", "minni.toml"), tmp_path)
    assert absent.returncode == 3
    assert "mini, original" in absent.stderr
