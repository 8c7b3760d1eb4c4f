"""`kill -9` at any moment: the gallery opens, nothing acknowledged is lost, and the next run goes on."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.pipeline import index_photos
from peyda.gallery.verify import verify

PHOTOS = 500
KILLS = 8

# Commits often, and says on stdout what has been committed: those photographs are acknowledged.
INDEXER = """
import json, os, sys
from peyda.encoders import load_encoder
from peyda.gallery import commit
from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.pipeline import index_photos
commit._COMMIT_EVERY = 16
flush = commit.Committer.flush
def flush_and_tell(self):
    flush(self)
    os.write(1, (json.dumps(self._catalog.count()) + "\\n").encode())
commit.Committer.flush = flush_and_tell
directory, model, photos = sys.argv[1:]
encoder = load_encoder(model)
index_photos(GalleryDirectory.open_or_create(directory, encoder, model=model), encoder, [photos], workers=2)
"""


@pytest.fixture(scope="module")
def many_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    for n in range(PHOTOS):
        small = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
        Image.fromarray(small).resize((400, 300)).save(folder / f"{n:04}.jpg")
    return folder


def test_kill_at_any_moment_then_resume(
    tmp_path: Path, tiny_model_dir: Path, tiny_encoder: Any, many_photos: Path
) -> None:
    gallery = tmp_path / "gallery"
    rng = random.Random(0)
    acknowledged = 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", INDEXER, str(gallery), str(tiny_model_dir), str(many_photos)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        # Some kills fall into the start, some right after a commit, some into the middle of the next one.
        for _ in range(rng.randrange(4)):
            if line := process.stdout.readline():
                acknowledged = max(acknowledged, json.loads(line))
        time.sleep(rng.random() * 0.02)
        process.kill()
        rest, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors
        acknowledged = max([acknowledged, *map(json.loads, rest.splitlines())])
        if (gallery / "manifest.json").exists():
            check = verify(GalleryDirectory.open(gallery))
            assert check.photos >= acknowledged
            assert check.missing_vectors == check.bad_vectors == check.gone == check.changed == 0

    directory = GalleryDirectory.open_or_create(gallery, tiny_encoder)
    before = verify(directory).photos
    summary = index_photos(directory, tiny_encoder, [str(many_photos)])
    assert (summary.unchanged, summary.added) == (before, PHOTOS - before)
    after = verify(directory, is_deep=True)
    assert after.is_sound
    assert after.is_current
    assert (after.photos, after.vectors, after.orphans) == (PHOTOS, PHOTOS, 0)
    with directory.catalog(readonly=True) as catalog:
        assert len({photo.path for photo in catalog.iter_photos()}) == PHOTOS
        assert catalog.skipped() == []


def test_a_kill_through_the_command_line(tmp_path: Path, tiny_model_dir: Path, many_photos: Path) -> None:
    command = [sys.executable, "-m", "peyda", "index", str(many_photos), "--gallery", str(tmp_path / "gallery")]
    environment = {**os.environ, "PEYDA_CONFIG": "", "HOME": str(tmp_path)}
    killed = subprocess.Popen([*command, "--model", str(tiny_model_dir)], env=environment, stdout=subprocess.DEVNULL)
    while not (tmp_path / "gallery" / "scan.sqlite").exists():
        assert killed.poll() is None
    killed.kill()
    killed.wait()
    resumed = subprocess.run([*command, "--json"], env=environment, capture_output=True, text=True, check=True)
    summary = json.loads(resumed.stdout.splitlines()[-1])
    assert summary["photos"] == PHOTOS
    assert summary["is_complete"]
    assert not (tmp_path / "gallery" / "scan.sqlite").exists()


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on the size of files")
def test_a_disk_that_really_fills_up(tmp_path: Path, tiny_model_dir: Path, many_photos: Path) -> None:
    """No file may grow beyond a limit: what a full disk looks like to SQLite and to the vectors."""
    gallery = tmp_path / "gallery"
    limited = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000))\n"
        "from peyda.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    arguments = ["index", str(many_photos), "--gallery", str(gallery), "--json"]
    environment = {**os.environ, "PEYDA_CONFIG": "", "HOME": str(tmp_path)}
    full = subprocess.run(
        [sys.executable, "-c", limited, *arguments, "--model", str(tiny_model_dir)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert full.returncode == 21, full.stderr
    assert "what to do" in full.stderr
    assert verify(GalleryDirectory.open(gallery)).missing_vectors == 0
    resumed = subprocess.run(
        [sys.executable, "-m", "peyda", *arguments], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(resumed.stdout.splitlines()[-1])["photos"] == PHOTOS
    assert verify(GalleryDirectory.open(gallery), is_deep=True).is_sound
