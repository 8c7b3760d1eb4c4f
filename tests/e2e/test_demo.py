"""`peyda demo` as a person runs it: a process, a home of its own, no network but a local service."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from PIL import Image

from peyda.demo import SAMPLE_TOUR, SAMPLES


@pytest.fixture
def environ(tiny_model_dir: Path, tmp_path: Path) -> dict[str, str]:
    return os.environ | {
        "PEYDA_HOME": str(tmp_path / "خانه"),
        "PEYDA_CONFIG": "",
        "PEYDA_MODEL": str(tiny_model_dir),
        "PYTHONIOENCODING": "utf-8",
        "NO_PROXY": "127.0.0.1",
    }


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "peyda", "demo", *arguments]


def run(arguments: Sequence[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), env=environ, capture_output=True, text=True, encoding="utf-8", check=False, timeout=300
    )


def test_samples_are_indexed_searched_and_credited(environ: dict[str, str]) -> None:
    done = run(["--no-serve"], environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Gallery: {len(SAMPLES)} photographs, {len(SAMPLES)} new" in done.stdout
    for query in SAMPLE_TOUR:
        assert f"\n«{query}»\n" in done.stdout
    hits = [line for line in done.stdout.splitlines() if line.startswith(("  1  ", "  2  ", "  3  "))]
    assert len(hits) == 3 * len(SAMPLE_TOUR)
    for line in hits:
        assert any(f"{sample.file}  {sample.title} ({sample.author}, {sample.licence})" in line for sample in SAMPLES)

    again = run(["--no-serve"], environ)
    assert again.returncode == 0
    assert f"Gallery: {len(SAMPLES)} photographs, 0 new\n" in again.stdout


def test_own_photographs_get_a_gallery_apart_from_the_samples(environ: dict[str, str], photo_dir: Path) -> None:
    run(["--no-serve"], environ)
    done = run(["--no-serve", "--photos", str(photo_dir)], environ)
    assert done.returncode == 0
    assert "Gallery: 12 photographs, 12 new" in done.stdout
    assert "chelsea" not in done.stdout
    hits = [line.split(maxsplit=2)[2] for line in done.stdout.splitlines() if line.startswith("  1  ")]
    assert hits
    assert all((photo_dir / hit).is_file() for hit in hits), "paths are relative to the folder"


def test_a_gallery_can_be_named(environ: dict[str, str], photo_dir: Path, tmp_path: Path) -> None:
    place = tmp_path / "my gallery"
    done = run(["--no-serve", "--photos", str(photo_dir), "--gallery", str(place)], environ)
    assert done.returncode == 0
    assert f"--gallery '{place}'" in done.stdout
    found = subprocess.run(
        [sys.executable, "-m", "peyda", "search", "قرمز", "-k", "1", "--json", "--gallery", str(place)],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "red" in json.loads(found.stdout)["path"]


def test_a_folder_that_is_not_there(environ: dict[str, str], tmp_path: Path) -> None:
    done = run(["--no-serve", "--photos", str(tmp_path / "nowhere")], environ)
    assert done.returncode == 5
    assert "nowhere" in done.stderr
    assert "what to do:" in done.stderr


class _Photos(BaseHTTPRequestHandler):
    """A photo service with two photographs, one of which is broken."""

    def do_GET(self) -> None:
        if self.path.startswith("/v2/list"):
            listing = [
                {"id": name, "author": f"A{name}", "width": 400, "height": 300, "url": ""} for name in ("7", "8")
            ]
            self._reply(json.dumps(listing if "page=1&" in self.path else []).encode(), "application/json")
        elif self.path.startswith("/id/7/"):
            buffer = io.BytesIO()
            Image.new("RGB", (400, 300), "red").save(buffer, "JPEG")
            self._reply(buffer.getvalue(), "image/jpeg")
        else:
            self._reply(b"sorry", "text/plain")

    def _reply(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Photos) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def closed_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_online_shows_licences_and_goes_on_offline(environ: dict[str, str], service: str) -> None:
    done = run(["--no-serve", "--photos", "online"], environ | {"PEYDA_DEMO_SERVICE": service})
    assert done.returncode == 0
    assert "1 photographs, 1 of them new; 1 failed: the service answered with another type" in done.stdout
    assert "Unsplash License" in done.stdout
    assert "7.jpg  photograph 7 (A7, Unsplash License" in done.stdout

    offline = run(["--no-serve", "--photos", "online"], environ | {"PEYDA_DEMO_SERVICE": closed_address()})
    assert offline.returncode == 0
    assert "1 photographs are here from before" in offline.stdout
    assert "Gallery: 1 photographs, 0 new" in offline.stdout


def test_offline_from_the_start_names_the_way_without_a_network(environ: dict[str, str]) -> None:
    done = run(["--no-serve", "--photos", "online"], environ | {"PEYDA_DEMO_SERVICE": closed_address()})
    assert done.returncode == 5
    assert "is there a network" in done.stderr
    assert "make demo" in done.stderr


def test_it_serves_what_it_searched_and_ctrl_c_ends_it_well(environ: dict[str, str], photo_dir: Path) -> None:
    with subprocess.Popen(
        command("--photos", str(photo_dir), "--port", "0"),
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdout
        assert process.stderr
        try:
            line = next((line for line in process.stdout if line.startswith("The page is at ")), "")
            assert line, process.stderr.read()
            address = urlsplit(line.split()[4])
            assert address.hostname == "127.0.0.1"
            connection = http.client.HTTPConnection(address.netloc, timeout=60)
            connection.request("GET", f"/api/search?q={quote('آبی')}&k=2")
            answer = json.loads(connection.getresponse().read())
            connection.close()
            assert all("blue" in hit["path"] for hit in answer["hits"])
            assert len(answer["hits"]) == 2
        finally:
            process.send_signal(signal.SIGINT)
            _, complaint = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in complaint
