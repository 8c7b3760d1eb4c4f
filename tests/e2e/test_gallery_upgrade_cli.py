"""`peyda gallery upgrade` as a person runs it: processes of their own, killed, raced, gone back from."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.verify import verify

PHOTOS = 120
LIMIT_S = 60

# Commits often, says on stdout how many photographs are embedded and acknowledged, and goes on when the gate is open.
GATED_UPGRADE = """
import os, sys, time
from peyda.cli.main import main
from peyda.gallery import reembed
reembed.COMMIT_EVERY = 4
gate, flush = sys.argv[1], reembed.Reembedding._flush
def flush_and_tell(self):
    flush(self)
    if self.embedded:
        os.write(1, f"{self.embedded}\\n".encode())
    while self.embedded and not os.path.exists(gate):
        time.sleep(0.01)
reembed.Reembedding._flush = flush_and_tell
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for n in range(PHOTOS):
        Image.fromarray(np.full((30, 40, 3), rng.integers(0, 256, 3), np.uint8)).save(folder / f"{n:03}.png")
    return folder


@pytest.fixture(scope="module")
def next_model_dir(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with another head and 20 numbers instead of 16."""
    directory = shutil.copytree(tiny_model_dir, tmp_path_factory.mktemp("models") / "next")
    turned = np.linalg.qr(np.random.default_rng(5).normal(size=(20, 20)))[0][:16].astype(np.float32)
    for tower, names in (("visual", ("map", "bias")), ("textual", ("table", "bias"))):
        model = onnx.load(directory / tower / "model.onnx")
        for constant in model.graph.initializer:
            if constant.name in names:
                constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant) @ turned, constant.name))
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 20
        onnx.save(model, directory / tower / "model.onnx")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "embed_dim": 20}))
    return directory


@pytest.fixture
def gallery(tmp_path: Path, photos: Path, tiny_model_dir: Path) -> Path:
    directory = tmp_path / "gallery"
    done = peyda(tmp_path, "index", str(photos), "--gallery", str(directory), "--model", str(tiny_model_dir))
    assert done.returncode == 0, done.stderr
    return directory


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "PEYDA_CONFIG": "", "HOME": str(home), "COLUMNS": "120"}


def peyda(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "peyda", *arguments],
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )


def gated_upgrade(home: Path, gate: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", GATED_UPGRADE, str(gate), "gallery", "upgrade", *arguments],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str]) -> int:
    """How many photographs it has embedded and committed, once it says so again."""
    assert process.stdout is not None
    return int(process.stdout.readline())


def searched(home: Path, gallery: Path) -> list[dict[str, Any]]:
    done = peyda(home, "search", "آبی", "-k", "5", "--json", "--gallery", str(gallery))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_kill_9_again_and_again_loses_nothing_and_embeds_nothing_twice(
    tmp_path: Path, gallery: Path, next_model_dir: Path
) -> None:
    arguments = ["--model", str(next_model_dir), "--gallery", str(gallery), "--workers", "1"]
    before = searched(tmp_path, gallery)
    acknowledged = 0
    for kill in range(3):
        process = gated_upgrade(tmp_path, tmp_path if kill else tmp_path / "never", *arguments)
        embedded = [told(process) for _ in range(1 + kill)][-1]
        process.kill()
        rest, errors = process.communicate(timeout=LIMIT_S)
        assert "Traceback" not in errors
        acknowledged += max([embedded, *map(int, rest.split())])
        status = json.loads(
            peyda(tmp_path, "gallery", "upgrade", "--status", "--json", "--gallery", str(gallery)).stdout
        )
        current, unfinished = status["generations"]
        assert not status["is_running"]
        assert (current["state"], current["embedded"]) == ("current", PHOTOS)
        assert acknowledged <= unfinished["embedded"] < PHOTOS
        assert GalleryDirectory.open(gallery).manifest.embed_dim == 16
    assert searched(tmp_path, gallery) == before

    done = peyda(tmp_path, "gallery", "upgrade", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    # A batch that was on its way at a kill may have been stored, or have to be embedded again; what was told, never.
    assert PHOTOS - unfinished["embedded"] <= summary["embedded"] <= PHOTOS - acknowledged
    assert (summary["photos"], summary["missing"], summary["is_switched"]) == (PHOTOS, 0, True)
    assert verify(GalleryDirectory.open(gallery), is_deep=True).is_sound
    after = searched(tmp_path, gallery)
    assert [hit["path"] for hit in after] == [hit["path"] for hit in before]


def test_searching_and_indexing_go_on_meanwhile_and_ctrl_c_keeps_what_is_done(
    tmp_path: Path, gallery: Path, photos: Path, next_model_dir: Path
) -> None:
    more = tmp_path / "more"
    more.mkdir()
    Image.new("RGB", (40, 30), (25, 35, 225)).save(more / "blue.png")
    arguments = ["--model", str(next_model_dir), "--gallery", str(gallery), "--workers", "1"]
    before = searched(tmp_path, gallery)

    gate = tmp_path / "gate"
    process = gated_upgrade(tmp_path, gate, *arguments)
    assert told(process) > 0
    refused = peyda(tmp_path, "gallery", "upgrade", *arguments)
    process.send_signal(signal.SIGINT)
    gate.touch()
    said, errors = process.communicate(timeout=LIMIT_S)
    assert refused.returncode == 15
    assert "another model already" in refused.stderr
    assert process.returncode == 130, errors
    assert "stays with" in errors
    assert "The gallery uses" in said
    assert "Traceback" not in errors
    assert searched(tmp_path, gallery) == before

    gate.unlink()
    process = gated_upgrade(tmp_path, gate, *arguments)
    assert told(process) > 0
    meanwhile = searched(tmp_path, gallery)
    indexed = peyda(tmp_path, "index", str(more), "--gallery", str(gallery))
    gate.touch()
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    assert meanwhile == before
    assert indexed.returncode == 0, indexed.stderr
    assert str(more / "blue.png") in [hit["path"] for hit in searched(tmp_path, gallery)]
    assert verify(GalleryDirectory.open(gallery), is_deep=True).is_sound


def test_the_whole_walk_on_the_command_line(
    tmp_path: Path, gallery: Path, photos: Path, next_model_dir: Path, tiny_model_dir: Path
) -> None:
    mine = ["--gallery", str(gallery)]
    other = peyda(tmp_path, "index", *mine, "--model", str(next_model_dir))
    assert other.returncode == 12
    command = f"peyda gallery upgrade --model {next_model_dir} --gallery {gallery}"
    assert command in other.stderr

    estimated = peyda(tmp_path, *command.split()[1:], "--estimate")
    assert f"{PHOTOS}; still to embed: {PHOTOS}" in estimated.stdout
    upgraded = peyda(tmp_path, *command.split()[1:])
    assert upgraded.returncode == 0, upgraded.stderr
    assert f"now uses {next_model_dir}: {PHOTOS} photos, {PHOTOS} embedded" in upgraded.stdout
    assert "--rollback" in upgraded.stdout
    again = peyda(tmp_path, *command.split()[1:])
    assert "no photo had to be read" in again.stdout
    status = peyda(tmp_path, "gallery", "upgrade", "--status", *mine).stdout
    assert f"{next_model_dir}: in use" in status
    assert f"{tiny_model_dir}: kept, to go back to" in status
    assert "--rollback" in peyda(tmp_path, "gallery", "stats", *mine).stdout

    back = peyda(tmp_path, "gallery", "upgrade", "--rollback", *mine)
    assert f"now uses {tiny_model_dir}" in back.stdout, back.stderr
    forward = peyda(tmp_path, "gallery", "upgrade", "--rollback", *mine, "--json")
    assert json.loads(forward.stdout)["embedded"] == 0
    discarded = peyda(tmp_path, "gallery", "upgrade", "--discard-old", *mine)
    assert "freed" in discarded.stdout, discarded.stderr
    nothing = peyda(tmp_path, "gallery", "upgrade", "--rollback", *mine)
    assert nothing.returncode == 10
    assert "no earlier vectors" in nothing.stderr
    assert len(searched(tmp_path, gallery)) == 5


def test_photos_that_cannot_be_read_stop_the_switch_until_it_is_allowed(
    tmp_path: Path, gallery: Path, photos: Path, next_model_dir: Path
) -> None:
    mine = ["--gallery", str(gallery)]
    hidden = photos.rename(photos.with_name("unplugged"))
    try:
        refused = peyda(tmp_path, "gallery", "upgrade", *mine, "--model", str(next_model_dir))
        assert refused.returncode == 10
        assert f"{PHOTOS} photographs cannot be read" in refused.stderr
        assert "Plug its disk in" in refused.stderr
        status = peyda(tmp_path, "gallery", "upgrade", "--status", *mine).stdout
        assert "missing_folder" in status
        assert f"and {PHOTOS - 10} more" in status
        assert len(searched(tmp_path, gallery)) == 5
        allowed = peyda(tmp_path, "gallery", "upgrade", *mine, "--model", str(next_model_dir), "--allow-missing")
        assert allowed.returncode == 0, allowed.stderr
        assert f"{PHOTOS} without a vector" in allowed.stdout
        assert "peyda index" in allowed.stdout
        kept = peyda(tmp_path, "gallery", "upgrade", "--discard-old", *mine)
        assert kept.returncode == 10
        assert "old vectors only" in kept.stderr
    finally:
        hidden.rename(photos)
    assert peyda(tmp_path, "index", *mine).returncode == 0
    assert len(searched(tmp_path, gallery)) == 5
    assert peyda(tmp_path, "gallery", "upgrade", "--discard-old", *mine).returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--estimate"],
        ["--rollback", "--status"],
        ["--rollback", "--discard-old"],
        ["--status", "--model", "mini"],
        ["--discard-old", "--model", "mini"],
    ],
)
def test_wrong_usage_is_said_before_anything_happens(tmp_path: Path, arguments: list[str]) -> None:
    from click.testing import CliRunner

    from peyda.cli.gallery_upgrade import upgrade

    done = CliRunner().invoke(upgrade, [*arguments, "--gallery", str(tmp_path)])
    assert done.exit_code == 2
    assert "--" in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_server_of_an_older_peyda_must_be_restarted(
    tmp_path: Path, gallery: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from peyda.cli import gallery_upgrade
    from peyda.server.launch import running

    directory = GalleryDirectory.open(gallery)
    monkeypatch.setattr(gallery_upgrade, "_SERVER_TIMEOUT_S", 0.3)
    gallery_upgrade._tell_about_server(directory, "new")
    assert capsys.readouterr().err == ""
    with running(directory) as url:
        gallery_upgrade._tell_about_server(directory, "a model that it does not have")
        assert f"The server at {url} goes on with the old model until you restart it." in capsys.readouterr().err
        gallery_upgrade._tell_about_server(directory, directory.manifest.model)
        assert f"The server at {url} uses it too." in capsys.readouterr().err
