"""Bad input to every command of `peyda evaluate`: a clear error that names the fix, or a counted skip. No traceback.

For each command the same list: captions whose photograph is missing, photographs that cannot be read, nothing to
measure, k = 0, columns that are not there, tables that are none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from peyda.cli.main import main

pytest.importorskip("sacrebleu")

COLOURS = {"red": ("قرمز", (220, 20, 20)), "green": ("سبز", (20, 180, 40)), "blue": ("آبی", (20, 40, 220))}
PAIRS = "image,caption_id,caption_en,caption_fa,other\n"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three good photographs, a broken one, one that is missing; tables of them and tables that are none."""
    (tmp_path / "photos").mkdir()
    for name, (_, colour) in COLOURS.items():
        Image.new("RGB", (64, 48), colour).save(tmp_path / "photos" / f"{name}.jpg")
    (tmp_path / "photos/broken.jpg").write_bytes(b"\xff\xd8\xff not a photograph")
    rows = [f"{name}.jpg,0,a {name} wall,دیوار {word},دیوار" for name, (word, _) in COLOURS.items()]
    rows += ["broken.jpg,0,a dog,سگ,سگ", "gone.jpg,0,a cat,گربه,گربه", "red.jpg,1,,دیواری بی‌رنگ,"]
    tables = {
        "captions.csv": PAIRS + "\n".join(rows),
        "empty.csv": PAIRS,
        "one.csv": PAIRS + rows[0],
        "lost.csv": PAIRS + "gone.jpg,0,a cat,گربه,گربه\nbroken.jpg,0,a dog,سگ,سگ\n",
        "long.csv": PAIRS + "\n".join([*rows, f"green.jpg,1,{'a ball ' * 150_000},توپ,توپ"]),
        "labels.csv": "image,label\n" + "\n".join(f"{name}.jpg,{COLOURS.get(name, ['آبی', 'آبی'])[0]}"
                                                     for name in (*COLOURS, "broken", "gone")),
        "labels-empty.csv": "image,label\n",
        "labels-lost.csv": "image,label\ngone.jpg,سبز\nbroken.jpg,آبی\n",
    }  # fmt: skip
    for name, text in tables.items():
        (tmp_path / name).write_text(text + "\n", encoding="utf-8")
    (tmp_path / "utf16.csv").write_bytes((PAIRS + rows[0]).encode("utf-16-le"))
    (tmp_path / "zeros.csv").write_bytes(bytes(64))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run(verb, *arguments)` gives (status, stdout, stderr); the tiny model where a verb takes one."""

    def run_verb(verb: str, *arguments: str) -> tuple[int, str, str]:
        models = {"scorer": "--scorer", "translation": "", "search": ""}
        flag = models.get(verb, "--model")
        given = [flag, str(tiny_model_dir)] if flag and flag not in arguments else []
        status = main(["evaluate", verb, *arguments, *given, "--out", "out"])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run_verb


def _run_json(here: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((here / "out/run.json").read_text(encoding="utf-8"))
    return found


# --- counted skips -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["retrieval", "robustness"])
def test_missing_and_unreadable_photographs_are_skipped_and_counted(here: Path, run: Run, verb: str) -> None:
    status, _, err = run(verb, "--captions", "captions.csv", "--images", "photos")
    assert status == 0, err
    assert "2 images skipped, 2 captions without their image: see run.json and skipped.jsonl" in err
    assert (_run_json(here)["skipped_images"], _run_json(here)["queries"]) == (2, 4)
    skipped = [json.loads(line) for line in (here / "out/skipped.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [Path(one["image"]).name for one in skipped] == ["gone.jpg", "broken.jpg"]
    assert all(one["reason"] for one in skipped)


@pytest.mark.parametrize("verb", ["retrieval", "robustness"])
def test_lines_that_are_no_rows_are_counted(here: Path, run: Run, verb: str) -> None:
    with open(here / "captions.csv", "a", encoding="utf-8") as file:
        file.write("red.jpg,2\n")
    status, _, err = run(verb, "--captions", "captions.csv", "--images", "photos")
    assert status == 0, err
    assert "1 rows of the table skipped" in err
    assert '"line": 8' in (here / "out/skipped.jsonl").read_text(encoding="utf-8")


def test_missing_and_unreadable_labelled_photographs_are_skipped_and_counted(here: Path, run: Run) -> None:
    status, _, err = run("zeroshot", "--set", "labels.csv", "--images", "photos", "--template", "{}")
    assert status == 0, err
    assert "2 images skipped" in err
    assert (_run_json(here)["skipped_images"], _run_json(here)["photos"]) == (2, 3)


@pytest.mark.parametrize(("verb", "more"), [("translation", ["--column", "other"]), ("scorer", [])])
def test_captions_need_no_photograph_and_half_pairs_are_counted(
    here: Path, run: Run, verb: str, more: list[str]
) -> None:
    status, _, err = run(verb, "--captions", "captions.csv", *more)
    assert status == 0, err
    assert "1 rows without a caption in both languages: see run.json" in err
    assert (_run_json(here)["pairs"], _run_json(here)["incomplete_pairs"]) == (5, 1)
    assert "Left out: 1 rows without a caption" in (here / "out/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("verb", "more"), [("translation", ["--column", "other"]), ("scorer", [])])
def test_a_million_characters_are_one_caption_among_others(here: Path, run: Run, verb: str, more: list[str]) -> None:
    status, _, err = run(verb, "--captions", "long.csv", *more)
    assert status == 0, err
    assert _run_json(here)["pairs"] == 6
    assert (here / "out/report.html").stat().st_size < 2_000_000  # cut where it is shown


# --- errors --------------------------------------------------------------------------------------------------------

_PHOTOS = ["--images", "photos"]
_MADE = ["--column", "other"]
_CASES = [
    *(
        (verb, [*arguments, *_PHOTOS], status, said)
        for verb in ("retrieval", "robustness")
        for arguments, status, said in (
            (["--captions", "lost.csv"], 5, "no photograph with a caption could be read"),
            (["--captions", "empty.csv"], 5, "no usable rows"),
            (["--captions", "none.csv"], 5, "cannot be read"),
            (["--captions", "zeros.csv"], 5, "zeros.csv"),
            (["--captions", "captions.csv", "--column", "nope"], 5, "its columns: image"),
            (["--captions", "captions.csv", "--where", "nope=1"], 5, "its columns: image"),
            (["--captions", "captions.csv", "--where", "caption_id=7"], 5, "0, 1"),
            (["--captions", "captions.csv", "--where", "caption_id"], 2, "COLUMN=VALUE"),
            (["--captions", "captions.csv", "--split", "test"], 5, "no column 'split'"),
            (["--captions", "captions.csv", "--sample", "0"], 2, "--sample"),
            (["--captions", "captions.csv", "--k", "0"], 2, "positive"),
            (["--captions", "captions.csv", "--k", "five"], 2, "positive"),
            (["--captions", "captions.csv", "--model", "nope"], 7, "nope"),
        )
    ),
    ("zeroshot", ["--set", "labels-lost.csv", *_PHOTOS], 5, "photograph"),
    ("zeroshot", ["--set", "labels-empty.csv", *_PHOTOS], 5, "no usable rows"),
    ("zeroshot", ["--set", "labels.csv", *_PHOTOS, "--label", "nope"], 5, "its columns: image"),
    ("zeroshot", ["--set", "labels.csv", *_PHOTOS, "--sample", "0"], 2, "--sample"),
    ("zeroshot", ["--set", "none.csv", *_PHOTOS], 5, "none.csv"),
    ("search", ["--size", "20", "--k", "0"], 2, "positive"),
    ("search", ["--size", "0"], 2, "positive"),
    ("search", ["--size", "20", "--queries", "0"], 2, "--queries"),
    *(
        (verb, arguments + (_MADE if verb == "translation" else []), 5, said)
        for verb in ("translation", "scorer")
        for arguments, said in (
            (["--captions", "empty.csv"], "no pair of captions"),
            (["--captions", "none.csv"], "cannot be read"),
            (["--captions", "zeros.csv"], "zeros.csv"),
            (["--captions", "labels.csv"], "caption_fa"),
            (["--captions", "captions.csv", "--where", "nope=1"], "no column nope"),
            (["--captions", "captions.csv", "--split", "test"], "no column split"),
            (["--captions", "captions.csv", "--english", "labels.csv"], "caption_en"),
            (["--captions", "captions.csv", "--english", "empty.csv"], "no pair of captions"),
            (["--captions", "captions.csv", "--split-table", "labels.csv", "--split", "x"], "columns image and split"),
            (["--captions", "captions.csv", "--split-table", "none.csv", "--split", "x"], "none.csv"),
        )
    ),
    ("translation", ["--captions", "captions.csv", "--column", "nope"], 5, "nope"),
    ("translation", ["--captions", "captions.csv", "--column", "caption_fa"], 2, "compared with"),
    ("translation", ["--captions", "captions.csv", "--translations", "empty.csv"], 5, "no translation of these"),
    ("translation", ["--captions", "captions.csv", "--translations", "none.csv"], 5, "none.csv"),
    ("translation", ["--captions", "captions.csv", "--engine", "nope"], 3, "no translation engine"),
    (
        "translation",
        ["--captions", "captions.csv", "--engine", "mini", "--engine", "google", "--model", "x"],
        2,
        "--engine NAME=MODEL",
    ),
    ("translation", ["--captions", "captions.csv", "--engine", "mini=none"], 7, "none"),
    ("scorer", ["--captions", "one.csv"], 5, "one pair only"),
    ("scorer", ["--captions", "captions.csv", "--scorer", "/none/such"], 7, "check the path"),
]


@pytest.mark.parametrize(("verb", "arguments", "status", "said"), _CASES)
def test_what_cannot_be_measured_is_refused_with_what_to_do(
    here: Path, run: Run, verb: str, arguments: list[str], status: int, said: str
) -> None:
    found, out, err = run(verb, *arguments)
    assert found == status, err
    assert said in err
    assert out == ""
    assert not (here / "out/metrics.json").exists()


@pytest.mark.parametrize(("verb", "more"), [("translation", ["--column", "other"]), ("scorer", [])])
def test_tables_in_another_encoding_are_read_or_refused_never_half(
    here: Path, run: Run, verb: str, more: list[str]
) -> None:
    status, _, err = run(verb, "--captions", "utf16.csv", *more)
    assert status == 5
    assert "utf16.csv" in err
    assert not (here / "out").exists()


@pytest.mark.parametrize(("verb", "more"), [("translation", ["--column", "other"]), ("scorer", [])])
def test_a_place_that_cannot_be_written_is_said(here: Path, run: Run, verb: str, more: list[str]) -> None:
    (here / "out").write_text("a file")
    status, _, err = run(verb, "--captions", "captions.csv", *more)
    assert status == 21, err
    assert "give --out a directory that can be written" in err
