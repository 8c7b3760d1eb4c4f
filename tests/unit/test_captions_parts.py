"""Leftovers of killed runs: removed by the next run that writes the same table, and by nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from peyda.captions import open_reader, open_writer
from peyda.captions.parts import part_file

COLUMNS = ("image", "caption_fa")
_WRITE_AND_WAIT = """
import sys
from peyda.captions import open_writer
with open_writer(sys.argv[1], ("image", "caption_fa")) as writer:
    writer.write({"image": "a.jpg", "caption_fa": "سگ"})
    writer.flush()
    print("writing", flush=True)
    sys.stdin.readline()
"""


def _parts(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.endswith(".part"))


def _writer(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITE_AND_WAIT, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl.gz"])
def test_a_rerun_removes_what_a_killed_run_left(tmp_path: Path, ending: str) -> None:
    table = tmp_path / f"table{ending}"
    with _writer(table) as killed:
        killed.send_signal(signal.SIGKILL)
    assert len(_parts(tmp_path)) == 1
    with open_writer(table, COLUMNS) as writer:
        writer.write({"image": "b.jpg", "caption_fa": "گربه"})
        assert len(_parts(tmp_path)) == 1  # its own
    assert os.listdir(tmp_path) == [table.name]
    with open_reader(table) as reader:
        assert [row["image"] for row in reader] == ["b.jpg"]


def test_the_file_of_a_run_that_still_writes_is_left_alone(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    with _writer(table) as other:
        mine = _parts(tmp_path)
        with open_writer(table, COLUMNS) as writer:
            writer.write({"image": "b.jpg", "caption_fa": "گربه"})
        assert _parts(tmp_path) == mine
        other.communicate("\n")
        assert other.returncode == 0
    with open_reader(table) as reader:
        assert [row["image"] for row in reader] == ["a.jpg"]  # who ends last has the last word
    assert os.listdir(tmp_path) == [table.name]


def test_leftovers_of_other_tables_and_other_files_stay(tmp_path: Path) -> None:
    others = [".other.csv.abcdefgh.part", ".table.csv.gz.abcdefgh.part", ".table.csv.mine.part", ".table.csv.part"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / ".table.csv.12345678.part").touch()
    with part_file(str(tmp_path / "table.csv")) as path:
        assert Path(path).exists()
    assert sorted(os.listdir(tmp_path)) == sorted(others)


def test_a_link_that_looks_like_a_leftover_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious.csv"
    precious.write_text("kept")
    (tmp_path / ".table.csv.abcdefgh.part").symlink_to(precious)
    with part_file(str(tmp_path / "table.csv")):
        pass
    assert precious.read_text() == "kept"


def test_a_file_that_was_taken_for_a_leftover_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peyda.captions import parts

    try_lock, tried = parts._try_lock, []

    def robbed(descriptor: int) -> bool | None:
        tried.append(descriptor)
        if len(tried) == 1:  # another run is faster: it locks and removes the file
            for name in _parts(tmp_path):
                (tmp_path / name).unlink()
            return False
        return try_lock(descriptor)

    monkeypatch.setattr(parts, "_try_lock", robbed)
    with part_file(str(tmp_path / "table.csv")) as path:
        assert Path(path).exists()
    assert len(tried) == 2
    assert os.listdir(tmp_path) == []
