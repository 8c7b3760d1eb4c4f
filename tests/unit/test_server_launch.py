"""Ports, hosts and presence: every way a server cannot start is said with what to do."""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from peyda.errors import ConfigError, GalleryBusy, GalleryMismatch, GalleryNotFound, ModelError, StorageError
from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.locks import ServerPresence
from peyda.server import running as run_server
from peyda.server import serve
from peyda.server.launch import address_of, bind


@pytest.fixture
def gallery(tmp_path: Path, tiny_encoder: Any) -> GalleryDirectory:
    return GalleryDirectory.create(tmp_path / "gallery", tiny_encoder)


def test_a_taken_port_names_another_one() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is taken") as caught:
            bind("127.0.0.1", port)
    assert "--port 0" in caught.value.hint
    assert str(port + 1) in caught.value.hint or port == 65_535


def test_port_zero_takes_a_free_one() -> None:
    with bind("127.0.0.1", 0) as first, bind("127.0.0.1", 0) as second:
        assert first.getsockname()[1] != second.getsockname()[1]


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1", "a" * 300, "exa mple"])
def test_a_host_that_is_not_here_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_names(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "192.0.2.1":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (name, 0))]
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_names)  # asking for a name must not touch the network in a test
    with pytest.raises(ConfigError, match="not an address of this machine") as caught:
        bind(host, 0)
    assert "--host 127.0.0.1" in caught.value.hint


def test_a_forbidden_port_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def bind(self, address: Any) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket, "socket", Refusing)
    with pytest.raises(ConfigError, match="port 80 may not be used") as caught:
        bind("127.0.0.1", 80)
    assert "1023" in caught.value.hint


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
        ("photos.lan", "http://photos.lan:80"),
    ],
)
def test_address_of(host: str, url: str) -> None:
    assert address_of(host, 80) == url


def test_a_second_server_is_told_where_the_first_is(gallery: GalleryDirectory, tiny_encoder: Any) -> None:
    with run_server(gallery, encoder=tiny_encoder) as url:
        with pytest.raises(GalleryBusy, match=url), run_server(gallery, encoder=tiny_encoder):
            pass
        found = ServerPresence.find(gallery.path)
        assert found is not None
        assert found.url == url


def test_there_must_be_a_gallery(tmp_path: Path) -> None:
    with pytest.raises(GalleryNotFound) as caught:
        serve(tmp_path / "nowhere", port=0)
    assert "peyda index" in caught.value.hint


def test_another_model_is_refused_and_nothing_is_left_behind(gallery: GalleryDirectory, other_model_dir: Path) -> None:
    with pytest.raises(GalleryMismatch):
        serve(gallery, port=0, model=str(other_model_dir))
    assert ServerPresence.find(gallery.path) is None


def test_health_names_the_model_that_was_chosen(gallery: GalleryDirectory, tiny_model_dir: Path) -> None:
    with run_server(gallery, model=str(tiny_model_dir)) as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        connection.request("GET", "/api/health")
        assert json.loads(connection.getresponse().read())["model"] == str(tiny_model_dir)
        connection.close()


def test_a_model_that_is_gone_is_said_before_anything_listens(gallery: GalleryDirectory, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        serve(gallery, port=0, model=str(tmp_path / "no-model"), announce=pytest.fail)
    assert ServerPresence.find(gallery.path) is None


def test_a_gallery_on_read_only_media_is_served_all_the_same(
    gallery: GalleryDirectory, tiny_encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: ServerPresence) -> None:
        raise StorageError("cannot lock: read-only file system")

    monkeypatch.setattr(ServerPresence, "__enter__", refuse)
    with run_server(gallery, encoder=tiny_encoder) as url:
        host, port = url.removeprefix("http://").split(":")
        socket.create_connection((host, int(port)), timeout=5).close()


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("192.168.1.20", True), ("127.0.0.1", False)])
def test_a_host_that_others_can_reach_comes_with_a_warning(
    gallery: GalleryDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, warned: bool
) -> None:
    monkeypatch.setattr("peyda.server.launch.bind", lambda host, port: bind("127.0.0.1", 0))  # tests stay inside
    said: list[str] = []
    with pytest.raises(ModelError):
        serve(gallery, host, 0, model=str(tmp_path / "no-model"), warn=said.append)
    assert bool(said) is warned
    assert all("can see these photographs" in sentence for sentence in said)
