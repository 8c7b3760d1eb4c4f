"""`peyda translate` as people run it: a process, a service, kills, bans."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.translation_models import build_nllb
from tests.translation_service import TranslationService, persian

COUNT = 40


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "captions.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption_id", "caption_en", "split"])
        writer.writerows([f"{n}.jpg", 0, f"caption {n}", "train"] for n in range(COUNT))
    return path


@pytest.fixture
def service() -> Iterator[TranslationService]:
    with TranslationService() as running:
        yield running


def command(table: Path, service: TranslationService, *more: str) -> list[str]:
    engine = ["--engine", "openai", "--model", "m", "--base-url", service.address]
    return [
        sys.executable,
        "-m",
        "peyda",
        "translate",
        str(table),
        "--out",
        str(table.parent / "out.csv"),
        *engine,
        *more,
    ]


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PEYDA_", "OPENAI_"))}
    return {
        **kept,
        "PEYDA_HOME": str(home / "home"),
        "PEYDA_CONFIG": "",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def run(arguments: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, env=environment(home), capture_output=True, text=True, timeout=120, check=False)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_killed_run_goes_on_without_translating_anything_twice(
    table: Path, service: TranslationService, tmp_path: Path
) -> None:
    reached = threading.Event()

    def hang_at_the_21st(_: list[str]) -> str:
        if len(service.asked) > 20:
            reached.set()
            return "hang"
        return "ok"

    service.plan = hang_at_the_21st
    one_by_one = command(table, service, "--batch-size", "1", "--concurrency", "1")
    process = subprocess.Popen(one_by_one, env=environment(tmp_path), stderr=subprocess.PIPE)
    try:
        assert reached.wait(60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (tmp_path / "out.csv").exists()
    assert len(service.answered) == 20

    service.plan = []
    done = run([*one_by_one, "--json"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(service.asked) == COUNT + 1, "all but the one that was never answered were asked once"
    assert set(service.answered.values()) == {1}
    summary = json.loads(done.stdout)
    assert (summary["texts_cached"], summary["texts_sent"], summary["failed"]) == (20, COUNT - 20, 0)
    assert [row["caption_fa"] for row in rows(tmp_path / "out.csv")] == [
        persian(f"caption {n}").replace("ي", "ی") for n in range(COUNT)
    ]


def test_a_killed_run_with_many_calls_in_flight_repeats_only_those(
    table: Path, service: TranslationService, tmp_path: Path
) -> None:
    reached = threading.Event()

    def slowly(_: list[str]) -> str:
        if len(service.asked) > 6:
            reached.set()
        return "slow"

    service.plan = slowly
    arguments = command(table, service, "--batch-size", "2", "--concurrency", "3")
    process = subprocess.Popen(arguments, env=environment(tmp_path), stderr=subprocess.PIPE)
    try:
        assert reached.wait(60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    service.plan = []
    done = run(arguments, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(service.answered) == COUNT
    assert sum(count - 1 for count in service.answered.values()) <= 3 * 2
    assert service.most_at_once <= 3 + 3, "three calls at a time, and those that the kill left behind"


def test_a_ban_says_so_and_the_same_command_goes_on(table: Path, service: TranslationService, tmp_path: Path) -> None:
    service.plan = ["ok", "ok", "ban"]
    arguments = command(table, service, "--batch-size", "4", "--concurrency", "1")
    banned = run(arguments, tmp_path)
    assert banned.returncode == 20
    assert "does not accept" in banned.stderr
    assert "8 texts were translated" in banned.stderr
    assert "what to do:" in banned.stderr
    assert "Traceback" not in banned.stderr
    assert not (tmp_path / "out.csv").exists()
    done = run(arguments, tmp_path)
    assert done.returncode == 0
    assert "40 rows in" in done.stdout
    assert "32 texts translated now, 8 known from before" in done.stdout
    assert set(service.answered.values()) == {1}


def test_ctrl_c_keeps_what_is_done(table: Path, service: TranslationService, tmp_path: Path) -> None:
    reached = threading.Event()

    def slowly(_: list[str]) -> str:
        if len(service.asked) > 5:
            reached.set()
        return "slow"

    service.plan = slowly
    arguments = command(table, service, "--batch-size", "1", "--concurrency", "1")
    process = subprocess.Popen(
        arguments, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert reached.wait(60)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert "run the same command again" in stderr
    assert "known from before" in stdout
    assert not (tmp_path / "out.csv").exists()
    service.plan = []
    assert run(arguments, tmp_path).returncode == 0
    assert set(service.answered.values()) == {1}


def test_failures_are_listed_and_change_no_exit_status(
    table: Path, service: TranslationService, tmp_path: Path
) -> None:
    service.plan = lambda texts: "missing" if "caption 7" in texts else "ok"
    done = run(command(table, service, "--tries", "4", "--batch-size", "8"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "39 translated by openai:m, 1 failed" in done.stdout
    assert "1 × wrong_count" in done.stdout
    failed = [row for row in rows(tmp_path / "out.csv") if row["translate_error"]]
    assert [(row["image"], row["caption_fa"], row["split"]) for row in failed] == [("7.jpg", "", "train")]


def test_a_model_directory_needs_no_service(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"image": "1.jpg", "caption_en": "red dog"}\n')
    model = build_nllb(tmp_path / "nllb")
    arguments = ["translate", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl"), "--cache"]
    engine = [str(tmp_path / "c.sqlite"), "--engine", "ctranslate2", "--model", str(model)]
    done = run([sys.executable, "-m", "peyda", *arguments, *engine], tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (row["caption_fa"], row["engine"]) == ("قرمز سگ", "ctranslate2:nllb")


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        (["--engine", "gogle"], 3, "Did you mean google?"),
        (["--column", "caption_de"], 5, "caption_en"),
        (["--beam-size", "3"], 3, "has no option --beam-size"),
        (["--format", "docx"], 5, "docx"),
        (["--encoding", "klingon"], 5, "klingon"),
        (["--tries", "0"], 2, "--tries"),
    ],
)
def test_mistakes_are_explained_before_anything_is_sent(
    table: Path, service: TranslationService, tmp_path: Path, change: list[str], status: int, said: str
) -> None:
    done = run(command(table, service, *change), tmp_path)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert service.asked == []


def test_a_table_that_is_not_there(service: TranslationService, tmp_path: Path) -> None:
    done = run(command(tmp_path / "nowhere.csv", service), tmp_path)
    assert done.returncode == 5
    assert "there is no table" in done.stderr
