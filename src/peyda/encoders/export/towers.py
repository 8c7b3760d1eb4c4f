"""The two towers of a model while they are still in torch: what an exporter needs to know of each."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from peyda.encoders.directory import PreprocessConfig
from peyda.encoders.export.sources import EXTRA_HINT
from peyda.errors import ModelError


@dataclass(frozen=True)
class TorchImageTower:
    """`module` takes Float32[b, 3, s, s] and gives Float32[b, dim]; `preprocess` says what it expects.

    `label` names its source in records, `licence` is as its card has it.
    """

    module: nn.Module
    preprocess: PreprocessConfig
    label: str
    licence: str


@dataclass(frozen=True)
class TokenizerFiles:
    """What `textual/` needs beside the graph.

    Args:
        document: Content of `tokenizer.json`.
        config: Content of `tokenizer_config.json`.
        reference: Texts to the token ids that the model's own library makes of them, without padding.
    """

    document: str
    config: dict[str, Any]
    reference: Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True)
class TorchTextTower:
    """`module` takes Int[b, tokens] and gives Float32[b, dim].

    Args:
        module: The tower; it knows padding by its id where padding matters.
        tokenizer: Its tokenizer.
        context_length: Tokens of a text that are read.
        pad_id: What fills the rest of a row.
        is_fixed_length: Every row has to have `context_length` tokens.
        text_config: For `config.json`: `hf_tokenizer_name`, `tokenizer_kwargs` and the like, in open_clip's terms.
        label: Names its source in records.
        licence: As its card has it.
    """

    module: nn.Module
    tokenizer: TokenizerFiles
    context_length: int
    pad_id: int
    is_fixed_length: bool
    text_config: dict[str, Any]
    label: str
    licence: str


class UnitRows(nn.Module):
    """A tower whose rows have length 1, as whoever reads this layout expects of a graph."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, inputs: Tensor) -> Tensor:
        """Rows of length 1; a zero row stays zero."""
        return nn.functional.normalize(self.tower(inputs).float(), dim=-1)


def require(package: str, what: str) -> Any:
    """Import a package of the extra `export`.

    Raises:
        ModelError: It is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(package)
    except Exception as error:  # a torchvision that does not fit its torch raises RuntimeError
        cause = " ".join(str(error).split())[:200]
        raise ModelError(f"{what} needs the package {package}: {cause}", hint=EXTRA_HINT) from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and remarks of transformers: what it would say of missing weights is an error here."""
    logger = require("transformers", "reading a model").utils.logging
    level, has_bars = logger.get_verbosity(), logger.is_progress_bar_enabled()
    logger.set_verbosity_error()
    logger.disable_progress_bar()
    try:
        yield
    finally:
        logger.set_verbosity(level)
        if has_bars:
            logger.enable_progress_bar()


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Turn what the libraries raise while they read a model into a `ModelError` that says what to do."""
    try:
        yield
    except ModelError:
        raise
    except torch.OutOfMemoryError as error:
        raise ModelError(f"{what} does not fit into memory", hint="export it on a larger machine") from error
    except Exception as error:  # transformers, open_clip, torch, safetensors and the hub: classes of their own each
        words = " ".join(str(error).split())
        raise ModelError(f"{what} cannot be read: {words[:300]}", hint=_hint(words)) from error


def _hint(words: str) -> str:
    if "trust_remote_code" in words or "custom code" in words:
        return "it needs Python code that it brings along, which Peyda never runs; export it with that code elsewhere"
    if "weights_only" in words or "Weights only" in words or "Unsupported operand" in words:
        return "its weights are a pickle that could run code, which is refused; ask its author for safetensors"
    if "does not recognize this architecture" in words or "not found in built-ins" in words:
        return "a newer transformers or open_clip may know it: pip install -U transformers open_clip_torch"
    if any(sign in words for sign in ("connect", "offline", "LocalEntryNotFound", "couldn't find", "huggingface.co")):
        return "a part of it is on the hub: check the network, or set HF_ENDPOINT to a mirror"
    return "check that the files are whole, and that it is a model of the kinds in docs/models-export.md"
