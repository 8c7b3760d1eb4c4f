"""`peyda doctor` and `peyda models`: well machines are well, and each illness is named with its remedy."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from peyda.cli import checks
from peyda.cli.main import main
from peyda.config import Settings, load_settings
from peyda.gallery.directory import GalleryDirectory


@pytest.fixture
def settings(tiny_model_dir: Path, tmp_path: Path) -> Settings:
    return load_settings({"PEYDA_CONFIG": ""}, home=str(tmp_path / "home"), model=str(tiny_model_dir), port=0)


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path, tmp_path: Path) -> None:
    for name, value in (
        ("CONFIG", ""),
        ("HOME", str(tmp_path / "home")),
        ("MODEL", str(tiny_model_dir)),
        ("PORT", "0"),
    ):
        monkeypatch.setenv(f"PEYDA_{name}", value)


def with_settings(settings: Settings, **other: Any) -> Settings:
    values = {name: getattr(settings, name) for name in Settings.__dataclass_fields__}
    return Settings(**values | other)


def result_of(name: str, settings: Settings) -> checks.Result:
    return next(result for result in checks.run_checks(settings) if result.name == name)


def test_a_well_machine_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("All is well.\n")
    assert "FAIL" not in printed
    assert "numpy" in printed


def test_every_promised_format_decodes_here(settings: Settings) -> None:
    result = checks.check_formats(settings)
    assert result.status == "ok"
    for name in checks.FORMATS:
        assert name in result.detail


def test_json_has_the_same_checks(capsys: pytest.CaptureFixture[str], settings: Settings) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["is_well"] is True
    assert [check["name"] for check in report["checks"]] == [result.name for result in checks.run_checks(settings)]
    assert set(report["checks"][0]) == {"name", "status", "detail", "fix"}


def test_a_missing_model_fails_with_a_remedy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["doctor", "--model", str(tmp_path / "none")]) == 1
    printed = capsys.readouterr().out
    assert "FAIL  model" in printed
    assert "→ " in printed
    assert "1 of " in printed


def test_a_damaged_model_is_found_by_its_hashes(tiny_model_dir: Path, tmp_path: Path, settings: Settings) -> None:
    from peyda.encoders.directory import file_hashes

    model = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    config["peyda"] = {
        "files": {
            name: {"sha256": digest, "size_bytes": (model / name).stat().st_size}
            for name, digest in file_hashes(model).items()
        }
    }
    (model / "config.json").write_text(json.dumps(config))
    assert checks.check_model(with_settings(settings, model=str(model))).status == "ok"
    weights = bytearray((model / "visual/model.onnx").read_bytes())
    weights[-20] ^= 1
    (model / "visual/model.onnx").write_bytes(weights)
    result = checks.check_model(with_settings(settings, model=str(model)))
    assert result.status == "fail"
    assert "visual/model.onnx" in result.detail
    assert result.fix


def test_no_gallery_yet_is_a_note_that_names_the_command(settings: Settings) -> None:
    result = result_of("gallery", settings)
    assert result.status == "note"
    assert "peyda index" in result.fix


def test_a_gallery_is_described(settings: Settings, tiny_encoder: Any, tiny_model_dir: Path) -> None:
    GalleryDirectory.create(settings.gallery, tiny_encoder, model=str(tiny_model_dir))
    result = result_of("gallery", settings)
    assert result.status == "ok"
    assert "0 photographs" in result.detail


def test_a_gallery_of_a_changed_model_fails(
    settings: Settings, tiny_model_dir: Path, other_model_dir: Path, tmp_path: Path, tiny_encoder: Any
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model_dir, model)
    GalleryDirectory.create(settings.gallery, tiny_encoder, model=str(model))
    shutil.rmtree(model)
    shutil.copytree(other_model_dir, model)
    result = result_of("gallery", settings)
    assert result.status == "fail"
    assert result.fix


def test_a_broken_manifest_fails(settings: Settings) -> None:
    os.makedirs(settings.gallery)
    Path(settings.gallery, "manifest.json").write_text("{")
    assert result_of("gallery", settings).status == "fail"


def test_a_home_that_is_a_file_fails(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = result_of("home", with_settings(settings, home=str(tmp_path / "file" / "home")))
    assert result.status == "fail"
    assert "PEYDA_HOME" in result.fix


@pytest.mark.parametrize(("free", "status"), [(10**7, "fail"), (5 * 10**8, "note"), (10**11, "ok")])
def test_disk_space(settings: Settings, monkeypatch: pytest.MonkeyPatch, free: int, status: str) -> None:
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, free))
    result = result_of("disk", settings)
    assert result.status == status
    assert bool(result.fix) == (status != "ok")


def test_a_taken_port_is_a_note(settings: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = result_of("port", with_settings(settings, port=other.getsockname()[1]))
    assert result.status == "note"
    assert "--port" in result.fix


def test_a_missing_library_is_named_with_its_command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LIBRARIES", ("numpy", "no-such-library"))
    result = result_of("libraries", settings)
    assert (result.status, result.fix) == ("fail", "Run `pip install no-such-library`.")


def test_the_libraries_are_the_packages_own_requirements() -> None:
    import re
    from importlib.metadata import requires

    lines = [line for line in requires("peyda") or () if "extra ==" not in line]
    required = {re.split(r"[<>=!~ ;\[]", line)[0] for line in lines}
    assert set(checks.LIBRARIES) == required


def test_a_check_that_breaks_is_a_failed_check(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Settings) -> checks.Result:
        raise RuntimeError("surprise")

    monkeypatch.setattr(checks, "check_memory", broken)
    result = result_of("memory", settings)
    assert (result.status, result.detail) == ("fail", "RuntimeError: surprise")


def test_models_list_and_show(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_model_dir: Path
) -> None:
    shutil.copytree(tiny_model_dir, tmp_path / "models" / "mine")
    (tmp_path / "models" / "mine" / "model_card.md").write_text("# کارت\nمتن\n", encoding="utf-8")
    monkeypatch.setenv("PEYDA_MODELS", str(tmp_path / "models"))
    assert main(["models", "list", "--json"]) == 0
    names = {json.loads(line)["name"]: json.loads(line) for line in capsys.readouterr().out.splitlines()}
    assert names["mine"]["embed_dim"] == 16
    assert names["mine"]["is_default"] is False
    assert main(["models", "list"]) == 0
    assert "mine" in capsys.readouterr().out
    assert main(["models", "show", "mine"]) == 0
    shown = capsys.readouterr().out
    assert "16 dimensions" in shown
    assert "# کارت\nمتن\n" in shown
    assert main(["models", "show", "mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["card_path"].endswith("model_card.md")
