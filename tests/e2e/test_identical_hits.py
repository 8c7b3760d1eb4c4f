"""One answer through every door: the command line, Python, Python and the command line through a server, and HTTP."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import numpy as np
import pytest
from PIL import Image

import peyda
from peyda.gallery.locks import ServerPresence

PHOTOS = 40
QUERIES: list[tuple[str, dict[str, str]]] = [
    ("قرمز", {}),
    ("كتاب‌هاي آبي، ۱۲", {"k": "40"}),
    ("red and green", {"k": "1"}),
    ('سگ -گربه "برف" OR *', {"k": "100"}),
    ("half\udce9 a name\n😀", {"k": "7"}),
    ("زرد " * 2_500, {"k": "5"}),
    ("سبز", {"k": "40", "folder": "FIRST"}),
    ("سبز", {"k": "40", "folder": "ODD"}),
    ("سفید", {"k": "40", "after": "۲۰۲۳-۰۱-۱۰", "before": "2023-01-20 12:00"}),
    ("سیاه", {"k": "40", "min-score": "0.25"}),
]


@dataclass(frozen=True)
class Place:
    """A gallery, the environment of its user, and the folders that queries name."""

    gallery: Path
    folders: dict[str, str]
    like: list[Path]
    environ: dict[str, str]

    def options(self, options: dict[str, str]) -> dict[str, str]:
        return {name: self.folders.get(value, value) for name, value in options.items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Place:
    home = tmp_path_factory.mktemp("home")
    folders = {"FIRST": str(home / "photos" / "اول"), "ODD": str(home / "photos" / "odd\udce9 & +%")}
    rng = np.random.default_rng(5)
    for folder in folders.values():
        os.makedirs(os.fsencode(folder))
    like = [home / "like.png", home / "like.jpg"]
    for path in like:
        Image.fromarray(rng.integers(0, 256, (70, 50, 3), dtype=np.uint8)).save(path)
    for number in range(PHOTOS):
        # Every colour twice, byte for byte, so that equal scores must be put into one order everywhere.
        colour = np.random.default_rng(number // 2).integers(0, 256, 3)
        path = os.fsencode(f"{folders['FIRST' if number % 3 else 'ODD']}/{number}.png")
        Image.new("RGB", (20, 20), tuple(int(value) for value in colour)).save(path, "PNG")
        moment = 1672531200 + number * 86400  # 2023-01-01 and on
        os.utime(path, (moment, moment))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PEYDA_")}
    environ |= {"HOME": str(home), "PYTHONUTF8": "1", "PEYDA_CONFIG": "", "PEYDA_GALLERY": str(home / "gallery")}
    with peyda.Gallery.create(home / "gallery", model=str(tiny_model_dir)) as gallery:
        assert gallery.index(home / "photos", workers=1).photos == PHOTOS
    return Place(home / "gallery", folders, like, environ)


@pytest.fixture
def server(place: Place) -> Iterator[str]:
    """`peyda serve` on this gallery; its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "peyda", "serve", "--port", "0"],
        env=place.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        announced = process.stdout.readline().decode()
        found = ServerPresence.find(place.gallery)
        assert found is not None, announced + process.stdout.read().decode()
        yield found.url
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()  # type: ignore[union-attr]


Hits = list[dict[str, Any]]


def _cli(place: Place, arguments: Sequence[str]) -> Hits:
    run = subprocess.run(
        [sys.executable, "-m", "peyda", "search", "--json", *arguments],
        env=place.environ,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def _cli_options(options: dict[str, str]) -> list[str]:
    return [part for name, value in options.items() for part in (f"--{name}" if len(name) > 1 else f"-{name}", value)]


def _python(place: Place, options: dict[str, str], **how: Any) -> Hits:
    given: dict[str, Any] = {name.replace("-", "_"): value for name, value in options.items()}
    given["k"] = int(given.get("k", 10))
    if "min_score" in given:
        given["min_score"] = float(given["min_score"])
    query, like, via_server = how.get("query"), how.get("like"), how.get("via_server", False)
    with peyda.Gallery.open(place.gallery, via_server=via_server) as gallery:
        hits = gallery.search(query, **given) if query is not None else gallery.search_like(like, **given)
        # What was asked through the server must not have been answered here.
        assert (gallery._searcher is None) is via_server
    return [hit.to_dict() for hit in hits]


def _http(url: str, method: str, path: str, options: dict[str, str], body: bytes | None = None) -> Hits:
    params = {name.replace("-", "_"): value for name, value in options.items()}
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        query = urlencode(params, errors="surrogateescape", quote_via=quote)
        connection.request(method, f"{path}?{query}", body=body)
        response = connection.getresponse()
        reply = json.loads(response.read())
        assert response.status == 200, reply
        hits: Hits = reply["hits"]
        return hits
    finally:
        connection.close()


def test_one_answer_through_every_door(place: Place, server: str) -> None:
    for query, raw in QUERIES:
        options = place.options(raw)
        expected = _python(place, options, query=query)
        assert expected
        assert _python(place, options, query=query, via_server=True) == expected, query
        assert _http(server, "GET", "/api/search", {"q": query, **options}) == expected, query
        assert _cli(place, [query, *_cli_options(options)]) == expected, query
    for path in place.like:
        expected = _python(place, {}, like=path)
        assert len(expected) == 10
        assert _python(place, {}, like=path, via_server=True) == expected
        assert _python(place, {}, like=path.read_bytes(), via_server=True) == expected
        assert _http(server, "POST", "/api/search/image", {}, path.read_bytes()) == expected
        assert _cli(place, ["--like", str(path)]) == expected
    with peyda.Gallery.open(place.gallery) as gallery:
        similar = [hit.to_dict() for hit in gallery.similar(expected[0]["photo_id"], 50)]
    assert len(similar) == PHOTOS - 1
    assert _http(server, "GET", f"/api/photos/{expected[0]['photo_id']}/similar", {"k": "50"}) == similar


def test_the_command_line_is_the_same_without_a_server(place: Place) -> None:
    assert ServerPresence.find(place.gallery) is None
    for query, raw in QUERIES:
        options = place.options(raw)
        assert _cli(place, [query, *_cli_options(options)]) == _python(place, options, query=query), query


def test_ties_have_one_order(place: Place) -> None:
    hits = _python(place, {"k": str(PHOTOS)}, query="قرمز")
    keys = [(-hit["score"], hit["photo_id"]) for hit in hits]
    assert keys == sorted(keys)
    assert len({hit["score"] for hit in hits}) == PHOTOS // 2
    for k in range(1, PHOTOS, 7):
        assert _python(place, {"k": str(k)}, query="قرمز") == hits[:k]


def test_a_search_through_a_server_loads_no_model(place: Place, server: str) -> None:
    code = (
        "import json, sys\nfrom peyda.cli.main import main\nmain(['search', 'قرمز', '-k', '1', '--json'])\n"
        "print(json.dumps([name for name in ('onnxruntime', 'tokenizers') if name in sys.modules]))"
    )
    run = subprocess.run([sys.executable, "-c", code], env=place.environ, capture_output=True, text=True, check=True)
    hit, loaded = run.stdout.splitlines()
    assert json.loads(loaded) == []
    assert json.loads(hit)["rank"] == 1


def test_a_stopped_server_is_not_missed(place: Place) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "peyda", "serve", "--port", "0"], env=place.environ, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with peyda.Gallery.open(place.gallery) as gallery:
            before = gallery.search("قرمز")
            assert gallery._searcher is None
            process.kill()
            process.wait(30)
            assert gallery.search("قرمز") == before
            assert gallery._searcher is not None
        assert (place.gallery / "server.json").exists(), "a kill leaves its traces, which nobody minds"
        assert [hit["path"] for hit in _cli(place, ["قرمز"])] == [hit.path for hit in before]
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()  # type: ignore[union-attr]
