"""`peyda captions …` as a user runs it: a process of its own, files in, files out, exit statuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.strange_server import picture, strange_server

RESULTS = "image_name| comment_number| comment\na.jpg| 0| A dog .\na.jpg| 1| Two dogs .\nb.jpg| 4   A cat .\nbroken\n"


def peyda(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PEYDA_")}
    return subprocess.run(
        [sys.executable, "-m", "peyda", "captions", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env=environment | {"PEYDA_HOME": str(home), "PEYDA_CONFIG": "", "PYTHONIOENCODING": "utf-8"},
    )


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "results.csv"
    path.write_text(RESULTS, encoding="utf-8")
    return path


def test_convert_then_show(tmp_path: Path, results: Path) -> None:
    out, skipped = tmp_path / "out.parquet", tmp_path / "skipped.jsonl"
    done = peyda("convert", str(results), str(out), "--split", "hash", "--skipped", str(skipped), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 rows, 2 images (Flickr30k)" in done.stdout
    assert "line 5: wrong_columns" in done.stderr
    assert json.loads(skipped.read_text(encoding="utf-8"))["reason"] == "wrong_columns"
    shown = peyda("show", str(out), "--json", home=tmp_path)
    facts = json.loads(shown.stdout)
    assert facts["columns"] == ["image", "caption_id", "caption_en", "split"]
    assert (facts["rows"], facts["images"], facts["filled"]["split"]) == (3, 2, 3)
    assert facts["sample"][2]["caption_en"] == "A cat ."
    text = peyda("show", str(out), "--rows", "1", home=tmp_path)
    assert "caption_en: A dog ." in text.stdout


def test_what_is_wrong_is_said_before_any_work(tmp_path: Path, results: Path) -> None:
    for arguments, status, message in (
        (("convert", str(results), "out.xlsx"), 5, "out.xlsx"),
        (("convert", "none.csv", "out.csv"), 5, "none.csv cannot be read"),
        (("convert", str(results), "out.csv", "--split", "hash:1,2,3"), 2, "add up to 1"),
        (("convert", str(results), "out.csv", "--where", "kind"), 2, "COLUMN=VALUE"),
        (("show", str(results), "--columns", "a,a"), 2, "different names"),
        (("fetch", str(results), "--out", "x"), 5, "no column of addresses"),
        (("fetch", str(results), "--out", "x", "--types", "exe"), 2, "EXE"),
        (("crawl", "divar", "--out", "x", "--category", "../x"), 2, "slugs"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "peyda", "captions", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"PEYDA_HOME": str(tmp_path), "PEYDA_CONFIG": ""},
        )
        assert done.returncode == status, (arguments, done.stderr)
        assert message in done.stderr
    assert not (tmp_path / "out.csv").exists()


def test_fetch_writes_photographs_a_ledger_and_a_table(tmp_path: Path) -> None:
    routes = {"/a": lambda request: request.reply(picture()), "/b": lambda request: request.reply(b"", status=404)}
    with strange_server(routes) as server:
        table = tmp_path / "urls.csv"
        table.write_text(f"url,caption\n{server.url}/a,A dog\n{server.url}/b,A cat\n", encoding="utf-8")
        arguments = ["fetch", str(table), "--out", str(tmp_path / "photos"), "--table", str(tmp_path / "out.csv")]
        refused = peyda(*arguments, home=tmp_path)
        assert "2 private_address" in refused.stdout
        done = peyda(*arguments, "--allow-private", "--retry-failed", "--json", home=tmp_path)
        assert done.returncode == 0, done.stderr
        facts = json.loads(done.stdout)
        assert (facts["fetched"], facts["failed"], facts["reasons"]) == (1, 1, {"http_404": 1})
    rows = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    image = rows[1].split(",")[0]
    assert (tmp_path / "photos" / image).read_bytes() == picture()
    assert rows[2].split(",")[3:5] == ["false", "image_http_404"]


def test_nothing_of_a_crawl_or_torch_is_loaded_to_convert(tmp_path: Path, results: Path) -> None:
    code = (
        "import sys; from peyda.cli.main import main\n"
        f"status = main(['captions', 'convert', {str(results)!r}, {str(tmp_path / 'out.csv')!r}])\n"
        "print(sorted({'torch', 'PIL', 'pyarrow', 'datasets', 'onnxruntime'} & set(sys.modules)), file=sys.stderr)\n"
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "[]"
