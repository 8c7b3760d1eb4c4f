"""`peyda index` and `peyda gallery` as a person runs them: a process, its streams and its exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.hostile import make_hostile_folder

from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.locks import WriterLock
from peyda.gallery.verify import verify

Outcome = subprocess.CompletedProcess[str]
Peyda = Callable[..., Outcome]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PEYDA_")}
    return {**kept, "PEYDA_CONFIG": "", "PYTHONIOENCODING": "utf-8"}


@pytest.fixture
def peyda(tmp_path: Path, tiny_model_dir: Path, private_home: Path) -> Peyda:
    """Run `peyda VERB …` on the test's own gallery."""

    def run(*arguments: str | Path, model: Path | None = None) -> Outcome:
        command = [sys.executable, "-m", "peyda", *map(str, arguments), "--gallery", str(tmp_path / "gallery")]
        if arguments[0] == "index" and (model or not (tmp_path / "gallery").exists()):
            command += ["--model", str(model or tiny_model_dir)]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment(), timeout=120, check=False, errors="replace"
        )

    return run


def summary(outcome: Outcome) -> dict[str, Any]:
    assert outcome.returncode == 0, outcome.stderr
    return dict(json.loads(outcome.stdout.splitlines()[-1]))


def test_index_again_and_stats(peyda: Peyda, photo_dir: Path) -> None:
    first = summary(peyda("index", photo_dir, "--json"))
    assert (first["added"], first["photos"], first["is_complete"]) == (12, 12, True)
    again = summary(peyda("index", "--json"))
    assert (again["added"], again["unchanged"]) == (0, 12)
    stats = summary(peyda("gallery", "stats", "--json"))
    assert stats["photos"] == 12
    assert stats["formats"] == {"JPEG": 6, "PNG": 6}
    assert stats["roots"] == [str(photo_dir)]
    assert stats["last_run"]["unchanged"] == 12


def test_text_for_people(peyda: Peyda, photo_dir: Path) -> None:
    (photo_dir / "bad\x1b[31m.jpg").write_bytes(b"no photograph")
    first = peyda("index", photo_dir)
    assert first.returncode == 0
    assert "12 photos in the gallery: 12 added, 1 skipped" in first.stdout
    assert "1 × not_an_image" in first.stdout
    assert "peyda gallery skipped" in first.stdout
    assert first.stderr == ""  # no bar where nobody looks
    listed = peyda("gallery", "skipped")
    assert "\\x1b" in listed.stdout
    assert "\x1b" not in listed.stdout
    assert "not_an_image" in listed.stdout
    stats = peyda("gallery", "stats")
    assert "JPEG 6, PNG 6" in stats.stdout
    assert peyda("gallery", "verify").stdout.endswith("All is well.\n")


def test_hostile_files_each_get_their_reason(peyda: Peyda, tmp_path: Path) -> None:
    expected = make_hostile_folder(tmp_path / "hostile")
    expected.pop("folder.jpg")  # a folder is walked whatever its name
    done = summary(peyda("index", tmp_path / "hostile", "--json"))
    listed = peyda("gallery", "skipped", "--json")
    got = {os.path.basename(one["path"]): one["reason"] for one in map(json.loads, listed.stdout.splitlines())}
    assert got == {name: reason for name, reason in expected.items() if reason is not None}
    assert done["added"] == sum(reason is None for reason in expected.values())
    assert done["skipped"] == len(got)
    assert peyda("gallery", "verify", "--deep").returncode == 0


def test_estimate_writes_nothing(peyda: Peyda, photo_dir: Path, tmp_path: Path) -> None:
    estimate = summary(peyda("index", photo_dir, "--estimate", "--json"))
    assert (estimate["photos"], estimate["to_read"], estimate["sampled"]) == (12, 12, 12)
    assert estimate["photos_per_second"] > 0
    assert estimate["disk_bytes"] > 12 * 16 * 4
    assert not (tmp_path / "gallery").exists()
    text = peyda("index", photo_dir, "--estimate").stdout
    assert "photos/s" in text
    summary(peyda("index", photo_dir, "--json"))
    assert summary(peyda("index", "--estimate", "--json"))["to_read"] == 0


@pytest.mark.parametrize(
    ("status", "says", "prepare", "arguments"),
    [
        (11, "peyda index", None, ["gallery", "stats"]),
        (11, "peyda index ~/Pictures", None, ["index"]),
        (5, "no file or folder", None, ["index", "/no/such/folder"]),
        (13, "pip install --upgrade peyda", "newer", ["index"]),
        (14, "backup", "damaged", ["gallery", "stats"]),
        (15, "indexed already", "busy", ["index"]),
        (12, "--model", "other", ["index"]),
    ],
)
def test_refusals_name_what_to_do(
    peyda: Peyda,
    photo_dir: Path,
    tmp_path: Path,
    other_model_dir: Path,
    status: int,
    says: str,
    prepare: str | None,
    arguments: list[str],
) -> None:
    if prepare:
        summary(peyda("index", photo_dir, "--json"))
    manifest = tmp_path / "gallery" / "manifest.json"
    if prepare == "newer":
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema_version": 99}))
    elif prepare == "damaged":
        manifest.write_text("{")
    if prepare == "busy":
        with WriterLock(tmp_path / "gallery"):
            refused = peyda(*arguments)
            assert str(os.getpid()) in refused.stderr
            assert peyda("gallery", "stats").returncode == 0
    else:
        refused = peyda(*arguments, model=other_model_dir if prepare == "other" else None)
    assert refused.returncode == status, refused.stderr
    assert says in refused.stderr
    assert "what to do" in refused.stderr
    assert refused.stdout == ""


def test_two_first_runs_at_once(tmp_path: Path, photo_dir: Path, tiny_model_dir: Path) -> None:
    command = [sys.executable, "-m", "peyda", "index", "--gallery", str(tmp_path / "gallery")]
    command += ["--model", str(tiny_model_dir)]
    processes = [
        subprocess.Popen([*command, str(photo_dir / part)], env=environment(), stderr=subprocess.PIPE, text=True)
        for part in ("first", "second")
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    codes = [process.returncode for process in processes]
    # They may come one after the other, or one may find the other at work; either way the gallery is whole.
    assert set(codes) <= {0, 15}, errors
    assert 0 in codes
    directory = GalleryDirectory.open(tmp_path / "gallery")
    check = verify(directory, is_deep=True)
    assert check.is_sound
    assert check.photos == 6 * codes.count(0) == 6 * len(directory.manifest.roots)


def test_a_slip_in_the_path_leaves_no_gallery(peyda: Peyda, tmp_path: Path) -> None:
    assert peyda("index", tmp_path / "nowhere").returncode == 5
    assert not (tmp_path / "gallery").exists()


def test_verify_and_repair(peyda: Peyda, photo_dir: Path) -> None:
    summary(peyda("index", photo_dir, "--json"))
    os.remove(photo_dir / "first" / "red.jpg")
    check = summary(peyda("gallery", "verify", "--json"))
    assert (check["gone"], check["is_sound"], check["is_current"]) == (1, True, False)
    assert "1 photos whose file is gone" in peyda("gallery", "verify").stdout
    assert summary(peyda("gallery", "verify", "--repair", "--json"))["repaired"] == 1
    assert summary(peyda("gallery", "verify", "--json"))["is_current"]
    assert peyda("gallery", "verify", "--forget-missing").returncode == 2


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(peyda: Peyda, tmp_path: Path, tiny_model_dir: Path) -> None:
    from PIL import Image

    many = tmp_path / "many"
    many.mkdir()
    for n in range(600):
        Image.new("RGB", (900, 600), (n % 256, n // 256, 99)).save(many / f"{n:03}.png", compress_level=1)
    command = [sys.executable, "-m", "peyda", "index", str(many), "--gallery", str(tmp_path / "gallery")]
    command += ["--model", str(tiny_model_dir), "--json", "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    while not (tmp_path / "gallery" / "scan.sqlite").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "run the same command again" in err
    stopped = json.loads(out.splitlines()[-1])
    assert stopped["is_complete"] is False
    done = summary(peyda("index", "--json"))
    assert done["photos"] == 600
    assert done["unchanged"] == stopped["added"]
    assert done["is_complete"]


def test_watch_follows_the_folder_until_it_is_stopped(tmp_path: Path, photo_dir: Path, tiny_model_dir: Path) -> None:
    command = [sys.executable, "-m", "peyda", "index", str(photo_dir), "--gallery", str(tmp_path / "gallery")]
    command += ["--model", str(tiny_model_dir), "--json", "--watch"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    try:
        assert json.loads(process.stdout.readline())["added"] == 12
        os.remove(photo_dir / "first" / "red.jpg")
        assert json.loads(process.stdout.readline())["removed"] == 1
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
