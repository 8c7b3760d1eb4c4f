"""A model as a directory on disk: what is in it, read and checked without loading any weights.

Layout (the one of Immich's ONNX exports of open_clip models, https://huggingface.co/immich-app, so those load too):
`config.json`, `visual/model.onnx`, `visual/preprocess_cfg.json`, `textual/model.onnx`, `textual/tokenizer.json`,
`textual/tokenizer_config.json`, `model_card.md`. Our own exports add a `peyda` object to `config.json`: name,
description, licence, normaliser version, and the SHA-256 of every file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peyda.errors import ModelError

VISUAL_FILES = ("visual/model.onnx", "visual/preprocess_cfg.json")
TEXTUAL_FILES = ("textual/model.onnx", "textual/tokenizer.json", "textual/tokenizer_config.json")
_REQUIRED = ("config.json", *VISUAL_FILES, "textual/model.onnx", "textual/tokenizer.json")
_PERSIAN = "pes_Arab"  # of NLLB's language tokens


@dataclass(frozen=True, slots=True)
class PreprocessConfig:
    """How a photograph becomes pixels; `preprocess_cfg.json` in open_clip's terms."""

    size_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bilinear"
    resize_mode: str = "squash"


@dataclass(frozen=True, slots=True)
class TextOptions:
    """What a text tower wants done to texts: the first two in the words of open_clip's `tokenizer_kwargs`."""

    cleaning: str = ""
    language: str = ""
    spelling: bool = False
    """Whether mistyped Persian is put right first (`peyda.persian.spelling`)."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What there is to know about a model without loading it."""

    name: str
    path: Path
    embed_dim: int
    image_size_px: int
    context_length: int
    fingerprint: str
    visual_fingerprint: str
    size_bytes: int
    description: str = ""
    licence: str = ""
    normalizer_version: str = ""

    @property
    def card_path(self) -> Path:
        """Where its model card is (it may not exist for foreign models)."""
        return self.path / "model_card.md"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping."""
        return {
            "name": self.name,
            "path": str(self.path),
            "embed_dim": self.embed_dim,
            "image_size_px": self.image_size_px,
            "context_length": self.context_length,
            "fingerprint": self.fingerprint,
            "visual_fingerprint": self.visual_fingerprint,
            "size_bytes": self.size_bytes,
            "description": self.description,
            "licence": self.licence,
            "normalizer_version": self.normalizer_version,
        }


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a model.

    Raises:
        ModelError: It is missing, unreadable, not JSON, or not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path.name} is missing in {path.parent}", hint="pull or export the model again") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}", hint="pull or export the model again") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} does not hold a JSON object", hint="pull or export the model again")
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Readable JSON, as `read_json` reads it."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read from disk."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_hashes(directory: Path) -> dict[str, str]:
    """SHA-256 of every file of the two towers, read from disk."""
    names = (*VISUAL_FILES, *TEXTUAL_FILES, *_external_files(directory))
    return {name: sha256_of(directory / name) for name in names if (directory / name).is_file()}


def file_records(directory: Path) -> dict[str, dict[str, Any]]:
    """What `config.json` records of every file of the two towers: hash and size."""
    return {
        name: {"sha256": value, "size_bytes": (directory / name).stat().st_size}
        for name, value in file_hashes(directory).items()
    }


def _external_files(directory: Path) -> list[str]:
    """Weights beside a graph that is too big for one file: `model.onnx.data`, or hundreds of files named after tensors.

    Found by name, since reading the graph would need the package `onnx`.
    """
    from peyda.encoders.hub.layout import place_of

    folders = (directory / part for part in ("visual", "textual"))
    found = (path for folder in folders if folder.is_dir() for path in folder.iterdir())
    names = (path.relative_to(directory).as_posix() for path in found if path.is_file())
    return sorted(name for name in names if place_of(name) and name not in (*VISUAL_FILES, *TEXTUAL_FILES))


def _digest(hashes: Mapping[str, str], *parts: str) -> str:
    """Over the files of these parts of a model, in one order for all time: the fixed names, then those of weights."""
    known = (*VISUAL_FILES, *TEXTUAL_FILES)
    names = [*known, *sorted(set(hashes) - set(known))]
    lines = "".join(f"{name} {hashes[name]}\n" for name in names if name in hashes and name.startswith(parts))
    return hashlib.sha256(lines.encode()).hexdigest()[:32]


def read_model_info(directory: Path) -> ModelInfo:
    """Read and check a model directory; loads no weights.

    The hashes that an export of ours recorded are trusted here, as long as the files have the recorded sizes (reading
    40 MB would double the cold start); `verify_model` reads them again.

    Raises:
        ModelError: Something is missing or malformed.
    """
    for name in _REQUIRED:
        if not (directory / name).is_file():
            raise ModelError(
                f"{directory} is not a model: {name} is missing",
                hint="peyda models list shows the models that are installed",
            )
    config = read_json(directory / "config.json")
    own = config.get("peyda", {})
    hashes = _recorded_hashes(directory, own) or file_hashes(directory)
    text = config.get("text_cfg", {})
    try:
        preprocess = read_preprocess_config(directory)
        return ModelInfo(
            name=str(own.get("name", directory.name)),
            path=directory,
            embed_dim=int(config["embed_dim"]),
            image_size_px=preprocess.size_px,
            context_length=int(text.get("context_length", 77)),
            fingerprint=_digest(hashes, "visual/", "textual/"),
            visual_fingerprint=_digest(hashes, "visual/"),
            size_bytes=sum((directory / name).stat().st_size for name in hashes),
            description=str(own.get("description", "")),
            licence=str(own.get("licence", "")),
            normalizer_version=str(own.get("normalizer_version", "")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"config.json of {directory} is malformed: {error!r}", hint="pull or export the model again"
        ) from error


def _recorded_hashes(directory: Path, own: Mapping[str, Any]) -> dict[str, str] | None:
    files = own.get("files")
    if not isinstance(files, dict) or not files:
        return None
    hashes: dict[str, str] = {}
    for name, entry in files.items():
        path = directory / name
        if not path.is_file() or path.stat().st_size != entry["size_bytes"]:
            raise ModelError(
                f"{name} of the model in {directory} is missing or incomplete",
                hint="install the package again, or pull or export the model again",
            )
        hashes[name] = str(entry["sha256"])
    return hashes


def verify_model(directory: Path) -> list[str]:
    """Names of files whose content is not what the export recorded; empty when all is well or nothing is recorded."""
    files = read_json(directory / "config.json").get("peyda", {}).get("files", {})
    hashes = file_hashes(directory)
    return [name for name, entry in files.items() if hashes.get(name) != entry["sha256"]]


def read_text_options(directory: Path) -> TextOptions:
    """How texts are prepared for a model, from `text_cfg` in its `config.json`, and `spelling` of our own exports.

    Exports of NLLB models that name no language get the token of Persian: their tokenizer's own default is English.

    Raises:
        ModelError: `config.json` cannot be read, or its `text_cfg` is malformed.
    """
    config = read_json(directory / "config.json")
    text = config.get("text_cfg") or {}
    options = text.get("tokenizer_kwargs") or {} if isinstance(text, dict) else None
    if not isinstance(options, dict):
        raise ModelError(f"text_cfg in config.json of {directory} is malformed", hint="pull or export the model again")
    is_nllb = "nllb" in str(text.get("hf_tokenizer_name", "")).lower()
    return TextOptions(
        cleaning=str(options.get("clean", "")),
        language=str(options.get("language", _PERSIAN if is_nllb else "")),
        spelling=bool((config.get("peyda") or {}).get("spelling", False)),
    )


def read_preprocess_config(directory: Path) -> PreprocessConfig:
    """`visual/preprocess_cfg.json` of a model.

    Raises:
        ModelError: It is missing or asks for something that is not implemented.
    """
    raw = read_json(directory / "visual/preprocess_cfg.json")
    size = raw.get("size", 224)
    size_px = int(size[0] if isinstance(size, list) else size)
    if isinstance(size, list) and len({int(s) for s in size}) != 1:
        raise ModelError(f"{directory}: only square inputs are supported, not {size}")
    resize_mode = str(raw.get("resize_mode", "shortest"))
    interpolation = str(raw.get("interpolation", "bicubic"))
    if resize_mode not in ("squash", "shortest", "longest") or interpolation not in ("bilinear", "bicubic"):
        raise ModelError(f"{directory}: unknown preprocessing {resize_mode!r}/{interpolation!r}")
    mean, std = raw.get("mean", (0.5, 0.5, 0.5)), raw.get("std", (0.5, 0.5, 0.5))
    return PreprocessConfig(
        size_px=size_px,
        mean=(float(mean[0]), float(mean[1]), float(mean[2])),
        std=(float(std[0]), float(std[1]), float(std[2])),
        interpolation=interpolation,
        resize_mode=resize_mode,
    )
