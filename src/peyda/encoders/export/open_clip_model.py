"""Towers of open_clip: its own CLIP and SigLIP forms, and those with a text encoder of transformers (XLM-R, NLLB)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from peyda.encoders.directory import PreprocessConfig, read_json
from peyda.encoders.export.licences import read_licence
from peyda.encoders.export.preprocess import preset
from peyda.encoders.export.sources import OPEN_CLIP_CONFIG, Source, fetch_card
from peyda.encoders.export.tokenizer import hf_tokenizer_files, open_clip_bpe_files
from peyda.encoders.export.towers import (
    TokenizerFiles,
    TorchImageTower,
    TorchTextTower,
    loading,
    quiet_transformers,
    require,
)
from peyda.errors import ModelError

_CONTEXT_LENGTH = 77


class _Image(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        rows: Tensor = self.model.encode_image(pixels)
        return rows


class _Text(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, text: Tensor) -> Tensor:
        rows: Tensor = self.model.encode_text(text.long())
        return rows


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """open_clip logs every step through the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    try:
        with quiet_transformers():
            yield
    finally:
        root.setLevel(level)


def load_open_clip(source: Source) -> Any:
    """The model of a source, in float32.

    Raises:
        ModelError: open_clip is not installed, does not know it, or cannot read its weights.
    """
    open_clip = require("open_clip", f"reading {source.label}")
    # Off for the life of the process, as for every export: its fused kernel has no ONNX form.
    torch.backends.mha.set_fastpath_enabled(False)
    with _quiet(), loading(source.label):
        if source.folder is not None:
            model = open_clip.create_model(f"local-dir:{source.folder}", require_pretrained=True, weights_only=True)
        else:
            model = open_clip.create_model(
                source.architecture,
                pretrained=source.pretrained,
                pretrained_hf=False,  # the text tower's weights are among those of the whole
                require_pretrained=True,
                weights_only=True,
            )
    return model.float().eval()


def open_clip_image_tower(source: Source, model: Any, preprocess: str) -> TorchImageTower:
    """The image half; its preprocessing is what open_clip keeps with the model, or one of the presets.

    Raises:
        ModelError: The preprocessing is of a kind that the layout cannot say.
    """
    open_clip = require("open_clip", f"reading {source.label}")
    raw = open_clip.get_model_preprocess_cfg(model)
    size = raw["size"]
    sides = {int(side) for side in (size if isinstance(size, list | tuple) else (size,))}
    if len(sides) != 1:
        raise ModelError(f"{source.label} reads pictures of {size} px; only squares are supported")
    if preprocess:
        how = preset(preprocess, sides.pop())
    else:
        mean, std = (tuple(float(value) for value in raw[key]) for key in ("mean", "std"))
        how = PreprocessConfig(
            sides.pop(), (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), raw["interpolation"], raw["resize_mode"]
        )
    if how.interpolation not in ("bilinear", "bicubic") or how.resize_mode not in ("squash", "shortest", "longest"):
        raise ModelError(f"{source.label}: the preprocessing {how.interpolation}/{how.resize_mode} is not supported")
    return TorchImageTower(_Image(model), how, source.label, _licence(source))


def open_clip_text_tower(source: Source, model: Any, language: str, context_length: int | None) -> TorchTextTower:
    """The text half, and its tokenizer.

    Args:
        source: Where it came from.
        model: What `load_open_clip` gave.
        language: Language token, for tokenizers that begin a text with one (NLLB).
        context_length: Instead of what the model says; only text encoders of transformers can do with less.

    Raises:
        ModelError: The tokenizer is of a kind that has no `tokenizer.json`.
    """
    open_clip = require("open_clip", f"reading {source.label}")
    text_config = dict(_text_config(open_clip, source))
    is_hf = bool(text_config.get("hf_model_name"))
    own = int(text_config.get("context_length", _CONTEXT_LENGTH))
    if context_length not in (None, own) and not is_hf:
        raise ModelError(f"{source.label} reads exactly {own} tokens; --context-length cannot change that")
    length = context_length or own
    files, pad_id = _tokenizer(open_clip, source, text_config, language, length)
    return TorchTextTower(_Text(model), files, length, pad_id, not is_hf, text_config, source.label, _licence(source))


def _text_config(open_clip: Any, source: Source) -> dict[str, Any]:
    if source.folder is not None:
        found = read_json(source.folder / OPEN_CLIP_CONFIG).get("model_cfg", {})
    else:
        found = open_clip.get_model_config(source.architecture) or {}
    text: dict[str, Any] = found.get("text_cfg", {})
    return text


def _tokenizer(
    open_clip: Any, source: Source, text_config: dict[str, Any], language: str, length: int
) -> tuple[TokenizerFiles, int]:
    """The tokenizer's files, and its padding id; what had to be said to open_clip goes into `text_config`."""
    if text_config.get("tokenizer_mode"):
        raise ModelError(f"{source.label}: tokenizers of the mode {text_config['tokenizer_mode']} are not supported")
    name = f"local-dir:{source.folder}" if source.folder is not None else source.architecture
    hub_name = text_config.get("hf_tokenizer_name", "")
    if source.folder is not None and hub_name and not _has_tokenizer(source.folder):
        # The repository leaves it to the one that its text tower was made from.
        with _quiet(), loading(f"the tokenizer {hub_name} of {source.label}"):
            tokenizer = open_clip.HFTokenizer(
                hub_name, context_length=length, **text_config.get("tokenizer_kwargs", {})
            )
    else:
        with _quiet(), loading(f"the tokenizer of {source.label}"):
            tokenizer = open_clip.get_tokenizer(name, context_length=length)
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        return open_clip_bpe_files(tokenizer, length), 0
    if not hasattr(tokenizer, "tokenizer") or getattr(tokenizer, "strip_sep_token", False):
        raise ModelError(f"{source.label}: a tokenizer of the kind {type(tokenizer).__name__} is not supported here")
    if hasattr(tokenizer, "set_lang_fn"):
        if tokenizer.tokenizer.convert_tokens_to_ids(language) in (None, tokenizer.tokenizer.unk_token_id):
            raise ModelError(f"{source.label} has no language token {language!r}", hint="Persian is pes_Arab")
        # `set_language` of open_clip is undone by the tokenizer at its next call, which goes back to `src_lang`.
        tokenizer.tokenizer.src_lang = language
        text_config["tokenizer_kwargs"] = text_config.get("tokenizer_kwargs", {}) | {"language": language}
    tokenizer.tokenizer.padding_side = "right"
    pad_id = tokenizer.tokenizer.pad_token_id
    if pad_id is None:
        raise ModelError(f"the tokenizer of {source.label} has no padding token")
    files = hf_tokenizer_files(tokenizer.tokenizer, length, source.folder)

    def reference(texts: Any) -> list[list[int]]:
        return files.reference([tokenizer.clean_fn(text) for text in texts])

    return TokenizerFiles(files.document, files.config, reference), int(pad_id)


def _has_tokenizer(folder: Path) -> bool:
    names = ("tokenizer.json", "tokenizer_config.json", "sentencepiece.bpe.model", "spiece.model", "vocab.txt")
    return any((folder / name).is_file() for name in names)


def _licence(source: Source) -> str:
    """As the card of the folder has it, or the card of the repository that open_clip fetches the weights from."""
    folder = source.folder
    if folder is None:
        open_clip = require("open_clip", f"reading {source.label}")
        known = open_clip.get_pretrained_cfg(source.architecture, source.pretrained) or {}
        name = str(known.get("hf_hub") or "").strip("/")
        folder = fetch_card(name) if name.count("/") == 1 else None
    return read_licence(folder) if folder is not None else ""
