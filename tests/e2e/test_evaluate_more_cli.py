"""`peyda evaluate` beyond one model: several, samples, the original protocol, zeroshot, robustness, search."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from peyda.cli.main import main

COLOURS = {"red": ("قرمز", (220, 20, 20)), "green": ("سبز", (20, 180, 40)), "blue": ("آبی", (20, 40, 220))}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """captions.csv, photos/ of three colours, and labelled/ with a folder for each of them."""
    (tmp_path / "photos").mkdir()
    with open(tmp_path / "captions.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "kind", "caption_id", "caption_fa"])
        for name, (word, colour) in COLOURS.items():
            Image.new("RGB", (64, 48), colour).save(tmp_path / "photos" / f"{name}.jpg")
            writer.writerow([f"{name}.jpg", "sentence", 0, f"دیوار {word}"])
            writer.writerow([f"{name}.jpg", "short", 0, word])
            (tmp_path / "labelled" / name).mkdir(parents=True)
            for at in range(2):
                Image.new("RGB", (32, 32), colour).save(tmp_path / "labelled" / name / f"{at}.png")
    names = "class,fa\n" + "".join(f"{name},{word}\n" for name, (word, _) in COLOURS.items())
    (tmp_path / "names.csv").write_text(names, encoding="utf-8")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    status = main(["evaluate", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_several_models_are_printed_in_one_table_with_a_test(
    data: Path, tiny_model_dir: Path, other_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ("--model", tiny_model_dir, "--model", other_model_dir)
    asked = ("--captions", data / "captions.csv", "--images", data / "photos", "--k", "1,2")
    status, out, err = run(capsys, "retrieval", *asked, *models, "--out", data / "out")
    assert status == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["tiny,", "other", "on", "captions:", "3", "photographs"]
    assert lines[1][:3] == ["model", "direction", "queries"]
    assert [line[0] for line in lines[2:6]] == ["tiny", "tiny", "other", "other"]
    assert [line[:3] for line in lines if "->" in line] == [["tiny", "->", "other"]] * 2
    assert "MRR" in out
    metrics = json.loads((data / "out/metrics.json").read_text())
    assert [one["model"] for one in metrics] == ["tiny", "tiny", "other", "other"]
    for name in ("accuracy_at_k.png", "accuracy_at_k_log.png", "report.html", "comparisons.json"):
        assert (data / "out" / name).stat().st_size > 100


def test_sample_and_the_original_protocol(data: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--captions", data / "captions.csv", "--images", data / "photos", "--model", tiny_model_dir, "--json")
    status, out, err = run(capsys, "retrieval", *asked, "--sample", "2", "--seed", "1", "--out", data / "out")
    assert status == 0, err
    assert (json.loads(out)[0]["images"], json.loads(out)[0]["queries"]) == (2, 4)
    status, out, err = run(capsys, "retrieval", *asked, "--protocol", "original", "--out", data / "out")
    assert status == 0, err
    assert (json.loads(out)[0]["images"], json.loads(out)[0]["protocol"]) == (6, "original")
    assert "6 caption rows are the gallery, of 3 different photographs" in err
    page = (data / "out/report.html").read_text(encoding="utf-8")
    assert "Measured as the original project did" in page


def test_zeroshot(data: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--set", data / "labelled", "--names", data / "names.csv", "--model", tiny_model_dir)
    status, out, err = run(capsys, "zeroshot", *asked, "--template", "{}", "--out", data / "out")
    assert status == 0, err
    assert out.splitlines()[0] == "labelled: 6 photographs of 3 classes"
    metrics = json.loads((data / "out/metrics.json").read_text())
    assert (metrics[0]["top1"], metrics[0]["macro_f1"]) == (1.0, 1.0)
    assert (data / "out/confusion_matrix.png").exists()


def test_robustness(data: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--captions", data / "captions.csv", "--images", data / "photos", "--model", tiny_model_dir)
    kinds = ("--variant", "finglish", "--variant", "arabic_letters")
    status, out, err = run(capsys, "robustness", *asked, *kinds, "--k", "1", "--out", data / "out")
    assert status == 0, err
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["clean", "finglish", "arabic_letters"]
    arabic = json.loads((data / "out/metrics.json").read_text())[2]
    assert arabic["accuracy_at_k"] == arabic["clean_accuracy_at_k"]
    assert (data / "out/robustness.png").exists()


def test_search(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "search", "--size", "۴۰,100", "--dim", "8", "--queries", "5", "--out", data / "out")
    assert status == 0, err
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["exact", "40"], ["indexed", "40"], ["exact", "100"], ["indexed", "100"],
    ]  # fmt: skip
    assert sorted(path.name for path in (data / "out").iterdir()) == [
        "metrics.json", "report.html", "run.json", "search.png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["retrieval", "--captions", "captions.csv", "--images", "photos", "--sample", "0"], 2, "sample"),
        (
            ["retrieval", "--captions", "captions.csv", "--images", "photos", "--protocol", "original",
             "--gallery-images", "all"], 2, "rows of TABLE",
        ),
        (["zeroshot", "--set", "none"], 5, "there is no none"),
        (["zeroshot", "--set", "labelled", "--format", "stl10"], 5, "binary version"),
        (["zeroshot", "--set", "photos"], 5, "folder of its own"),
        (["zeroshot", "--set", "labelled", "--names", "names.csv", "--template", "عکس"], 3, "where the name goes"),
        (["robustness", "--captions", "captions.csv", "--images", "photos", "--variant", "x"], 2, "typing_slip"),
        (["robustness", "--captions", "captions.csv", "--images", "photos", "--k", "0"], 2, "positive"),
        (["search", "--size", "0"], 2, "positive"),
        (["search", "--gallery", "none"], 11, "none"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_refused_with_what_to_do(
    data: Path,
    tiny_model_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(data)
    model = [] if arguments[0] == "search" else ["--model", str(tiny_model_dir)]
    found, _, err = run(capsys, *arguments, *model, "--out", "out")
    assert found == status, err
    assert said in err
    assert not (data / "out/metrics.json").exists()


def test_without_matplotlib_the_numbers_are_there_and_the_fix_is_named(
    data: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    asked = ("--captions", data / "captions.csv", "--images", data / "photos", "--model", tiny_model_dir)
    status, _, err = run(capsys, "retrieval", *asked, "--out", data / "out")
    assert status == 0
    assert "pip install 'peyda[measure]'" in err
    assert json.loads((data / "out/metrics.json").read_text())[0]["accuracy_at_k"]["1"] == 1.0
