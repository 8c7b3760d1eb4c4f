"""Towers from the Hugging Face hub, or from a directory in its format: the package transformers.

Image towers: the vision half of CLIP and SigLIP, ViT, DINOv2, and whatever `AutoModel` reads that takes pixels. Text
towers: BERT, RoBERTa, XLM-R and their kin, with a fast tokenizer, and the text half of CLIP and SigLIP. A name that is
no directory is fetched from the hub, or from the mirror that HF_ENDPOINT names, into the hub library's own cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from peyda.encoders.directory import PreprocessConfig
from peyda.encoders.export.hf_loading import load_config
from peyda.encoders.export.preprocess import read_hf_preprocess
from peyda.encoders.export.sources import HUB, Source, open_source
from peyda.encoders.export.tokenizer import hf_tokenizer_files, load_tokenizer
from peyda.encoders.export.towers import loading, quiet_transformers, require
from peyda.errors import ConfigError, ModelError
from peyda.training.dual.recipe import ImageRecipe, TextRecipe
from peyda.training.dual.towers import ImageTower, TextTower, groups_of
from peyda.training.text_pooling import mean_over_tokens

# Model type → the class of its image half and of its text half, where AutoModel would build both.
_IMAGE_HALVES = {
    "clip": "CLIPVisionModel",
    "clip_vision_model": "CLIPVisionModel",
    "siglip": "SiglipVisionModel",
    "siglip_vision_model": "SiglipVisionModel",
}
_TEXT_HALVES = {
    "clip": "CLIPTextModel",
    "clip_text_model": "CLIPTextModel",
    "siglip": "SiglipTextModel",
    "siglip_text_model": "SiglipTextModel",
}


def hf_image_tower(name: str, settings: ImageRecipe) -> ImageTower:
    """`hf:ID_OR_DIR`.

    Raises:
        ConfigError: `image.pool` asks for what this architecture does not have.
        ModelError: It cannot be found or read, or reads no photographs.
    """
    source = _source(name)
    config = load_config(source)
    model_type = str(config.model_type)
    half = _IMAGE_HALVES.get(model_type)
    pool = settings.pool or ("pooler" if half else "cls")
    net = _load(source, config, half, pool)
    size = getattr(net.config, "image_size", None)
    if not isinstance(size, int):
        raise ModelError(f"hf:{name} ({model_type}) reads no photographs of a fixed size, or none that are square")
    pooled = _Pooled(net, pool, "pixel_values")
    return ImageTower(pooled, int(net.config.hidden_size), _preprocess(source, size, settings), groups_of(pooled))


def hf_text_tower(name: str, settings: TextRecipe) -> TextTower:
    """`hf:ID_OR_DIR`.

    Raises:
        ConfigError: `text.pool` asks for what this architecture does not have, or `text.context_length` for more
            positions.
        ModelError: It cannot be found or read, or its tokenizer has no fast form.
    """
    source = _source(name)
    config = load_config(source)
    model_type = str(config.model_type)
    half = _TEXT_HALVES.get(model_type)
    pool = settings.pool or ("pooler" if half else "mean")
    net = _load(source, config, half, pool)
    length = settings.context_length
    longest = _positions(net.config)
    if length > longest:
        raise ConfigError(f"text.context_length: hf:{name} reads at most {longest} tokens")
    tokenizer = load_tokenizer(source)
    if tokenizer.pad_token is None:
        raise ModelError(f"the tokenizer of hf:{name} has no padding token")
    fast = Tokenizer.from_str(hf_tokenizer_files(tokenizer, length, source.files).document)
    pad = str(tokenizer.pad_token)
    # SigLIP was trained on texts that fill the context, and takes the last position; CLIP looks backwards only, and
    # ends a text with the token that also fills it up.
    is_filled = model_type.startswith("siglip")
    if is_filled and length != longest:
        raise ConfigError(f"text.context_length: hf:{name} reads exactly {longest} tokens")
    if half and pool != "pooler":
        raise ConfigError(f'text.pool of hf:{name}, the text half of a {model_type}, can only be "pooler"')
    pooled = _Pooled(net, pool, "input_ids", has_mask=not half)
    width, groups = int(net.config.hidden_size), groups_of(pooled)
    return TextTower(pooled, width, fast, pad, length, groups, is_filled=is_filled, reads_mask=not half)


class _Pooled(nn.Module):
    """A model of the library with one vector for each input.

    `pool`: "pooler" is the model's own pooler output, "cls" the first position, "mean" the mean over tokens that are no
    padding (of patches, over all of them but a class token cannot be told apart, so over every position).
    """

    def __init__(self, net: nn.Module, pool: str, inputs: str, *, has_mask: bool = True) -> None:
        super().__init__()
        self.net = net
        self.pool = pool
        self.inputs = inputs
        self.has_mask = has_mask

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        given: dict[str, Any] = {self.inputs: values}
        if mask is not None and self.has_mask:
            given["attention_mask"] = mask
        output = self.net(**given)
        if self.pool == "pooler":
            pooled: Tensor = output.pooler_output
            return pooled
        states: Tensor = output.last_hidden_state
        if self.pool == "cls":
            return states[:, 0]
        return states.mean(1) if mask is None else mean_over_tokens(states, mask)


def _source(name: str) -> Source:
    source = open_source(name if Path(name).is_dir() else f"{HUB}{name}")
    if source.is_open_clip:
        raise ModelError(f"hf:{name} holds no model of transformers", hint="open_clip:ARCH:FILE reads open_clip's")
    return source


def _load(source: Source, config: Any, half: str | None, pool: str) -> nn.Module:
    """The model itself, in float32. Plain attention: the other kinds have no ONNX export that is as exact.

    A pooler that the files lack starts from random weights, as in the library; any other missing weight is an error.
    """
    transformers = require("transformers", "a tower of the hub")
    with quiet_transformers(), loading(source.label):
        kind = getattr(transformers, half) if half else transformers.AutoModel
        net, info = kind.from_pretrained(
            str(source.files),
            dtype=torch.float32,
            attn_implementation="eager",
            trust_remote_code=False,
            output_loading_info=True,
        )
    if missing := [key for key in info["missing_keys"] if not key.startswith("pooler.")]:
        raise ModelError(f"{source.label} lacks weights of its {type(net).__name__}: {', '.join(sorted(missing)[:3])}")
    if half is None:
        if pool == "pooler" and getattr(net, "pooler", None) is None:
            raise ConfigError(f'{source.label} ({config.model_type}) has no pooler: pool must be "cls" or "mean"')
        if pool != "pooler" and getattr(net, "pooler", None) is not None:
            net.pooler = None  # nothing reads it, so nothing should learn in it
    evaluated: nn.Module = net.eval()
    return evaluated


def _positions(config: Any) -> int:
    """How many tokens fit. RoBERTa's positions start behind the padding token's id."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return 1 << 30
    shifted = config.model_type in ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet", "longformer")
    return int(positions) - (int(config.pad_token_id or 0) + 1 if shifted else 0)


def _preprocess(source: Source, size_px: int, settings: ImageRecipe) -> PreprocessConfig:
    """As the files say; a recipe that says it all needs no files."""
    try:
        return read_hf_preprocess(source, size_px)
    except ModelError as error:
        if settings.resize and settings.normalize:
            return PreprocessConfig(size_px, (0.5,) * 3, (0.5,) * 3, "bicubic", settings.resize)
        raise ModelError(error.message, hint="image.resize and image.normalize in the recipe say it instead") from error
