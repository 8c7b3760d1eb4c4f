"""Which files of a published model are brought here, and what is refused on sight.

The layout is the one of `peyda.encoders.directory`. Exports of large models keep their weights beside `model.onnx` in
hundreds of files named after tensors, so whatever lies directly in `visual/` and `textual/` is taken, but for formats
of other runtimes and what only other tokenizers read; folders in there (`fp16`, `rknpu`, …) are variants of the same
towers and stay away.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peyda.errors import ModelError

CONFIG = "config.json"
CARD = "model_card.md"
REQUIRED = (CONFIG, "visual/model.onnx", "visual/preprocess_cfg.json", "textual/model.onnx", "textual/tokenizer.json")
"""Without these it is no model. `textual/tokenizer_config.json` may be missing: padding is piece 0 then."""

MOST_FILES = 5_000
LARGEST_MODEL_BYTES = 40_000_000_000
_LARGEST_TEXT_BYTES = 100_000_000
"""Of a JSON file or a card: tokenizers of a quarter of a million pieces have 35 MB."""

_TOWERS = {
    "visual": ("preprocess_cfg.json",),
    "textual": ("tokenizer.json", "tokenizer_config.json"),
}
_OTHER_RUNTIMES = (".armnn", ".rknn", ".tflite", ".pt", ".pth", ".safetensors", ".msgpack", ".h5", ".mlmodel")
_NO_WEIGHTS = (".json", ".txt", ".md", ".model", ".spm", ".vocab", ".py", ".yaml", ".part", ".tmp")
_PAPERS = {
    "readme.md": CARD,
    CARD: CARD,
    "license": "LICENSE",
    "license.md": "LICENSE.md",
    "license.txt": "LICENSE.txt",
    "notice": "NOTICE",
    "notice.md": "NOTICE.md",
    "notice.txt": "NOTICE.txt",
}
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to bring here.

    Attributes:
        path: Where it goes in the model directory, with "/".
        origin: What its source calls it.
        size_bytes: How long it is.
        sha256: Of its content; "" where its source does not say.
        git_sha1: Its id as a git blob, which hubs give for small files; "" where its source does not say.
    """

    path: str
    origin: str
    size_bytes: int
    sha256: str = ""
    git_sha1: str = ""


def place_of(path: str) -> str | None:
    """Where a file of a published model goes in a model directory; None for what is not brought here.

    >>> place_of("visual/model.onnx"), place_of("README.md"), place_of("textual/onnx__MatMul_12")
    ('visual/model.onnx', 'model_card.md', 'textual/onnx__MatMul_12')
    >>> place_of("visual/fp16/model.onnx"), place_of("visual/model.armnn"), place_of("textual/vocab.txt")
    (None, None, None)
    """
    folder, _, name = path.rpartition("/")
    if path == CONFIG:
        return path
    if not folder:
        return _PAPERS.get(name.lower())
    if folder not in _TOWERS:
        return None
    return path if name in _TOWERS[folder] or _may_be_weights(name) else None


def _may_be_weights(name: str) -> bool:
    is_harmless = name.isprintable() and not name.startswith(".") and "\\" not in name and len(name.encode()) <= 200
    return is_harmless and not name.lower().endswith(_OTHER_RUNTIMES + _NO_WEIGHTS)


def chosen(files: Iterable[SourceFile], source: str) -> tuple[SourceFile, ...]:
    """The files of a model among all that a source has, `path` set; a card of that name goes before a README.

    Raises:
        ModelError: They make no model, or one beyond all measure.
    """
    found: dict[str, SourceFile] = {}
    for file in files:
        place = place_of(file.path)
        if place is not None and (place not in found or file.path == place):
            found[place] = SourceFile(place, file.origin, file.size_bytes, file.sha256, file.git_sha1)
    if missing := [name for name in REQUIRED if name not in found]:
        raise ModelError(
            f"{source} holds no ONNX model in the layout that Peyda loads: {', '.join(missing)} missing",
            hint="names that can be pulled: peyda models list; other formats are converted with peyda models export",
        )
    if len(found) > MOST_FILES or sum(file.size_bytes for file in found.values()) > LARGEST_MODEL_BYTES:
        raise ModelError(f"{source} is larger than any model: {len(found):,} files", hint="check where it comes from")
    for file in found.values():
        if file.path.endswith((".json", ".md", ".txt")) and file.size_bytes > _LARGEST_TEXT_BYTES:
            raise ModelError(f"{file.origin} of {source} is larger than such a file can be", hint="check the source")
    return tuple(found[name] for name in sorted(found))


def check_content(directory: Path, names: Sequence[str], source: str) -> None:
    """Refuse what checksums cannot see: a pointer instead of weights, a page of HTML, JSON that is none.

    Raises:
        ModelError: A file is not what its name says.
    """
    for name in names:
        path = directory / name
        if name.endswith(".json"):
            read_object(path, source)
            continue
        with path.open("rb") as file:
            head = file.read(len(_LFS_POINTER))
        if head == _LFS_POINTER:
            raise ModelError(
                f"{name} of {source} is a Git LFS pointer, not the file itself",
                hint="run `git lfs pull` where it was cloned, then pull again",
            )
        if name.endswith(".onnx") and (not head or head.lstrip()[:1] == b"<"):
            raise ModelError(f"{name} of {source} is no ONNX model", hint="fetch it again from where it comes")


def read_object(path: Path, source: str) -> dict[str, Any]:
    """A JSON object of a model that is being brought here.

    Raises:
        ModelError: It is none.
    """
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path.name} of {source} is no JSON", hint="fetch it again from where it comes") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path.name} of {source} holds no JSON object", hint="fetch it again from where it comes")
    return value
