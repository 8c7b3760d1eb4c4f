"""Settings: which layer wins, where relative paths start, and that nothing unknown or wrong slips through."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from peyda.config import SETTINGS, Settings, config_path, load_settings
from peyda.errors import ConfigError

NO_FILE = {"PEYDA_CONFIG": ""}


def write(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return {"PEYDA_CONFIG": str(path)}


def test_defaults_need_no_file() -> None:
    settings = load_settings(NO_FILE)
    assert (settings.model, settings.host, settings.port, settings.workers) == ("mini", "127.0.0.1", 8000, 0)
    assert os.path.isabs(settings.home)
    assert settings.gallery == os.path.join(settings.home, "gallery")
    assert set(settings.sources.values()) == {"default"}


def test_every_setting_is_a_field_and_every_field_a_setting() -> None:
    assert set(SETTINGS) == set(Settings.__dataclass_fields__) - {"sources"}


def test_flags_beat_environment_beats_file(tmp_path: Path) -> None:
    environ = write(tmp_path, 'model = "from-file"\nport = 1\nhost = "file"\n')
    environ |= {"PEYDA_MODEL": "from-environment", "PEYDA_PORT": "2"}
    settings = load_settings(environ, model="from-flag", gallery=None)
    assert (settings.model, settings.port, settings.host) == ("from-flag", 2, "file")
    assert settings.sources["model"] == "flag"
    assert settings.sources["port"] == "PEYDA_PORT"
    assert settings.sources["host"] == environ["PEYDA_CONFIG"]
    assert settings.sources["gallery"] == "default"


def test_gallery_follows_data_unless_named() -> None:
    assert load_settings(NO_FILE, home="/d").gallery == "/d/gallery"
    assert load_settings(NO_FILE, home="/d").models == "/d/models"
    assert load_settings(NO_FILE, home="/d", gallery="/g").gallery == "/g"


def test_relative_paths_start_where_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    environ = write(tmp_path, 'gallery = "here"\nmodel = "./models/mine"\n')
    assert load_settings(environ).gallery == str(tmp_path / "here")
    assert load_settings(environ).model == str(tmp_path / "models" / "mine")
    assert load_settings(environ, gallery="here").gallery == str(tmp_path / "elsewhere" / "here")
    assert load_settings({**environ, "PEYDA_GALLERY": "there"}).gallery == str(tmp_path / "elsewhere" / "there")


def test_training_data_is_nowhere_until_named() -> None:
    assert load_settings(NO_FILE).data is None
    assert load_settings({**NO_FILE, "PEYDA_DATA": "/d"}).data == "/d"


def test_home_is_expanded_and_a_model_name_is_not_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert load_settings(NO_FILE, gallery="~/g").gallery == "/home/someone/g"
    assert load_settings(NO_FILE, model="~/m").model == "/home/someone/m"
    assert load_settings(NO_FILE, model="mini").model == "mini"


def test_paths_that_are_not_utf8_survive(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    assert os.fsencode(load_settings(NO_FILE, gallery=str(tmp_path / name)).gallery).endswith(b"caf\xe9")


def test_unknown_key_in_the_file_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="galery") as caught:
        load_settings(write(tmp_path, 'galery = "x"\n'))
    assert "Did you mean gallery?" in caught.value.hint
    for name in SETTINGS:
        assert name in caught.value.hint


def test_unknown_variable_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="PEYDA_GALERY") as caught:
        load_settings({**NO_FILE, "PEYDA_GALERY": "x"})
    assert "PEYDA_GALLERY" in caught.value.hint


def test_unknown_flag_is_a_programmers_mistake() -> None:
    with pytest.raises(TypeError, match="galery"):
        load_settings(NO_FILE, galery="x")


def test_empty_variable_means_not_set() -> None:
    assert load_settings({**NO_FILE, "PEYDA_MODEL": ""}).model == "mini"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("port = 70000", "from 0 to 65535"),
        ("port = -1", "from 0 to 65535"),
        ("port = true", "whole number"),
        ("port = 80.5", "whole number"),
        ('port = "many"', "whole number"),
        ("workers = [1]", "whole number"),
        ("gallery = 3", "some text"),
        ('model = "  "', "some text"),
        (r'gallery = "a\u0000b"', "null"),
    ],
)
def test_wrong_values_say_what_is_expected_and_where_they_are(tmp_path: Path, line: str, expected: str) -> None:
    environ = write(tmp_path, line + "\n")
    with pytest.raises(ConfigError, match=expected) as caught:
        load_settings(environ)
    assert environ["PEYDA_CONFIG"] in caught.value.hint


def test_wrong_variable_is_named() -> None:
    with pytest.raises(ConfigError, match="PEYDA_PORT must be a whole number"):
        load_settings({**NO_FILE, "PEYDA_PORT": "http"})


def test_persian_digits_are_numbers() -> None:
    assert load_settings({**NO_FILE, "PEYDA_PORT": "۸۰۸۰"}).port == 8080


@pytest.mark.parametrize("content", [b"gallery = ", b"\xff\xfe\x00", b"[gallery]\nx = 1\n"])
def test_broken_files_are_config_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        load_settings({"PEYDA_CONFIG": str(path)})


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no settings file"):
        load_settings({"PEYDA_CONFIG": str(tmp_path / "absent.toml")})
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings({"PEYDA_CONFIG": str(tmp_path)})


def test_the_usual_file_is_in_the_users_config_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config_path({}) == str(tmp_path / "peyda" / "config.toml")
    assert load_settings({}).port == 8000
    (tmp_path / "peyda").mkdir()
    (tmp_path / "peyda" / "config.toml").write_text("port = 9000\n")
    assert load_settings({}).port == 9000
