"""One indexer, one server; whoever dies gives its lock back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from peyda.errors import GalleryBusy, StorageError
from peyda.gallery.locks import ServerInfo, ServerPresence, WriterLock, is_being_indexed

INFO = ServerInfo("http://127.0.0.1:8123", os.getpid(), "abc")

HOLD = """
import sys
from peyda.gallery.locks import ServerInfo, ServerPresence, WriterLock
lock = {hold}
with lock:
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(hold: str) -> subprocess.Popen[str]:
    """A process that holds a lock until its stdin is closed, or until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(hold=hold)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=30)


def test_a_second_indexer_learns_who_is_there(tmp_path: Path) -> None:
    process = holder(f"WriterLock({str(tmp_path)!r})")
    try:
        with pytest.raises(GalleryBusy) as caught, WriterLock(tmp_path):
            pass
        assert f"process {process.pid}" in caught.value.message
        assert "since 2" in caught.value.message
        assert "Ctrl-C" in caught.value.hint
        assert is_being_indexed(tmp_path)
    finally:
        end(process)
    assert not is_being_indexed(tmp_path)
    with WriterLock(tmp_path):
        assert is_being_indexed(tmp_path)
    assert not (tmp_path / "writer.json").exists()


def test_a_killed_indexer_gives_its_lock_back(tmp_path: Path) -> None:
    process = holder(f"WriterLock({str(tmp_path)!r})")
    process.kill()
    end(process)
    assert (tmp_path / "writer.json").exists()
    with WriterLock(tmp_path):
        assert json.loads((tmp_path / "writer.json").read_text())["pid"] == os.getpid()


def test_a_lock_in_the_same_process_excludes_too(tmp_path: Path) -> None:
    with WriterLock(tmp_path), pytest.raises(GalleryBusy), WriterLock(tmp_path):
        pass


def test_a_place_that_is_gone_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError), WriterLock(tmp_path / "file"):
        pass


def test_a_server_is_found_while_it_lives(tmp_path: Path) -> None:
    assert ServerPresence.find(tmp_path) is None
    with ServerPresence(tmp_path, INFO):
        assert ServerPresence.find(tmp_path) == INFO
    assert ServerPresence.find(tmp_path) is None


def test_what_a_killed_server_left_is_ignored(tmp_path: Path) -> None:
    info = "ServerInfo('http://127.0.0.1:1', 1, 'gone')"
    process = holder(f"ServerPresence({str(tmp_path)!r}, {info})")
    found = ServerPresence.find(tmp_path)
    assert found is not None
    assert found.url == "http://127.0.0.1:1"
    with pytest.raises(GalleryBusy, match=r"http://127\.0\.0\.1:1"), ServerPresence(tmp_path, INFO):
        pass
    process.kill()
    end(process)
    assert (tmp_path / "server.json").exists()
    assert ServerPresence.find(tmp_path) is None
    with ServerPresence(tmp_path, INFO):
        assert ServerPresence.find(tmp_path) == INFO


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"url": "x", "pid": "y", "gallery_id": 1}', "سلام"])
def test_a_damaged_server_file_is_no_server(tmp_path: Path, text: str) -> None:
    with ServerPresence(tmp_path, INFO):
        (tmp_path / "server.json").write_text(text, encoding="utf-8")
        assert ServerPresence.find(tmp_path) is None


def test_a_reader_that_looks_does_not_keep_a_server_from_starting(tmp_path: Path) -> None:
    with ServerPresence(tmp_path, INFO):
        pass
    (tmp_path / "server.json").write_text(json.dumps({"url": "u", "pid": 1, "gallery_id": "g"}))
    assert ServerPresence.find(tmp_path) is None
    with ServerPresence(tmp_path, INFO):
        pass
