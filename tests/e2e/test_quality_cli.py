"""`peyda score`, `peyda filter` and `peyda report` as a person runs them: subprocesses, real files, real models."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from peyda.captions import open_reader

ROWS = [
    ("red.jpg", "0", "red", "قرمز", "google"),
    ("red.jpg", "1", "green", "قرمز", "google"),
    ("blue.jpg", "0", "blue", "آبی", "mini"),
    ("blue.jpg", "1", "two red", "two قرمز", "mini"),
    ("blue.jpg", "2", "blue", "", "mini"),
    ("gone.jpg", "0", "yellow", "زرد", "mini"),
]


@pytest.fixture
def data(tmp_path: Path, tiny_model_dir: Path) -> Path:
    """captions.csv, photos/, and models/ with the tiny model as embedded scorer."""
    (tmp_path / "photos").mkdir()
    for name, colour in (("red", (220, 30, 30)), ("blue", (30, 40, 220))):
        Image.new("RGB", (64, 48), colour).save(tmp_path / "photos" / f"{name}.jpg")
    with open(tmp_path / "captions.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption_id", "caption_en", "caption_fa", "engine"])
        writer.writerows(ROWS)
    scorer = tmp_path / "models/mini-scorer"
    shutil.copytree(tiny_model_dir / "textual", scorer)
    (scorer / "config.json").write_text('{"embed_dim": 16, "text_cfg": {"context_length": 8}}')
    return tmp_path


def run(data: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PEYDA_")}
    environment |= {"PYTHONUTF8": "1", "PEYDA_MODELS": str(data / "models"), "PEYDA_CONFIG": ""}
    return subprocess.run(
        [sys.executable, "-m", "peyda", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        cwd=data,
        env=environment,
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    with open_reader(path, duplicates="keep") as reader:
        return list(reader)


def test_score_filter_report(data: Path, tiny_model_dir: Path) -> None:
    done = run(
        *(data, "score", "captions.csv", "--out", "scored.parquet"),
        *("--images", "photos", "--image-model", tiny_model_dir),
    )
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert lines["score_mini"][0] == "5"
    assert lines["score_image_tiny"][0] == "4"
    assert "1 images not found" in done.stderr
    assert "6 rows written to scored.parquet" in done.stderr
    scored = rows_of(data / "scored.parquet")
    assert float(scored[0]["score_mini"]) == 1
    assert float(scored[0]["score_image_tiny"]) > 0.9
    assert scored[4]["score_mini"] == ""

    done = run(
        *(data, "filter", "scored.parquet", "--out", "kept.jsonl", "--rejects", "rejects.csv"),
        *("--by", "score_mini", "--min-score", "0.5", "--without", "length"),
    )
    assert done.returncode == 0, done.stderr
    assert "cut: score_mini >= 0.5" in done.stdout
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:5]] == [
        ["kept", "3"],
        ["empty", "1"],
        ["untranslated", "1"],
        ["low_score", "1"],
    ]
    assert [row["reason"] for row in rows_of(data / "rejects.csv")] == ["low_score", "untranslated", "empty"]
    assert [row["caption_fa"] for row in rows_of(data / "kept.jsonl")] == ["قرمز", "آبی", "زرد"]

    done = run(data, "report", "kept.jsonl", "rejects.csv", "--out", "report", "--images", "photos")
    assert done.returncode == 0, done.stderr
    assert "آبی" in done.stdout
    assert "\u2068" not in done.stdout, "no marks for programs that read it"
    assert "no photograph: gone.jpg: not_found" in done.stderr
    assert {path.name for path in (data / "report").iterdir()} == {"report.html", "report.json", "report.png"}
    page = (data / "report/report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") >= 3


def test_json_is_the_same_numbers(data: Path) -> None:
    scored = json.loads(run(data, "score", "captions.csv", "--out", "s.csv", "--json").stdout)
    assert scored["rows"] == 6
    assert scored["scored"]["score_mini"] == 5
    judged = json.loads(run(data, "filter", "s.csv", "--out", "j.csv", "--top", "۵۰٪", "--json").stdout)
    assert (judged["rows"], judged["by"]) == (6, "score_mini")
    assert sum(judged["reasons"].values()) + judged["kept"] == 6
    report = json.loads(run(data, "report", "j.csv", "--out", "r", "--json").stdout)
    assert report["reasons"] == judged["reasons"]
    assert report["kept"] == judged["kept"]
    assert report == json.loads((data / "r/report.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("score", "absent.csv", "--out", "o.csv", "--signals-only"), 5, "absent.csv"),
        (("score", "captions.csv", "--out", "o.docx", "--signals-only"), 5, "o.docx"),
        (("score", "captions.csv", "--out", "o.csv", "--scorer", "/absent/model"), 7, "no model directory"),
        (("score", "captions.csv", "--out", "o.csv", "--signals-only", "--scorer", "mini"), 2, "--signals-only"),
        (("filter", "captions.csv", "--out", "o.csv", "--top", "120%"), 2, "no share"),
        (("filter", "captions.csv", "--out", "o.csv", "--top", "0.5"), 5, "peyda score"),
        (("filter", "captions.csv", "--out", "o.csv", "--without", "grammar"), 2, "untranslated"),
        (("filter", "captions.csv", "--out", "o.csv", "--by", "score_mini"), 2, "--min-score"),
        (("filter", "captions.csv", "--out", "o.csv", "--rejects", "./o.csv"), 2, "same file"),
        (("report", "captions.csv", "--out", "r", "--by", "score_mini"), 5, "peyda score"),
        (("report", "captions.csv", "--out", "r", "--images", "nowhere"), 5, "nowhere"),
    ],
)
def test_what_goes_wrong_is_said(data: Path, arguments: tuple[str, ...], status: int, message: str) -> None:
    done = run(data, *arguments)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (data / "o.csv").exists()


def test_a_missing_column_names_those_there_are(data: Path) -> None:
    (data / "english.csv").write_text("image,caption_id,caption_en\na.jpg,0,red\n", encoding="utf-8")
    for verb in ("score", "filter", "report"):
        extra = ("--signals-only",) if verb == "score" else ()
        done = run(data, verb, "english.csv", "--out", "o.csv", *extra)
        assert done.returncode == 5
        assert "caption_fa" in done.stderr
        assert "caption_en" in done.stderr
