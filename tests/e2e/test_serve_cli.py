"""`peyda serve` as a person runs it: a process of its own, its words, its end."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.locks import ServerPresence
from peyda.gallery.pipeline import index_photos

LIMIT_S = 60


@pytest.fixture
def gallery(tmp_path: Path, photo_dir: Path, tiny_encoder: Any, tiny_model_dir: Path) -> GalleryDirectory:
    directory = GalleryDirectory.create(tmp_path / "gallery", tiny_encoder, model=str(tiny_model_dir))
    index_photos(directory, tiny_encoder, [str(photo_dir)])
    return directory


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "peyda", "serve", *arguments]


class Server:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self.lines.put(line)

    def url(self) -> str:
        line = self.lines.get(timeout=LIMIT_S)
        match = re.search(r"http://[\w.\[\]:]+", line)
        assert match, line
        return match.group().rstrip("/")

    def stop(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        status = self.process.wait(timeout=LIMIT_S)
        assert self.process.stderr is not None
        return status, self.process.stderr.read()


@contextmanager
def started(home: Path, *arguments: str) -> Iterator[Server]:
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOME": str(home)},
    )
    try:
        yield Server(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=LIMIT_S)
        if process.stderr is not None:
            process.stderr.close()


def ask(url: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=LIMIT_S) as reply:
        return json.load(reply)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_says_its_address_answers_and_leaves_nothing_behind(
    private_home: Path, gallery: GalleryDirectory, number: int, status: int
) -> None:
    with started(private_home, "--port", "0", "--gallery", str(gallery.path)) as server:
        url = server.url()
        assert url.startswith("http://127.0.0.1:")
        found = ServerPresence.find(gallery.path)
        assert found is not None
        assert found.url == url
        assert ask(f"{url}/api/health")["photos"] == 12
        hits = ask(f"{url}/api/search?q=%D9%82%D8%B1%D9%85%D8%B2&k=2")["hits"]
        assert {Path(hit["path"]).stem for hit in hits} == {"red"}
        ended, stderr = server.stop(number)
    assert ended == status
    assert "Traceback" not in stderr
    assert ServerPresence.find(gallery.path) is None
    assert not (gallery.path / "server.json").exists()


def test_a_second_server_and_a_taken_port_are_refused(private_home: Path, gallery: GalleryDirectory) -> None:
    with started(private_home, "--port", "0", "--gallery", str(gallery.path)) as server:
        url = server.url()
        again = run_to_end(private_home, "--port", "0", "--gallery", str(gallery.path))
        assert again.returncode == 15
        assert url in again.stderr
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = run_to_end(private_home, "--port", str(other.getsockname()[1]), "--gallery", str(gallery.path))
    assert taken.returncode == 3
    assert "--port 0" in taken.stderr


def test_without_a_gallery_it_names_the_command(private_home: Path, tmp_path: Path) -> None:
    ended = run_to_end(private_home, "--gallery", str(tmp_path / "nowhere"))
    assert ended.returncode == 11
    assert "peyda index" in ended.stderr
    assert ended.stdout == ""


def run_to_end(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(home)}
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=LIMIT_S, env=environment)
