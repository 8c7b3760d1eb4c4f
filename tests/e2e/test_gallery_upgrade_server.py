"""A running server goes over to the model that its gallery was brought over to, and no search fails meanwhile."""

from __future__ import annotations

import json
import shutil
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from peyda.encoders import load_encoder
from peyda.errors import ModelError
from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.pipeline import index_photos
from peyda.gallery.upgrade import roll_back, upgrade_gallery
from peyda.server.launch import running
from peyda.server.service import Service

LIMIT_S = 30


@pytest.fixture
def gallery(tmp_path: Path, photo_dir: Path, tiny_encoder: Any, tiny_model_dir: Path) -> GalleryDirectory:
    directory = GalleryDirectory.create(tmp_path / "gallery", tiny_encoder, model=str(tiny_model_dir))
    index_photos(directory, tiny_encoder, [str(photo_dir)])
    return directory


def asked(url: str, path: str, **query: str) -> Any:
    with urllib.request.urlopen(f"{url}/api/{path}?{urllib.parse.urlencode(query)}", timeout=LIMIT_S) as reply:
        return json.load(reply)


def wait_for(model: Path, url: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while asked(url, "health")["model"] != str(model):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_searches_go_on_through_an_upgrade_and_back(
    gallery: GalleryDirectory, tiny_encoder: Any, tiny_model_dir: Path, other_model_dir: Path
) -> None:
    is_over, replies, failures = threading.Event(), [], []
    with running(GalleryDirectory.open(gallery.path)) as url:

        def search_all_the_while() -> None:
            while not is_over.is_set():
                try:
                    replies.append([hit["photo_id"] for hit in asked(url, "search", q="قرمز", k="2")["hits"]])
                except Exception as error:  # noqa: BLE001 - whatever it is, the test must hear of it
                    failures.append(error)

        threads = [threading.Thread(target=search_all_the_while) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            upgrade_gallery(gallery, load_encoder(other_model_dir), model=str(other_model_dir))
            wait_for(other_model_dir, url)
            roll_back(gallery, tiny_encoder)
            wait_for(tiny_model_dir, url)
        finally:
            is_over.set()
            for thread in threads:
                thread.join(LIMIT_S)
        assert failures == []
        assert {frozenset(reply) for reply in replies} == {frozenset(replies[0])}
        assert asked(url, "health")["photos"] == 12


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_answering(
    gallery: GalleryDirectory, tiny_encoder: Any, other_model_dir: Path, tmp_path: Path
) -> None:
    fleeting = shutil.copytree(other_model_dir, tmp_path / "fleeting")
    service = Service(GalleryDirectory.open(gallery.path), tiny_encoder, model="given")
    try:
        assert service.model == "given"
        upgrade_gallery(gallery, load_encoder(fleeting), model=str(fleeting))
        away = fleeting.rename(tmp_path / "away")
        with pytest.raises(ModelError):
            service.follow()
        assert service.model == "given"
        assert len(service.searcher.search("قرمز", 2)) == 2
        away.rename(fleeting)
        assert service.follow()
        assert service.model == str(fleeting)
        assert not service.follow()
        assert len(service.searcher.search("قرمز", 2)) == 2
    finally:
        service.close()
