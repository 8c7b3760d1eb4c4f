"""The sample photographs: found without importing their packages, copied with their credits."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from peyda.demo import SAMPLES, Credit, copy_samples, read_credits
from peyda.demo.tour import CREDITS_FILE, write_credits
from peyda.errors import DataError, StorageError


def test_all_samples_are_copied_and_are_photographs_with_credits(tmp_path: Path) -> None:
    found = copy_samples(str(tmp_path))
    assert [credit.file for credit in found] == [sample.file for sample in SAMPLES]
    assert {path.name for path in tmp_path.iterdir()} == {CREDITS_FILE, *(sample.file for sample in SAMPLES)}
    for credit in found:
        assert credit.title
        assert credit.author
        assert credit.licence
        with Image.open(tmp_path / credit.file) as image:
            assert min(image.size) >= 300
    assert read_credits(str(tmp_path)) == {credit.file: credit for credit in found}


def test_copying_again_touches_nothing_but_mends_what_is_cut_short(tmp_path: Path) -> None:
    copy_samples(str(tmp_path))
    whole, cut = tmp_path / "chelsea.png", tmp_path / "coffee.png"
    before = whole.stat().st_mtime_ns
    expected = cut.read_bytes()
    cut.write_bytes(expected[:1000])
    copy_samples(str(tmp_path))
    assert whole.stat().st_mtime_ns == before
    assert cut.read_bytes() == expected


def test_finding_them_imports_neither_package() -> None:
    code = (
        "import sys, tempfile, peyda.demo as d\n"
        "with tempfile.TemporaryDirectory() as t: d.copy_samples(t)\n"
        "print(sorted({'skimage', 'sklearn', 'scipy', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_packages_the_error_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="no sample photographs") as caught:
        copy_samples(str(tmp_path))
    assert "scikit-image" in caught.value.hint
    assert "--photos" in caught.value.hint


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError):
        copy_samples(str(tmp_path / "taken" / "samples"))


def test_credits_survive_commas_quotes_and_persian(tmp_path: Path) -> None:
    credit = Credit("1.jpg", 'a "title", with', "زهرا، م.", "CC0", "https://example.org/?a=1,2")
    write_credits(str(tmp_path), [credit])
    assert read_credits(str(tmp_path)) == {"1.jpg": credit}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"nothing,known\n1,2\n", b"file\n\n"])
def test_unreadable_credits_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CREDITS_FILE).write_bytes(content)
    assert read_credits(str(tmp_path)) == {}
