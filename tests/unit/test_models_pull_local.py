"""Pulling models from folders and archives, hostile ones too; and what can be pulled, as it is listed."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peyda.cli.main import main
from peyda.encoders import load_encoder, read_model_info
from peyda.encoders.hub import RECOMMENDED, find_recommended, local
from peyda.encoders.hub.install import install
from peyda.encoders.hub.installed import damaged_files, installed_source
from peyda.encoders.hub.licences import is_non_commercial
from peyda.encoders.hub.local import ArchiveSource, FolderSource
from peyda.encoders.hub.pull import open_source, parse_request
from peyda.errors import ModelError
from peyda.evaluation import published


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def tiny(tiny_model_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "tiny"))


def zipped(folder: Path, archive: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(folder.rglob("*")):
            out.write(path, prefix + path.relative_to(folder).as_posix())
    return archive


def tarred(folder: Path, archive: Path, prefix: str = ".") -> Path:
    kinds = {"gz": "w:gz", "bz2": "w:bz2", "xz": "w:xz", "tar": "w:"}
    with tarfile.open(archive, kinds[archive.suffix[1:].replace("tgz", "gz")]) as out:  # type: ignore[call-overload]
        out.add(folder, prefix)
    return archive


ARCHIVES: dict[str, Callable[[Path, Path], Path]] = {
    "tiny.zip": zipped,
    "tiny.tar": tarred,
    "tiny.tar.gz": tarred,
    "tiny.tgz": tarred,
    "tiny.tar.bz2": tarred,
    "tiny.tar.xz": tarred,
}


@pytest.mark.parametrize("prefix", [".", "snapshots/tiny"])
@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_of_every_kind(tiny: Path, models: Path, tmp_path: Path, name: str, prefix: str) -> None:
    archive = tmp_path / name
    if name.endswith(".zip"):
        zipped(tiny, archive, "" if prefix == "." else prefix + "/")
    else:
        tarred(tiny, archive, prefix)
    request = parse_request(str(archive))
    assert request.name == "tiny"
    info = install(open_source(request), request.name, models)
    assert info.fingerprint == read_model_info(tiny).fingerprint
    assert installed_source(info.path) == {"archive": name}
    assert damaged_files(info.path) == []
    assert load_encoder(info.path).encode_texts(["قرمز"]).shape == (1, info.embed_dim)


def test_a_folder_becomes_a_model_with_a_manifest(tiny: Path, models: Path) -> None:
    (tiny / "README.md").write_text("# Tiny")
    (tiny / "visual/fp16").mkdir()
    info = install(FolderSource(tiny), "mine", models, licence="mit")
    assert (info.name, info.licence) == ("mine", "mit")
    assert info.card_path.read_text() == "# Tiny"
    assert installed_source(info.path) == {"folder": "tiny"}
    assert "peyda" not in json.loads((tiny / "config.json").read_text()), "the folder itself is left as it was"


def test_our_own_exports_keep_what_they_say_of_themselves(tiny: Path, models: Path) -> None:
    first = install(FolderSource(tiny), "first", models, licence="mit", description="A tiny one")
    config = json.loads((first.path / "config.json").read_text())
    config["peyda"]["normalizer_version"] = "1"
    (first.path / "config.json").write_text(json.dumps(config))
    second = install(FolderSource(first.path), "second", models, licence="", description="")
    assert (second.name, second.licence, second.description) == ("second", "mit", "A tiny one")
    assert second.normalizer_version == "1"
    weights = first.path / "textual/model.onnx"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelError, match="not what was recorded"):
        install(FolderSource(first.path), "third", models)
    assert not (models / "third").exists()


def test_licences_of_folders_and_archives_are_read_off_their_cards(tiny: Path, models: Path, tmp_path: Path) -> None:
    (tiny / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# Tiny\n")
    for source in (FolderSource(tiny), ArchiveSource(tarred(tiny, tmp_path / "tiny.tar.gz", "tiny"))):
        assert source.licence == "cc-by-nc-4.0"
    own = install(FolderSource(tiny), "own", models, licence="mit")
    (own.path / "textual/tokenizer_config.json").write_text('{"pad_token": "[UNK]"}')
    archive = ArchiveSource(zipped(own.path, tmp_path / "own.zip"))
    assert archive.licence == "mit"
    with pytest.raises(ModelError, match="not what was recorded"):
        install(archive, "again", models)


def test_a_snapshot_in_a_hubs_cache_consists_of_links(tiny: Path, models: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "snapshots/abc", tmp_path / "blobs"
    blobs.mkdir()
    for number, path in enumerate(sorted(path for path in tiny.rglob("*") if path.is_file())):
        shutil.copy(path, blobs / str(number))
        link = snapshot / path.relative_to(tiny)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blobs / str(number))
    info = install(FolderSource(snapshot), "tiny", models)
    assert info.fingerprint == read_model_info(tiny).fingerprint
    assert not any(path.is_symlink() for path in info.path.rglob("*"))


def test_what_a_stopped_copy_left_is_not_trusted(tiny: Path, models: Path) -> None:
    source = FolderSource(tiny)
    source.stop()
    with pytest.raises(ModelError, match="stopped"):
        install(source, "tiny", models)
    stale = models / ".pulling/tiny/files"
    for path in stale.iterdir():
        path.rename(path.with_name(path.name.removesuffix(".part")))
    assert damaged_files(install(FolderSource(tiny), "tiny", models).path) == []
    assert read_model_info(models / "tiny").fingerprint == read_model_info(tiny).fingerprint


def tar_with(tiny: Path, archive: Path, member: tarfile.TarInfo, data: bytes = b"") -> Path:
    with tarfile.open(archive, "w:gz") as out:
        out.add(tiny, ".")
        out.addfile(member, io.BytesIO(data))
    return archive


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


@pytest.mark.parametrize(
    ("hostile", "message"),
    [
        (member("../evil"), "leads out of it"),
        (member("visual/../../evil"), "leads out of it"),
        (member("/etc/evil"), "leads out of it"),
        (member("visual\\..\\..\\evil"), "leads out of it"),
        (member("C:/evil"), "leads out of it"),
        (member("textual/link", tarfile.SYMTYPE, "/etc/passwd"), "a link or a device"),
        (member("textual/link", tarfile.LNKTYPE, "config.json"), "a link or a device"),
        (member("textual/pipe", tarfile.FIFOTYPE), "a link or a device"),
        (member("textual/disk", tarfile.BLKTYPE), "a link or a device"),
        (member("visual/model.onnx"), "twice"),
    ],
)
def test_hostile_tars(tiny: Path, models: Path, tmp_path: Path, hostile: tarfile.TarInfo, message: str) -> None:
    archive = tar_with(tiny, tmp_path / "bad.tar.gz", hostile)
    with pytest.raises(ModelError, match=message):
        ArchiveSource(archive)
    assert not models.exists()
    assert not list(tmp_path.rglob("evil"))


def test_hostile_zips(tiny: Path, tmp_path: Path) -> None:
    linked = zipfile.ZipInfo("textual/link")
    linked.external_attr = (stat.S_IFLNK | 0o777) << 16
    for name, message in (("../evil", "leads out"), ("/evil", "leads out"), (linked, "a link"), ("a:b", "leads out")):
        archive = zipped(tiny, tmp_path / "bad.zip")
        with zipfile.ZipFile(archive, "a") as out:
            out.writestr(name, b"/etc/passwd")
        with pytest.raises(ModelError, match=message):
            ArchiveSource(archive)


def test_bombs_are_not_unpacked(tiny: Path, tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(zipped(tiny, tmp_path / "bomb.zip"), "a", zipfile.ZIP_DEFLATED) as out,
        out.open("textual/zeros", "w", force_zip64=True) as zeros,
    ):
        for _ in range(70):
            zeros.write(bytes(1_000_000))
    with pytest.raises(ModelError, match="more than a model can be"):
        ArchiveSource(tmp_path / "bomb.zip")
    # A header may announce terabytes: it is believed before one byte of them is looked for.
    huge = member("textual/zeros", size=10**13).tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "bomb.tar").write_bytes(huge)
    with pytest.raises(ModelError, match="more than a model can be"):
        ArchiveSource(tmp_path / "bomb.tar")


def test_a_header_that_wants_all_memory(tmp_path: Path) -> None:
    header = member("pax", tarfile.XHDTYPE, size=10**11).tobuf(tarfile.GNU_FORMAT)
    with gzip.open(tmp_path / "bad.tar.gz", "wb") as out:
        out.write(header)
    with pytest.raises(ModelError, match="cannot be read as an archive"):
        ArchiveSource(tmp_path / "bad.tar.gz")


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_MOST_MEMBERS", 50)
    with tarfile.open(tmp_path / "many.tar.gz", "w:gz", compresslevel=1) as out:
        for number in range(51):
            out.addfile(member(f"d{number}", tarfile.DIRTYPE))
    with pytest.raises(ModelError, match="more than a model can be"):
        ArchiveSource(tmp_path / "many.tar.gz")


@pytest.mark.parametrize("name", ["broken.zip", "broken.tar.gz", "broken.tar.xz", "broken.tar.bz2", "broken.tar"])
@pytest.mark.parametrize("how", ["cut", "garbage", "empty"])
def test_damaged_archives(tiny: Path, models: Path, tmp_path: Path, name: str, how: str) -> None:
    whole = ARCHIVES[name.replace("broken", "tiny")](tiny, tmp_path / name).read_bytes()
    damaged = {"cut": whole[: len(whole) // 2], "garbage": b"\x00\xffnothing of the kind" * 99, "empty": b""}
    (tmp_path / name).write_bytes(damaged[how])
    with pytest.raises(ModelError):
        install(ArchiveSource(tmp_path / name), "tiny", models)
    assert not (models / "tiny").exists()


def test_a_flipped_bit_in_a_zip_is_found(tiny: Path, models: Path, tmp_path: Path) -> None:
    archive = tmp_path / "tiny.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for path in sorted(path for path in tiny.rglob("*") if path.is_file()):
            out.write(path, path.relative_to(tiny).as_posix())
    data = bytearray(archive.read_bytes())
    data[data.index(b'"model"')] ^= 1
    archive.write_bytes(data)
    with pytest.raises(ModelError, match="CRC"):
        install(ArchiveSource(archive), "tiny", models)


def test_two_models_in_one_archive(tiny: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "two.tar.gz", "w:gz") as out:
        out.add(tiny, "one")
        out.add(tiny, "two")
    with pytest.raises(ModelError, match="holds 2 models"):
        ArchiveSource(tmp_path / "two.tar.gz")


def test_folders_that_are_no_models(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="missing"):
        FolderSource(tmp_path / "empty")
    (tiny / "config.json").write_text("{")
    with pytest.raises(ModelError, match="no JSON"):
        FolderSource(tiny)


def in_process(arguments: list[str], models: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("PEYDA_MODELS", str(models))
    monkeypatch.setenv("PEYDA_CONFIG", "")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return main(["models", *arguments])


def test_the_list_shows_what_is_here_and_what_can_be_pulled(
    tiny: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("the list asks no network")

    monkeypatch.setattr(socket, "socket", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    assert in_process(["pull", str(tiny)], models, monkeypatch) == 0
    capsys.readouterr()

    def records(*flags: str) -> list[dict[str, Any]]:
        assert in_process(["list", "--json", *flags], models, monkeypatch) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    everything = records()
    assert [record["name"] for record in everything if record["is_installed"]] == ["mini", "tiny"]
    assert [record["name"] for record in everything if not record["is_installed"]] == [one.name for one in RECOMMENDED]
    assert records("--installed") == everything[:2]
    assert records("--available") == everything[2:]
    assert in_process(["list"], models, monkeypatch) == 0
    table = capsys.readouterr().out
    assert table.index("mini") < table.index("tiny") < table.index("TO PULL") < table.index("siglip2-so400m")
    assert all(len(line) <= 120 for line in table[table.index("TO PULL") :].splitlines())
    for said in ("cc-by-nc-4.0", "XM3600", "docs/models.md", "peyda models pull"):
        assert said in table


def test_a_pulled_model_is_not_offered_again(
    tiny: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_process(["pull", str(tiny), "--name", "siglip2-base"], models, monkeypatch) == 0
    capsys.readouterr()
    assert in_process(["list", "--available", "--json"], models, monkeypatch) == 0
    assert "siglip2-base" not in [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]


def test_listing_loads_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys\nfrom peyda.cli.main import main\nmain(['models', 'list'])\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PEYDA_CONFIG": "", "PEYDA_HOME": str(tmp_path)},
    )
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert not loaded & {"torch", "onnx", "onnxruntime", "transformers", "tokenizers", "PIL", "rich", "filelock"}
    assert "urllib.request" not in done.stderr.split()


def test_recommended_models_say_what_was_published() -> None:
    by_system = {
        "nllb-clip-large": "nllb-clip-large-siglip (mrl)",
        "xlmr-large-vit-h14": "XLM-RoBERTa-large ViT-H/14",
        "nllb-clip-base": "nllb-clip-base-siglip (mrl)",
        "siglip-i18n": "SigLIP-i18n B/16-256",
        "xlmr-base-vit-b32": "XLM-RoBERTa-base ViT-B/32",
    }
    retrieval = {one.system: one for one in published.RETRIEVAL}
    for name, system in by_system.items():
        entry = find_recommended(name)
        assert entry is not None
        assert entry.persian_accuracy == retrieval[system].accuracy
        assert entry.persian_mean == pytest.approx(sum(share for _, share in entry.persian_accuracy) / 3, abs=6e-4)
    objects = {one.system: one.top1 for one in published.ZERO_SHOT}
    for name, system in (("siglip-i18n", "SigLIP-i18n B/16"), ("xlmr-large-vit-h14", "XLM-RoBERTa-large ViT-H/14")):
        entry = find_recommended(name)
        assert entry is not None
        assert entry.object_words == objects[system]


def test_recommended_models_are_in_order_and_free_ones_first() -> None:
    order = [(is_non_commercial(one.licence), -one.persian_mean) for one in RECOMMENDED]
    assert order == sorted(order)
    assert len({one.name for one in RECOMMENDED}) == len({one.repository for one in RECOMMENDED}) == len(RECOMMENDED)
    assert {one.speed for one in RECOMMENDED} <= {"fast", "medium", "slow", "very slow"}
    assert all(one.source and one.licence for one in RECOMMENDED)
