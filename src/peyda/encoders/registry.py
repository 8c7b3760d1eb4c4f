"""Which models there are, by name: the embedded one, those in the user's data directory, or any directory."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from peyda.config import load_settings
from peyda.encoders.directory import ModelInfo, read_model_info
from peyda.encoders.protocol import Encoder
from peyda.errors import ModelError

DEFAULT_MODEL = "mini"


def embedded_models_dir() -> Path:
    """Where the package keeps the models it ships."""
    return Path(str(files("peyda"))) / "models"


def user_models_dir() -> Path:
    """Where pulled and exported models go: the setting `models`."""
    return Path(load_settings().models)


def resolve_model(name_or_dir: str | os.PathLike[str] = DEFAULT_MODEL) -> Path:
    """The directory of a model, by name or by path. The user's own models come before the embedded ones.

    Raises:
        ModelError: There is no such model; names those that there are.
    """
    text = os.fspath(name_or_dir)
    if os.sep in text or text in (".", "..") or isinstance(name_or_dir, Path):
        if not Path(text).is_dir():
            raise ModelError(f"no model directory {text}", hint="peyda models list shows the models that are installed")
        return Path(text)
    for parent in (user_models_dir(), embedded_models_dir()):
        if (parent / text / "config.json").is_file():
            return parent / text
    if (Path(text) / "config.json").is_file():
        return Path(text)
    known = ", ".join(sorted(path.name for path in _model_dirs())) or "none"
    raise ModelError(f"no model named {text!r}", hint=f"installed models: {known}; peyda models list shows more")


def _model_dirs() -> list[Path]:
    found: dict[str, Path] = {}
    for parent in (user_models_dir(), embedded_models_dir()):
        if parent.is_dir():
            for path in sorted(parent.iterdir()):
                if (path / "config.json").is_file():
                    found.setdefault(path.name, path)
    return list(found.values())


def list_models() -> list[ModelInfo]:
    """Every installed model that can be read, the default first; broken directories are left out."""
    infos = []
    for path in _model_dirs():
        try:
            infos.append(read_model_info(path))
        except ModelError:
            continue
    return sorted(infos, key=lambda info: (info.name != DEFAULT_MODEL, info.name))


def model_info(name_or_dir: str | os.PathLike[str] = DEFAULT_MODEL) -> ModelInfo:
    """What there is to know about one model, without loading it.

    Raises:
        ModelError: There is no such model, or it is malformed.
    """
    return read_model_info(resolve_model(name_or_dir))


def load_encoder(name_or_dir: str | os.PathLike[str] = DEFAULT_MODEL, *, threads: int | None = None) -> Encoder:
    """The dual encoder of a model, by name ("mini") or by directory. Weights load on first use.

    Raises:
        ModelError: There is no such model, or it is malformed.
    """
    from peyda.encoders.onnx_encoder import OnnxEncoder

    return OnnxEncoder(resolve_model(name_or_dir), threads=threads)
