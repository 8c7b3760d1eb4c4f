"""Towers of timm and open_clip.

`timm:NAME` has the weights that timm publishes under that name (`NAME.TAG` says which), `timm:NAME:FILE` those of a
checkpoint on this machine. `open_clip:ARCH:PRETRAINED` has published weights or, where PRETRAINED is a file, those in
it; `open_clip:ARCH` alone starts from random ones. A half of an open_clip model comes with its projection, so that
`heads.kind = "none"` starts from exactly that model.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from peyda.encoders.directory import PreprocessConfig
from peyda.encoders.export.tokenizer import hf_tokenizer_files, open_clip_bpe_files
from peyda.encoders.export.towers import loading, require
from peyda.errors import ConfigError, ModelError
from peyda.training.dual.recipe import ImageRecipe, TextRecipe
from peyda.training.dual.towers import Groups, ImageTower, TextTower, groups_of


def timm_image_tower(name: str, settings: ImageRecipe) -> ImageTower:
    """`timm:NAME[:FILE]`.

    Raises:
        ModelError: There is no such model, its weights cannot be had, or its input is not a square.
    """
    timm = require("timm", "a tower of timm")
    architecture, file = _split(name)
    if file and not Path(file).is_file():
        raise ModelError(f"timm:{name}: no file {file}", hint="timm:NAME:FILE names a checkpoint on this machine")
    options: dict[str, Any] = {"pretrained": True, "num_classes": 0}
    if file:
        options["pretrained_cfg_overlay"] = {"file": file}
    with loading(f"timm:{name}"):
        shape = None if ":" in architecture else timm.models.get_pretrained_cfg(architecture)
        if settings.size_px and shape is not None and shape.fixed_input_size:
            options["img_size"] = settings.size_px
        net: nn.Module = timm.create_model(architecture, **options)
        config = timm.data.resolve_data_config({}, model=net)
        groups = _timm_groups(timm, net)
    _, height, width = config["input_size"]
    if height != width:
        raise ModelError(f"timm:{name} reads {width} × {height} px: only square inputs are supported")
    interpolation = config["interpolation"] if config["interpolation"] in ("bilinear", "bicubic") else "bicubic"
    mean, std = config["mean"], config["std"]
    preprocess = PreprocessConfig(
        settings.size_px or int(height),
        (float(mean[0]), float(mean[1]), float(mean[2])),
        (float(std[0]), float(std[1]), float(std[2])),
        interpolation,
        "squash" if config.get("crop_mode") == "squash" else "shortest",
    )
    return ImageTower(net, int(net.num_features), preprocess, groups)


def _split(name: str) -> tuple[str, str]:
    """`NAME[:WEIGHTS]` in two; hf-hub:OWNER/NAME and local-dir:PATH are names that the libraries read themselves."""
    if name.startswith(("hf-hub:", "local-dir:")):
        return name, ""
    architecture, _, weights = name.partition(":")
    return architecture, weights


def _timm_groups(timm: Any, net: nn.Module) -> Groups:
    """As the library numbers its own layers."""
    numbered = timm.models.group_parameters(net, net.group_matcher(coarse=False))
    parameters = dict(net.named_parameters())
    return [[parameters[one] for one in numbered[number] if one in parameters] for number in sorted(numbered)]


def open_clip_image_tower(name: str) -> ImageTower:
    """The image half of `open_clip:ARCH[:PRETRAINED]`.

    Raises:
        ModelError: There is no such model, its weights cannot be had, or its input is not a square.
    """
    open_clip = require("open_clip", "a tower of open_clip")
    model = _open_clip_model(open_clip, name)
    raw = open_clip.get_model_preprocess_cfg(model)
    size = raw["size"]
    side, other = (size, size) if isinstance(size, int) else (size[0], size[1])
    if side != other:
        raise ModelError(f"open_clip:{name} reads {other} × {side} px: only square inputs are supported")
    mean, std = raw["mean"], raw["std"]
    with torch.no_grad():
        width = int(model.visual.eval()(torch.zeros(1, 3, int(side), int(side))).shape[-1])
    preprocess = PreprocessConfig(
        int(side),
        (float(mean[0]), float(mean[1]), float(mean[2])),
        (float(std[0]), float(std[1]), float(std[2])),
        raw.get("interpolation", "bicubic"),
        raw.get("resize_mode", "shortest"),
    )
    return ImageTower(model.visual, width, preprocess, groups_of(model.visual, last=("proj",)))


def open_clip_text_tower(name: str, settings: TextRecipe) -> TextTower:
    """The text half of `open_clip:ARCH[:PRETRAINED]`; always reads its whole context, filled up.

    Raises:
        ConfigError: `text.context_length` is not that of the model.
        ModelError: There is no such model, or its weights or tokenizer cannot be had.
    """
    open_clip = require("open_clip", "a tower of open_clip")
    model = _open_clip_model(open_clip, name)
    length = int(model.context_length)
    if settings.context_length != length:
        raise ConfigError(f"text.context_length: open_clip:{name} reads exactly {length} tokens")
    architecture, _ = _split(name)
    with loading(f"the tokenizer of open_clip:{name}"):
        tokenizer = open_clip.get_tokenizer(architecture)
    if hasattr(tokenizer, "bpe_ranks"):
        files = open_clip_bpe_files(tokenizer, length)
    else:
        files = hf_tokenizer_files(tokenizer.tokenizer, length)
    fast, pad = Tokenizer.from_str(files.document), str(files.config["pad_token"])
    net = _WithoutMask(model.text)
    groups = groups_of(net, last=("text_projection",))
    tower = TextTower(net, 0, fast, pad, length, groups, is_filled=True, reads_mask=False)
    with torch.no_grad():
        tower.width = int(tower.eval()(*tower.tokenize(["a"])).shape[-1])
    return tower


class _WithoutMask(nn.Module):
    """open_clip tells padding by its id."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        features: Tensor = self.net(ids)
        return features


def _open_clip_model(open_clip: Any, name: str) -> Any:
    architecture, pretrained = _split(name)
    if pretrained.endswith((".pt", ".bin", ".safetensors")) and not Path(pretrained).is_file():
        raise ModelError(f"open_clip:{name}: no file {pretrained}")
    # The library warns through the root logger that weights are random, which the recipe says already.
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with loading(f"open_clip:{name}"):
            return open_clip.create_model(
                architecture,
                pretrained=pretrained or None,
                force_custom_text=True,
                pretrained_text=bool(pretrained),
                require_pretrained=bool(pretrained) or ":" in architecture,
                output_dict=False,
            )
    finally:
        root.setLevel(level)
