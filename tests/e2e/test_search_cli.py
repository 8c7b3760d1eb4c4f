"""`peyda search` as a process: what it prints, where, in which form, and with which exit status."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import peyda

COLOURS = {"قرمز": (220, 30, 30), "سبز": (30, 200, 40), "آبی": (30, 40, 220)}
ODD_NAMES = ("line\nbreak.png", "caf\udce9.png", "👨‍👩‍👧.png", "esc\x1b[31m.png", "گربه‌ها ۱۲.png")

UNNEEDED = [
    "torch",
    "rich",
    "fastapi",
    "starlette",
    "pydantic",
    "uvicorn",
    "httpx",
    "http.client",
    "asyncio",
    "qdrant_edge",
    "PIL",
    "filelock",
    "watchfiles",
    "importlib.metadata",
    "peyda.server",
    "peyda.images",
    "peyda.evaluation",
    "peyda.training",
    "peyda.gallery.pipeline",
]
LIST_UNNEEDED = """
import json, sys
from peyda.cli.main import main
status = main(["search", "قرمز", "-k", "1"])
print(json.dumps([status, [name for name in sys.argv[1:] if name in sys.modules]]))
"""


@dataclass(frozen=True)
class Place:
    """A gallery of a few colours under odd names, and the environment of a user who has it."""

    gallery: Path
    photos: Path
    environ: dict[str, str]

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "peyda", "search", *arguments],
            env={**self.environ, **environ},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Place:
    home = tmp_path_factory.mktemp("home")
    photos = home / "photos"
    photos.mkdir()
    for name, rgb in COLOURS.items():
        Image.new("RGB", (30, 20), rgb).save(photos / f"{name}.jpg")
    for name in ODD_NAMES:
        Image.new("RGB", (30, 20), (250, 250, 250)).save(os.fsencode(photos / name), "PNG")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PEYDA_", "PYTHONIO"))}
    environ |= {"HOME": str(home), "PYTHONUTF8": "1", "PEYDA_CONFIG": "", "PEYDA_GALLERY": str(home / "gallery")}
    with peyda.Gallery.create(home / "gallery", model=str(tiny_model_dir)) as gallery:
        assert gallery.index(photos, workers=1).photos == 8
    return Place(home / "gallery", photos, environ)


def _json_lines(run: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert (run.returncode, run.stderr) == (0, "")
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_a_line_is_rank_score_path(place: Place) -> None:
    run = place.run("قرمز", "-k", "2")
    assert (run.returncode, run.stderr) == (0, "")
    first, second = run.stdout.splitlines()
    rank, score, path = first.split(maxsplit=2)
    assert (rank, path) == ("1", str(place.photos / "قرمز.jpg"))
    assert float(score) > float(second.split()[1]) > -1


def test_json_is_one_object_a_line(place: Place) -> None:
    hits = _json_lines(place.run("سبز", "-k", "۳", "--json"))
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert hits[0]["path"] == str(place.photos / "سبز.jpg")
    assert {"score", "photo_id", "width_px", "height_px", "taken_at", "latitude", "longitude"} <= hits[0].keys()


def test_names_of_any_bytes_survive_json(place: Place) -> None:
    run = place.run("سفید", "--json")
    assert run.stdout.isascii()
    found = {os.path.basename(hit["path"]) for hit in _json_lines(run)}
    assert set(ODD_NAMES) <= found
    assert len(found) == 8


def test_names_of_any_bytes_take_one_line_each(place: Place) -> None:
    run = place.run("سفید")
    assert run.returncode == 0
    names = {os.path.basename(line) for line in run.stdout.split("\n") if line}
    assert {"line\\nbreak.png", "caf\\xe9.png", "👨‍👩‍👧.png", "esc\\x1b[31m.png", "گربه‌ها ۱۲.png"} <= names
    assert not {"\u2068", "\u2069", "\x1b", "\udce9"} & set(run.stdout)


def test_a_terminal_gets_isolated_paths(place: Place) -> None:
    reader, writer = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "peyda", "search", "آبی", "-k", "1"], env=place.environ, stdout=writer
    )
    os.close(writer)
    shown = b""
    try:
        while piece := os.read(reader, 4096):
            shown += piece
    except OSError:  # Linux says EIO where others say end of file
        pass
    os.close(reader)
    assert process.wait(60) == 0
    assert shown.decode("utf-8").rstrip().endswith(f"\u2068{place.photos / 'آبی.jpg'}\u2069")


def test_a_stream_that_speaks_ascii_alone(place: Place) -> None:
    run = place.run("قرمز", "-k", "1", PYTHONIOENCODING="ascii")
    assert run.returncode == 0
    assert run.stdout.rstrip().endswith("\\u0642\\u0631\\u0645\\u0632.jpg")


@pytest.mark.parametrize(
    "words",
    [
        ("سگ", "در", "برف"),
        ("سگ در برف",),
        ('"سگ" OR folder:x',),
        ("NOT", "*"),
        ("😀\n\t",),
        ("half\udce9",),
        ("سگ " * 3_400,),
    ],
)
def test_any_sentence_with_or_without_quotes(place: Place, words: Sequence[str]) -> None:
    assert len(_json_lines(place.run(*words, "-k", "100", "--json"))) == 8


def test_words_apart_are_one_sentence(place: Place) -> None:
    assert place.run("آبی", "قرمز").stdout == place.run("آبی قرمز").stdout


def test_filters(place: Place) -> None:
    everything = _json_lines(place.run("قرمز", "--json"))
    assert _json_lines(place.run("قرمز", "--json", "--folder", str(place.photos), "--after", "۱۹۹۹")) == everything
    run = place.run("قرمز", "--before", "2001-01-01", "--json")
    assert (run.returncode, run.stdout) == (0, "")
    assert "--before" in run.stderr
    floor = everything[0]["score"]
    assert _json_lines(place.run("قرمز", "--json", "--min-score", str(floor))) == everything[:1]


def test_like_a_photograph(place: Place) -> None:
    path = place.photos / "آبی.jpg"
    hits = _json_lines(place.run("--like", str(path), "-k", "1", "--json"))
    assert [hit["path"] for hit in hits] == [str(path)]


def test_another_gallery_that_is_empty(place: Place, tmp_path: Path, tiny_model_dir: Path) -> None:
    peyda.Gallery.create(tmp_path / "empty", model=str(tiny_model_dir)).close()
    run = place.run("قرمز", "--gallery", str(tmp_path / "empty"))
    assert (run.returncode, run.stdout) == (0, "")
    assert "peyda index" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ((), 2, "Nothing to search for"),
        (("قرمز", "--like", "x.jpg"), 2, "cannot be combined"),
        (("قرمز", "-k", "many"), 2, "many"),
        (("قرمز", "--nonsense"), 2, "--nonsense"),
        (("",), 4, "empty"),
        (("قرمز", "-k", "0"), 4, "k is 0"),
        (("قرمز", "--min-score", "nan"), 4, "min_score"),
        (("قرمز", "--after", "yesterday"), 4, "YYYY-MM-DD"),
        (("قرمز", "--after", "1403-01-01"), 4, "Gregorian"),
        (("--like", "missing.jpg"), 6, "missing.jpg"),
        (("قرمز", "--gallery", "none-there"), 11, "peyda index"),
        (("قرمز", "--model", "no-such-model"), 7, "models list"),
    ],
)
def test_a_refusal_says_what_to_do(place: Place, arguments: Sequence[str], status: int, says: str) -> None:
    run = place.run(*arguments)
    assert (run.returncode, run.stdout) == (status, "")
    assert says in run.stderr
    assert "Traceback" not in run.stderr


def test_another_model_than_the_gallerys(place: Place, other_model_dir: Path) -> None:
    run = place.run("قرمز", "--model", str(other_model_dir))
    assert run.returncode == 12
    assert "was made with" in run.stderr


def test_a_reader_that_goes_away_is_no_error_to_see(place: Place) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "peyda", "search", "قرمز"],
        env=place.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141


def test_open_makes_a_page_and_hands_it_to_the_browser(place: Place, tmp_path: Path) -> None:
    browser, seen = tmp_path / "browser", tmp_path / "seen"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}\n')
    browser.chmod(0o755)
    run = place.run("قرمز", "-k", "2", "--json", "--open", BROWSER=f"{browser} %s", TMPDIR=str(tmp_path))
    assert run.returncode == 0
    assert len(run.stdout.splitlines()) == 2
    address = seen.read_text().strip()
    page = Path(address.removeprefix("file://"))
    assert page.is_relative_to(tmp_path)
    assert str(page) in run.stderr
    text = page.read_text(encoding="utf-8")
    assert text.count('src="data:image/jpeg;base64,/9j/') == 2
    assert '<h1><bdi dir="auto">قرمز</bdi></h1>' in text


def test_a_search_loads_nothing_that_it_does_not_need(place: Place) -> None:
    run = subprocess.run(
        [sys.executable, "-c", LIST_UNNEEDED, *UNNEEDED], env=place.environ, capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout.splitlines()[-1]) == [0, []]
