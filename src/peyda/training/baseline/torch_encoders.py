"""Image encoders of transformers, timm and open_clip as modules from pixels to feature rows.

`hf:NAME`, `timm:NAME` and `open_clip:ARCH:PRETRAINED` are what the general trainer takes for image towers
(`peyda.training.dual.towers`); NAME may be a directory (for timm `local-dir:PATH`). Convolutional networks of
transformers, such as the ResNet-18 of the original project, do not say in their configuration what size of photograph
they read: they are loaded here, at the size that their preprocessor makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from peyda.encoders.directory import PreprocessConfig, read_json
from peyda.encoders.export.licences import read_licence
from peyda.encoders.export.preprocess import read_hf_preprocess
from peyda.encoders.export.sources import open_source
from peyda.encoders.export.towers import loading, quiet_transformers, require
from peyda.errors import ConfigError, ModelError
from peyda.training.dual.recipe import DualRecipe, TowerNames
from peyda.training.dual.towers import load_image_tower

FAMILIES = ("hf", "timm", "open_clip")


@dataclass(frozen=True)
class TorchEncoder:
    """A module from pixels Float32[b, 3, s, s] to features Float32[b, d], and how photographs reach it."""

    module: nn.Module
    preprocess: PreprocessConfig
    licence: str


def load_torch_encoder(name: str) -> TorchEncoder:
    """The encoder that a recipe names, such as `hf:microsoft/resnet-18`.

    Raises:
        ConfigError: The prefix is none of `FAMILIES`.
        ModelError: The library is not installed, or the model cannot be loaded or used.
    """
    family, _, model = name.partition(":")
    if family not in FAMILIES:
        raise ConfigError(
            f"unknown image.encoder {name!r}",
            hint="efficientnet-lite2, an installed model, a model directory, hf:NAME, timm:NAME or open_clip:ARCH:TAG",
        )
    terms = f"terms of {name}"
    if family == "hf":
        source = open_source(model if Path(model).is_dir() else name)
        terms = read_licence(source.files) or terms
        if size_px := _convolutional_size(source.files):
            return TorchEncoder(_convolutional(source.files, name), read_hf_preprocess(source, size_px), terms)
    tower = load_image_tower(DualRecipe(towers=TowerNames(image=name)))
    return TorchEncoder(tower, tower.preprocess, terms)


class _Flat(nn.Module):
    """A convolutional network of transformers: its pooled map Float32[b, d, 1, 1] as rows."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels to features."""
        return torch.flatten(self.net(pixel_values=pixels).pooler_output, 1)


def _convolutional(folder: Path, name: str) -> nn.Module:
    transformers = require("transformers", name)
    with quiet_transformers(), loading(name):
        net, facts = transformers.AutoModel.from_pretrained(
            str(folder), dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
    if missing := sorted(facts["missing_keys"]):
        raise ModelError(f"{name} has no weights for {missing[0]}" + (", …" if missing[1:] else ""))
    return _Flat(net)


def _convolutional_size(folder: Path) -> int | None:
    """The size that the preprocessor of a network without a size of its own makes; None for other models."""
    config = read_json(folder / "config.json")
    if "image_size" in config or "vision_config" in config or "depths" not in config:
        return None
    raw = read_json(folder / "preprocessor_config.json")
    size = raw.get("crop_size") or raw.get("size")
    if isinstance(size, Mapping):
        size = size.get("shortest_edge") or size.get("height")
    if not isinstance(size, int):
        raise ModelError(f"{folder.name} does not say what size of photograph it reads")
    return size
