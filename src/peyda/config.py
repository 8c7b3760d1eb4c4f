"""Settings: a TOML file, then `PEYDA_*` environment variables, then flags; the later one wins.

Owns the names, types and defaults of all settings (`SETTINGS`) and where each value came from. What a setting is used
for is left to the rooms above. Documented in `docs/configuration.md`; a test fails when one is missing there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from peyda.errors import ConfigError

CONFIG_VARIABLE = "PEYDA_CONFIG"
PREFIX = "PEYDA_"
OTHER_VARIABLES = frozenset({CONFIG_VARIABLE, "PEYDA_E5", "PEYDA_REQUIRE_BROWSER", "PEYDA_DEMO_SERVICE"})
"""Variables with our prefix that are no settings."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its name, how a value is read (`parse` raises ValueError with what is expected), what it means."""

    name: str
    parse: Callable[[object], Any]
    meaning: str
    is_path: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.name.upper()


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("some text")
    if "\0" in value:
        raise ValueError("text without null characters")
    return value


def _whole(low: int, high: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        expected = f"a whole number from {low} to {high}"
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(expected)
        try:
            number = int(value)
        except ValueError:
            raise ValueError(expected) from None
        if not low <= number <= high:
            raise ValueError(expected)
        return number

    return parse


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        setting.name: setting
        for setting in (
            Setting("home", _text, "directory of everything Peyda keeps for this user", is_path=True),
            Setting("gallery", _text, "directory of the gallery that commands use", is_path=True),
            Setting("model", _text, "name or directory of the model that new galleries are made with"),
            Setting("models", _text, "directory of the models that you add to the embedded one", is_path=True),
            Setting("data", _text, "directory of the data that models are trained and measured on", is_path=True),
            Setting("host", _text, "address that `peyda serve` listens on"),
            Setting("port", _whole(0, 65_535), "port that `peyda serve` listens on; 0 takes any free one"),
            Setting("workers", _whole(0, 1_024), "threads that decode photographs; 0 means one for each core"),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, resolved. Paths are absolute; `sources` says for each name where its value came from."""

    home: str
    gallery: str
    models: str
    data: str | None = None
    model: str = "mini"
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 0
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)


def load_settings(environ: Mapping[str, str] | None = None, **flags: object) -> Settings:
    """Read the settings file and the environment, and lay `flags` over them.

    Args:
        environ: The environment; `os.environ` when None.
        **flags: Values from the command line by setting name; None means "not given".

    Raises:
        ConfigError: An unknown name, a value of the wrong kind, or a settings file that cannot be read.
        TypeError: A flag that is no setting (a programmer's mistake).
    """
    environ = os.environ if environ is None else environ
    if unknown := flags.keys() - SETTINGS.keys():
        raise TypeError(f"no such settings: {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for origin, folder, layer in (*_file_layer(environ), _environment_layer(environ), ("flag", None, flags)):
        for name, value in layer.items():
            if value is not None:
                source = SETTINGS[name].variable if origin == "environment" else origin
                values[name] = _parsed(SETTINGS[name], value, source, folder)
                sources[name] = source
    if "home" not in values:
        values["home"] = _default_home()
    for name in ("gallery", "models"):
        values.setdefault(name, os.path.join(values["home"], name))
    return Settings(**values, sources=MappingProxyType({name: sources.get(name, "default") for name in SETTINGS}))


def config_path(environ: Mapping[str, str] | None = None) -> str:
    """Where the settings file is, whether or not it exists; "" when `PEYDA_CONFIG` is set to nothing (no file)."""
    environ = os.environ if environ is None else environ
    if CONFIG_VARIABLE in environ:
        return os.path.expanduser(environ[CONFIG_VARIABLE].strip())
    from platformdirs import user_config_dir

    return os.path.join(user_config_dir("peyda", appauthor=False), "config.toml")


_Layer = tuple[str, str | None, Mapping[str, object]]


def _file_layer(environ: Mapping[str, str]) -> list[_Layer]:
    path = config_path(environ)
    is_named = CONFIG_VARIABLE in environ
    if not path or (not is_named and not os.path.exists(path)):
        return []
    table = _read_toml(path)
    for name in table:
        if name not in SETTINGS:
            raise ConfigError(f"unknown setting {name!r} in {path}", hint=_known(name, list(SETTINGS)))
    return [(path, os.path.dirname(os.path.abspath(path)), table)]


def _read_toml(path: str) -> Mapping[str, object]:
    import tomllib

    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no settings file {path}", hint=f"Create it, or unset {CONFIG_VARIABLE} to use the usual one."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"cannot read the settings file {path}: {error.strerror}", hint="Check its permissions."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the settings file {path} is not valid TOML: {error}",
            hint='Lines look like: gallery = "/path/to/gallery" (docs/configuration.md).',
        ) from error


def _environment_layer(environ: Mapping[str, str]) -> _Layer:
    known = {setting.variable: name for name, setting in SETTINGS.items()}
    layer: dict[str, object] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES:
            continue
        if variable not in known:
            raise ConfigError(
                f"unknown environment variable {variable}", hint=_known(variable, [*known, CONFIG_VARIABLE])
            )
        if value:  # an empty variable is how shells say "not set"
            layer[known[variable]] = value
    return ("environment", None, layer)


def _parsed(setting: Setting, value: object, source: str, folder: str | None) -> Any:
    try:
        parsed = setting.parse(value)
    except ValueError as error:
        name = setting.name if source != setting.variable else source
        raise ConfigError(
            f"{name} must be {error}, not {value!r}",
            hint=f"It was read from: {source}. {setting.meaning.capitalize()}.",
        ) from None
    is_directory = setting.is_path or (setting.name == "model" and (os.sep in parsed or parsed.startswith("~")))
    return _absolute(parsed, folder) if is_directory else parsed


def _absolute(path: str, folder: str | None) -> str:
    """Relative paths of a settings file start at that file; those of flags and variables at the working directory."""
    path = os.path.expanduser(path)
    return os.path.abspath(path if folder is None else os.path.join(folder, path))


def _default_home() -> str:
    from platformdirs import user_data_dir

    return os.path.abspath(user_data_dir("peyda", appauthor=False))


def _known(name: str, names: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, names, n=1)
    guess = f"Did you mean {close[0]}? " if close else ""
    return f"{guess}Known ones: {', '.join(names)}."
