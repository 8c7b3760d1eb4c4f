"""Models of transformers from a folder: configuration, weights, and proof that every weight came from the files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from peyda.encoders.directory import read_json
from peyda.encoders.export.sources import Source
from peyda.encoders.export.towers import loading, quiet_transformers, require
from peyda.errors import ModelError

DUAL = frozenset({"clip", "siglip", "siglip2", "vision-text-dual-encoder"})

# Classes that project, of which the configuration alone does not tell; others are what AutoModel takes.
_PROJECTING = frozenset({"CLIPTextModelWithProjection", "CLIPVisionModelWithProjection"})
# Heads of the pre-training that an embedding has no use for, and buffers of older versions.
_LEFT_OVER = ("lm_head.", "cls.", "classifier.", "logit_scale", "logit_bias", "vocab_", "qa_outputs.", "mlm.", "nsp.")


def load_config(source: Source) -> Any:
    """The configuration of a folder, as transformers reads it.

    Raises:
        ModelError: It is missing, or of an architecture that transformers does not know.
    """
    transformers = require("transformers", f"reading {source.label}")
    read_json(source.files / "config.json")  # says what is wrong with the file in better words
    with quiet_transformers(), loading(source.label):
        return transformers.AutoConfig.from_pretrained(str(source.files), trust_remote_code=False)


def load_weights(source: Source, config: Any, *, optional: Iterable[str] = ()) -> nn.Module:
    """The model of a folder in float32, for evaluation.

    Args:
        source: Where `config.json` and the weights are.
        config: What `load_config` gave.
        optional: Beginnings of names of weights that may be missing, since nothing will be read from them.

    Raises:
        ModelError: A weight is missing, or one is left over that the model would have used.
    """
    transformers = require("transformers", f"reading {source.label}")
    architecture = next(iter(getattr(config, "architectures", None) or []), "")
    name = architecture if architecture in _PROJECTING else "AutoModel"
    with quiet_transformers(), loading(source.label):
        model, info = getattr(transformers, name).from_pretrained(
            str(source.files),
            config=config,
            dtype=torch.float32,
            attn_implementation="eager",
            trust_remote_code=False,
            output_loading_info=True,
        )
    missing = [key for key in info["missing_keys"] if not _is_any(key, (*optional, *_LEFT_OVER))]
    unexpected = [key for key in info["unexpected_keys"] if not _is_any(key, (*optional, *_LEFT_OVER))]
    _refuse(missing, f"{source.label} lacks weights of its {type(model).__name__}")
    _refuse(unexpected, f"{source.label} has weights that {type(model).__name__} has no place for")
    _refuse([str(key) for key in info.get("mismatched_keys", ())], f"weights of {source.label} have other shapes")
    evaluated: nn.Module = model.eval()
    return evaluated


def _is_any(key: str, beginnings: Iterable[str]) -> bool:
    parts = key.removeprefix("roberta.").removeprefix("bert.")
    return parts.startswith(tuple(beginnings)) or key.endswith("position_ids")


def _refuse(keys: list[str], what: str) -> None:
    if keys:
        shown = ", ".join(sorted(keys)[:4]) + (", …" if len(keys) > 4 else "")
        raise ModelError(f"{what}: {shown}", hint="its config.json names another class than its weights are of")


def read_state_dict(source: Source) -> dict[str, torch.Tensor]:
    """All tensors of a folder: safetensors, or pickles that hold tensors and nothing else; sharded or not.

    Raises:
        ModelError: There are none, or a pickle holds code.
    """
    for stem in ("model.safetensors", "pytorch_model.bin"):
        index = source.files / f"{stem}.index.json"
        if index.is_file():
            with loading(f"{stem} of {source.label}"):
                shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            merged: dict[str, torch.Tensor] = {}
            for shard in shards:
                merged |= _read_file(source, Path(shard).name)
            return merged
        if (source.files / stem).is_file():
            return _read_file(source, stem)
    raise ModelError(f"{source.label} holds no model.safetensors and no pytorch_model.bin")


def _read_file(source: Source, name: str) -> dict[str, torch.Tensor]:
    path = source.files / name
    with loading(f"{name} of {source.label}"):
        if path.suffix == ".safetensors":
            tensors = require("safetensors.torch", f"reading {path.name}").load_file(str(path))
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        return {str(key): value.float() if value.is_floating_point() else value for key, value in tensors.items()}
