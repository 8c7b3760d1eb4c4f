"""Pulling models from a hub: what arrives, what survives a kill, and what is refused."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from tests.model_hub import REVISION, ModelHub, model_hub
from tests.strange_server import Request

from peyda.cli.main import main
from peyda.encoders import load_encoder, read_model_info
from peyda.encoders.hub import install as install_module
from peyda.encoders.hub.fetch import Patience
from peyda.encoders.hub.install import PullProgress, install
from peyda.encoders.hub.installed import damaged_files, installed_source, remove_model
from peyda.encoders.hub.licences import stated_licence
from peyda.encoders.hub.pull import is_same, licence_of, open_source, parse_request
from peyda.encoders.hub.source import HubSource
from peyda.errors import ConfigError, ModelError, StorageError

HASTE = Patience(tries=3, backoff_s=0.01, longest_wait_s=1)
WEIGHTS = "visual/onnx__MatMul_12.weight"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine's environment says of hubs and proxies is not these tests' business."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("HF_", "PEYDA_")):
            monkeypatch.delenv(name)


@pytest.fixture
def published(tiny_model_dir: Path, tmp_path: Path) -> Path:
    """The tiny model as Immich would publish it: weights beside the graph, variants for other runtimes, a README."""
    folder = Path(shutil.copytree(tiny_model_dir, tmp_path / "published"))
    (folder / WEIGHTS).write_bytes(np.random.default_rng(5).bytes(700_000))
    for variant in ("visual/model.armnn", "visual/fp16/model.onnx", "textual/rknpu/rk3588/model.rknn"):
        (folder / variant).parent.mkdir(parents=True, exist_ok=True)
        (folder / variant).write_bytes(b"for another runtime")
    (folder / "README.md").write_text("---\ntags:\n- clip\n---\n# Tiny\n")
    (folder / ".gitattributes").write_text("*.onnx filter=lfs\n")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    return folder


@pytest.fixture
def hub(published: Path) -> Iterator[ModelHub]:
    with model_hub(published) as running:
        yield running


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def source_of(hub: ModelHub, revision: str = "main", **options: Any) -> HubSource:
    return HubSource(hub.repository, revision, environ=hub.environ, **({"patience": HASTE} | options))


def pull(hub: ModelHub, models: Path, name: str = "tiny", **options: Any) -> Any:
    return install(source_of(hub), name, models, **options)


def cli_environment(hub: ModelHub, models: Path) -> dict[str, str]:
    return os.environ | hub.environ | {"PEYDA_CONFIG": "", "PEYDA_MODELS": str(models)}


@pytest.fixture
def command(
    hub: ModelHub, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`peyda models …` in this process, with nobody at the keyboard: exit status, stdout, stderr."""
    for name, value in cli_environment(hub, models).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["models", *arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_arrives_is_the_model_and_nothing_else(hub: ModelHub, models: Path, tiny_encoder: Any) -> None:
    seen: list[PullProgress] = []
    info = pull(hub, models, licence="mit", description="A tiny one", progress=seen.append)
    assert names_in(info.path) == {
        "config.json",
        "model_card.md",
        "textual/model.onnx",
        "textual/tokenizer.json",
        "textual/tokenizer_config.json",
        "visual/model.onnx",
        WEIGHTS,
        "visual/preprocess_cfg.json",
    }
    assert (info.name, info.licence, info.description) == ("tiny", "mit", "A tiny one")
    assert installed_source(info.path) == {
        "hub": hub.hub.url,
        "repository": hub.repository,
        "revision": REVISION,
    }
    assert damaged_files(info.path) == []
    assert (seen[-1].done_bytes, seen[-1].done_files) == (seen[-1].total_bytes, seen[-1].total_files)
    encoder = load_encoder(info.path)
    image = Image.new("RGB", (40, 30), (220, 30, 30))
    np.testing.assert_allclose(encoder.encode_images([image]), tiny_encoder.encode_images([image]), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_texts(["قرمز"]), tiny_encoder.encode_texts(["قرمز"]), atol=1e-6)
    assert not list((models / ".pulling").glob("tiny/*"))


def test_a_proxy_of_the_environment_is_used(hub: ModelHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """An HTTP proxy is asked with whole addresses; the hub itself plays it, for a mirror that is nowhere."""
    monkeypatch.setenv("http_proxy", hub.hub.url)
    hub.hub.routes["http://mirror.example/api/models/somebody/tiny/revision/main"] = lambda request: request.reply(
        json.dumps(hub.listing()).encode()
    )
    source = HubSource("somebody/tiny", environ={"HF_ENDPOINT": "http://mirror.example"}, patience=HASTE)
    assert source.revision == REVISION


def test_cards_may_be_edited(hub: ModelHub, models: Path) -> None:
    info = pull(hub, models)
    info.card_path.write_text("Mine is a red one.")
    assert damaged_files(info.path) == []


def test_the_original_settings_stay_in_the_manifest(hub: ModelHub, models: Path, published: Path) -> None:
    original = json.loads((published / "config.json").read_text())
    original["text_cfg"]["hf_tokenizer_name"] = "facebook/nllb-200-distilled-600M"
    (published / "config.json").write_text(json.dumps(original))
    config = json.loads((pull(hub, models).path / "config.json").read_text())
    assert {key: config[key] for key in original} == original


def test_the_token_goes_to_the_hub_alone(hub: ModelHub, models: Path) -> None:
    hub.token = "hf_secret"
    pull(hub, models)
    assert hub.authorizations == {"hub": {"Bearer hf_secret"}, "cdn": {""}}


def test_the_token_is_not_said_in_the_clear() -> None:
    from peyda.encoders.hub.transport import Transport

    for endpoint, is_said in (
        ("http://mirror.example", False),
        ("https://mirror.example", True),
        ("http://127.0.0.1:8080", True),
    ):
        assert bool(Transport(endpoint, token="hf_secret")._token) == is_said


def test_a_broken_connection_is_continued(hub: ModelHub, models: Path) -> None:
    hub.cut_after(WEIGHTS, 100_000, times=6)  # more often than HASTE has tries: what moves forward is no failure
    info = pull(hub, models)
    assert damaged_files(info.path) == []
    assert [start for start, _ in hub.served[WEIGHTS]] == [0, 100_000, 200_000, 300_000, 400_000, 500_000, 600_000]
    assert hub.fetched(WEIGHTS) == 700_000


def test_a_server_without_ranges_starts_anew(hub: ModelHub, models: Path) -> None:
    hub.cut_after(WEIGHTS, 100_000)
    hub.knows_ranges = False
    assert damaged_files(pull(hub, models).path) == []
    assert [start for start, _ in hub.served[WEIGHTS]] == [0, 0]


def test_a_file_that_changes_meanwhile_is_not_put_together_of_two(hub: ModelHub, models: Path, published: Path) -> None:
    first, second = source_of(hub), source_of(hub)
    hub.cut_after(WEIGHTS, 30_000, times=99)
    with pytest.raises(ModelError, match="ended early"):
        install(first, "tiny", models)
    hub.vices.clear()
    hub.served.clear()
    # The content network now has another file under that address, and says so by its tag.
    old = (published / WEIGHTS).read_bytes()
    (published / WEIGHTS).write_bytes(old[::-1])
    with pytest.raises(ModelError, match="not the file that the hub announces"):
        install(second, "tiny", models)
    assert {start for start, _ in hub.served[WEIGHTS]} == {0}, "If-Range has the whole file sent again"
    assert not (models / "tiny").exists()
    # A new list of files has the new checksum, and all is well.
    info = pull(hub, models)
    assert (info.path / WEIGHTS).read_bytes() == old[::-1]


def test_without_tags_the_checksum_finds_a_file_of_two_halves(hub: ModelHub, models: Path, published: Path) -> None:
    hub.etag_of = lambda data: ""
    data = (published / WEIGHTS).read_bytes()
    source = source_of(hub)

    def cut_and_change(request: Request) -> bool:
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(bytes(100_000))  # the beginning of another file
        del hub.vices[WEIGHTS]
        return True

    hub.vices[WEIGHTS] = cut_and_change
    info = install(source, "tiny", models)
    assert (info.path / WEIGHTS).read_bytes() == data
    assert [start for start, _ in hub.served[WEIGHTS]] == [100_000, 0]


def test_a_wrong_checksum_is_never_installed(hub: ModelHub, models: Path) -> None:
    hub.listing_changes[WEIGHTS] = {"lfs": {"sha256": "0" * 64, "size": 700_000}}
    with pytest.raises(ModelError, match=r"onnx__MatMul_12.weight .*not the file that the hub announces"):
        pull(hub, models)
    assert len(hub.served[WEIGHTS]) == 2, "once more, in case it was the line"
    assert not (models / "tiny").exists()


def test_small_files_are_checked_by_their_git_id(hub: ModelHub, models: Path) -> None:
    hub.listing_changes["visual/preprocess_cfg.json"] = {"blobId": "0" * 40}
    with pytest.raises(ModelError, match=r"preprocess_cfg\.json"):
        pull(hub, models)


def test_more_than_announced_is_cut_off(hub: ModelHub, models: Path) -> None:
    hub.listing_changes[WEIGHTS] = {"lfs": {"sha256": "0" * 64, "size": 1000}}
    with pytest.raises(ModelError, match="larger than the limit"):
        pull(hub, models)
    assert all(path.stat().st_size <= 1000 for path in models.rglob(f"sha256-{'0' * 64}*"))


def test_a_file_without_checksum_or_length_is_not_trusted(hub: ModelHub) -> None:
    hub.listing_changes["textual/tokenizer_config.json"] = {"blobId": None, "size": None}
    with pytest.raises(ModelError, match=r"no length or checksum of textual/tokenizer_config\.json"):
        source_of(hub)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_waited_for(hub: ModelHub, models: Path, status: int) -> None:
    def once(request: Request) -> bool:
        if request.count > 1:
            return False
        request.reply(b"", status=status, Retry_After="0")
        return True

    hub.vices[WEIGHTS] = hub.vices["visual/preprocess_cfg.json"] = hub.listing_vice = once
    assert damaged_files(pull(hub, models).path) == []


def test_a_ban_is_not_waited_for(hub: ModelHub) -> None:
    hub.listing_vice = lambda request: bool(request.reply(b"", status=429, Retry_After="3600")) or True
    with pytest.raises(ModelError, match="asked too often") as caught:
        source_of(hub)
    assert hub.hub.counts.total() == 1
    assert "HF_ENDPOINT" in caught.value.hint


def test_a_hub_that_keeps_failing_is_given_up(hub: ModelHub) -> None:
    hub.listing_vice = lambda request: bool(request.reply(b"", status=500)) or True
    with pytest.raises(ModelError, match="http_500"):
        source_of(hub)
    assert hub.hub.counts.total() == HASTE.tries


def test_silence_has_an_end(hub: ModelHub) -> None:
    hub.listing_vice = lambda request: request.server.patience.wait(20) or True
    with pytest.raises(ModelError, match="too slow"):
        source_of(hub, timeout_s=0.1, patience=Patience(tries=1))


@pytest.mark.parametrize(
    ("status", "code", "message", "hint"),
    [
        (401, "GatedRepo", "not given to everybody", "HF_TOKEN"),
        (403, "", "not given to everybody", "some networks are refused"),
        (401, "RepoNotFound", "there is no somebody/tiny", "HF_TOKEN"),
        (404, "RepoNotFound", "there is no somebody/tiny", "peyda models list"),
        (404, "RevisionNotFound", "has no revision main", "--revision"),
        (451, "", "not given out where you are", "HF_ENDPOINT"),
    ],
)
def test_refusals_say_what_to_do(hub: ModelHub, status: int, code: str, message: str, hint: str) -> None:
    hub.listing_vice = lambda request: bool(request.reply(b"{}", status=status, X_Error_Code=code)) or True
    with pytest.raises(ModelError, match=message) as caught:
        source_of(hub)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "answer",
    [b"<html>", b"[]", b'{"sha": "main", "siblings": []}', b'{"sha": "%s"}' % REVISION.encode(), b"[" * 10_000],
)
def test_nonsense_instead_of_a_list(hub: ModelHub, answer: bytes) -> None:
    hub.listing_vice = lambda request: bool(request.reply(answer, "application/json")) or True
    with pytest.raises(ModelError, match="cannot fetch revision main"):
        source_of(hub)


def test_paths_of_a_list_lead_nowhere_else(hub: ModelHub, models: Path, tmp_path: Path) -> None:
    listing = hub.listing()
    for name in ("../../evil", "/etc/evil", "visual/../../evil", "visual/a\\b", "visual/.hidden", "textual/a/b"):
        listing["siblings"].append({"rfilename": name, "size": 4, "blobId": "0" * 40})
    hub.listing_vice = lambda request: bool(request.reply(json.dumps(listing).encode())) or True
    info = pull(hub, models)
    assert len(names_in(info.path)) == 8
    assert not list(tmp_path.rglob("*evil*"))


def test_a_repository_in_another_layout(hub: ModelHub, published: Path) -> None:
    shutil.rmtree(published / "textual")
    with pytest.raises(ModelError, match=r"textual/model.onnx, textual/tokenizer.json missing") as caught:
        source_of(hub)
    assert "peyda models export" in caught.value.hint


def test_redirects_out_of_the_web_are_not_followed(hub: ModelHub) -> None:
    hub.listing_vice = lambda request: bool(request.reply(b"", status=302, Location="ftp://127.0.0.1/x")) or True
    with pytest.raises(ModelError, match="not safe to follow"):
        source_of(hub)


def test_a_renamed_repository_keeps_the_token(hub: ModelHub) -> None:
    hub.token = "hf_secret"

    def moved(request: Request) -> bool:
        if "old=" in request.path:
            return False
        request.reply(b"", status=307, Location=f"{request.path}&old=1")
        return True

    hub.listing_vice = moved
    assert source_of(hub).revision == REVISION


@pytest.mark.parametrize(
    "environ",
    [
        {"HF_ENDPOINT": "file:///etc"},
        {"HF_ENDPOINT": "https://user:word@host"},
        {"HF_ENDPOINT": "http://127.0.0.1:1"},
        {"HF_HUB_OFFLINE": "1"},
    ],
)
def test_the_environment_says_whom_to_ask(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        HubSource("somebody/tiny", environ=environ, patience=Patience(tries=1))


@pytest.mark.parametrize("repository", ["tiny", "a/b/c", "../x", "a/..", "a b/c", "a/b?x=1", ""])
def test_malformed_names_are_never_asked_for(repository: str) -> None:
    with pytest.raises(ConfigError):
        HubSource(repository, environ={})


def test_no_network_says_what_else_there_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        environ = {"HF_ENDPOINT": f"http://127.0.0.1:{closed.getsockname()[1]}"}
    with pytest.raises(ModelError, match="cannot be reached") as caught:
        HubSource("somebody/tiny", environ=environ, patience=Patience(tries=1))
    for way in ("HF_ENDPOINT", "folder or an archive", "docs/models.md"):
        assert way in caught.value.hint


def test_a_revision_is_pinned(hub: ModelHub, models: Path) -> None:
    with pytest.raises(ModelError, match="has no revision v9"):
        source_of(hub, "v9")
    info = pull(hub, models)
    request = parse_request(hub.repository, name="tiny")
    assert is_same(request, info.path)
    assert is_same(parse_request(hub.repository, name="tiny", revision=REVISION), info.path)
    assert not is_same(parse_request(hub.repository, name="tiny", revision="0" * 40), info.path)
    assert not is_same(parse_request("somebody/else", name="tiny"), info.path)


def test_a_name_that_is_taken_needs_force_and_whole_files_stay(hub: ModelHub, models: Path) -> None:
    info = pull(hub, models)
    with pytest.raises(ModelError, match="there is a model tiny already"):
        pull(hub, models)
    hub.served.clear()
    (info.path / "textual/tokenizer_config.json").write_text("{}")
    assert damaged_files(info.path) == ["textual/tokenizer_config.json"]
    again = pull(hub, models, force=True)
    assert damaged_files(again.path) == []
    assert set(hub.served) == {"textual/tokenizer_config.json", "config.json"}
    assert again.fingerprint == read_model_info(again.path).fingerprint


def test_a_failed_replacement_leaves_the_old_model(hub: ModelHub, models: Path, published: Path) -> None:
    before = pull(hub, models)
    (published / "visual/preprocess_cfg.json").write_text('{"size": [32, 64]}')
    with pytest.raises(ModelError, match="no usable model"):
        pull(hub, models, force=True)
    assert read_model_info(models / "tiny").fingerprint == before.fingerprint
    assert damaged_files(models / "tiny") == []


def test_a_kill_between_the_two_renames_is_undone(hub: ModelHub, models: Path) -> None:
    pull(hub, models)
    (models / ".pulling/tiny").mkdir(exist_ok=True)
    (models / "tiny").rename(models / ".pulling/tiny/old")
    with pytest.raises(ModelError, match="already"):
        pull(hub, models)
    assert damaged_files(models / "tiny") == []


def test_two_processes_do_not_pull_the_same(hub: ModelHub, models: Path) -> None:
    (models / ".pulling").mkdir(parents=True)
    with FileLock(models / ".pulling/.tiny.lock"), pytest.raises(ModelError, match="another process"):
        pull(hub, models)
    pull(hub, models)


def test_a_full_disk_is_seen_before_it_is_full(hub: ModelHub, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil._ntuple_diskusage(10**9, 10**9, 50_000_000)  # type: ignore[attr-defined]
    monkeypatch.setattr(install_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StorageError, match=r"0.05 GB are free"):
        pull(hub, models)
    assert not hub.served


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("visual/model.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        ("textual/model.onnx", b"<!DOCTYPE html>", "no ONNX model"),
        ("textual/model.onnx", b"", "no ONNX model"),
        ("textual/tokenizer.json", b"{", "no JSON"),
        ("config.json", b"[]", "no JSON object"),
        ("config.json", b"{}", "no usable model"),
        ("visual/preprocess_cfg.json", b'{"size": "x"}', "no usable model"),
    ],
)
def test_files_that_are_not_what_they_say(
    hub: ModelHub, models: Path, published: Path, path: str, content: bytes, message: str
) -> None:
    (published / path).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        pull(hub, models)
    assert not (models / "tiny").exists()


def test_stopping_ends_a_silent_download_at_once(hub: ModelHub, models: Path) -> None:
    arrived = threading.Event()

    def silent(request: Request) -> bool:
        arrived.set()
        request.server.patience.wait(20)
        return True

    hub.vices[WEIGHTS] = silent
    source = source_of(hub)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            install(source, "tiny", models)
        except ModelError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert arrived.wait(10)
    source.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert "stopped" in str(failed[0])


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def started(hub: ModelHub, models: Path) -> subprocess.Popen[str]:
    """A pull through the command line that is in the middle of its largest file."""
    process = subprocess.Popen(
        [sys.executable, "-m", "peyda", "models", "pull", hub.repository],
        env=cli_environment(hub, models),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    wait_until(lambda: hub.fetched(WEIGHTS) >= 200_000 or process.poll() is not None)
    assert process.poll() is None
    return process


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_pull_goes_on(hub: ModelHub, models: Path, command: Any, how: signal.Signals) -> None:
    hub.drip_s = 0.15
    process = started(hub, models)
    process.send_signal(how)
    _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "the same command goes on" in errors
    _, listed, _ = command("list", "--installed", "--json")
    assert [json.loads(line)["name"] for line in listed.splitlines()] == ["mini"], "half a model is none"
    hub.drip_s = 0
    hub.served.clear()
    status, _, errors = command("pull", hub.repository)
    assert status == 0, errors
    (start, _), *more = hub.served[WEIGHTS]
    assert start > 0
    assert not more
    assert damaged_files(models / "tiny") == []


def test_the_command_from_pull_to_removal(hub: ModelHub, models: Path, command: Any) -> None:
    hub.card = {"license": "mit"}
    status, printed, remarks = command("pull", hub.repository, "--json")
    assert (status, json.loads(printed)["name"]) == (0, "tiny")
    for said in ("licence:  mit", f"revision: {REVISION}", "0.7 MB", hub.hub.url):
        assert said in remarks
    asked = hub.hub.counts.total()
    status, printed, remarks = command("pull", hub.repository)
    assert (status, printed) == (0, "")
    assert "is here already" in remarks
    assert command("pull", hub.repository, "--check")[:2] == (
        0,
        "tiny is whole: every file has its recorded checksum.\n",
    )
    weights = models / "tiny" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    status, _, remarks = command("pull", "tiny", "--check")
    assert status == 7
    assert WEIGHTS in remarks
    assert hub.hub.counts.total() == asked, "none of these asks the hub"
    assert command("pull", hub.repository, "--force")[0] == 0
    assert command("pull", "tiny", "--check", "--json")[0] == 0
    assert command("show", "tiny")[0] == 0
    assert command("remove", "tiny")[0] == 0
    assert not (models / "tiny").exists()
    assert command("remove", "tiny")[0] == 7


def test_another_model_of_that_name_is_not_replaced_unasked(hub: ModelHub, models: Path, command: Any) -> None:
    pull(hub, models, "siglip2-base")
    status, _, remarks = command("pull", "siglip2-base")
    assert status == 7
    assert "there is another model siglip2-base" in remarks
    assert "--name OTHER" in remarks


def test_non_commercial_licences_need_a_yes(hub: ModelHub, models: Path, command: Any) -> None:
    hub.card = {"license": "cc-by-nc-4.0"}
    status, _, remarks = command("pull", hub.repository)
    assert status == 3
    assert "forbids commercial use" in remarks
    assert "--yes" in remarks
    assert not hub.served
    assert command("pull", hub.repository, "--yes")[0] == 0
    assert read_model_info(models / "tiny").licence == "cc-by-nc-4.0"


@pytest.mark.parametrize(("answer", "status"), [("n\n", 130), ("y\n", 0)])
def test_a_person_is_asked_about_them(
    hub: ModelHub, models: Path, command: Any, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    hub.card = {"license": "cc-by-nc-4.0"}
    monkeypatch.setattr("peyda.cli.models_pull.is_terminal", lambda stream: True)
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    assert command("pull", hub.repository)[0] == status
    assert (models / "tiny").exists() == (status == 0)


def test_the_weights_licence_goes_before_the_exports(hub: ModelHub) -> None:
    hub.card = {"license": "mit"}
    source = source_of(hub)
    request = parse_request("nllb-clip-base")
    assert licence_of(request, source) == "cc-by-nc-4.0 (its source says mit)"
    assert licence_of(parse_request("somebody/tiny"), source) == "mit"


@pytest.mark.parametrize(
    ("info", "licence"),
    [
        ({"cardData": {"license": "apache-2.0"}}, "apache-2.0"),
        ({"cardData": {"license": "other", "license_name": "fair-nc"}}, "fair-nc"),
        ({"cardData": {"license": ["mit", "cc0-1.0"]}}, "mit, cc0-1.0"),
        ({"cardData": None, "tags": ["onnx", "license:mit"]}, "mit"),
        ({"cardData": {"license": "a\x1b[2Jb\n"}}, "a [2Jb"),
        ({"cardData": {"license": 7}, "tags": 5}, ""),
        ({}, ""),
    ],
)
def test_licences_as_hubs_state_them(info: dict[str, Any], licence: str) -> None:
    assert stated_licence(info) == licence


def test_removing_touches_nothing_else(models: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    models.mkdir()
    for name in ("mini", "../photos", "..", ".", "", "photos/..", str(tmp_path / "photos")):
        with pytest.raises(ModelError):
            remove_model(name, models)
    (models / "linked").symlink_to(tmp_path / "photos")
    remove_model("linked", models)
    assert (tmp_path / "photos").is_dir()
    assert not (models / "linked").exists()


@pytest.mark.parametrize("name", ["mini", "mini-scorer", "../x", ".hidden", "a/b", "نام", ""])
def test_names_that_no_model_can_have(hub: ModelHub, models: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        pull(hub, models, name)
    assert not hub.served


def test_what_a_person_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "My Model (1)").mkdir()
    (tmp_path / "siglip2-base").mkdir()
    (tmp_path / "tiny.v2.tar.gz").touch()
    wanted = {
        "siglip2-base": ("hub", "immich-app/ViT-B-16-SigLIP2__webli", "siglip2-base"),
        "immich-app/ViT-B-16-SigLIP2__webli": ("hub", "immich-app/ViT-B-16-SigLIP2__webli", "siglip2-base"),
        "ViT-L-16-SigLIP2-256__webli": ("hub", "immich-app/ViT-L-16-SigLIP2-256__webli", "ViT-L-16-SigLIP2-256__webli"),
        "somebody/tiny": ("hub", "somebody/tiny", "tiny"),
        "My Model (1)": ("folder", "My Model (1)", "My-Model-1"),
        "./siglip2-base": ("folder", "./siglip2-base", "siglip2-base"),
        "tiny.v2.tar.gz": ("archive", "tiny.v2.tar.gz", "tiny.v2"),
    }
    for text, expected in wanted.items():
        request = parse_request(text)
        assert (request.kind, request.place, request.name) == expected, text
    for text in ("nope", "./nope", "nope.zip", "tiny"):
        with pytest.raises(ModelError):
            parse_request(text)
    for text in ("https://hub.example/a/b", "hf://a/b"):
        with pytest.raises(ConfigError):
            parse_request(text)
    with pytest.raises(ConfigError):
        parse_request("My Model (1)", revision="main")
    with pytest.raises(ModelError, match="My Model"):
        open_source(parse_request("My Model (1)"))
