"""Image towers of transformers: CLIP, SigLIP, SigLIP 2 (also NaFlex, at one square size), ViT, and whatever pools."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from peyda.encoders.export.hf_loading import DUAL, load_config, load_weights
from peyda.encoders.export.licences import read_licence
from peyda.encoders.export.preprocess import preset, read_hf_preprocess
from peyda.encoders.export.sources import Source
from peyda.encoders.export.towers import TorchImageTower
from peyda.errors import ModelError


class _Pooled(nn.Module):
    """An image model of transformers: its projected embedding where it has one, otherwise its pooled output."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        encode = getattr(self.model, "get_image_features", self.model)
        return pooled(encode(pixel_values=pixels))


class _NaFlex(nn.Module):
    """SigLIP 2 for any aspect ratio, whose input is patches: here of one square, every patch of it real."""

    def __init__(self, model: nn.Module, side: int, patch: int) -> None:
        super().__init__()
        self.model = model
        self.side, self.patch = side, patch

    def forward(self, pixels: Tensor) -> Tensor:
        batch, side, patch = pixels.shape[0], self.side, self.patch
        grid = pixels.reshape(batch, 3, side, patch, side, patch).permute(0, 2, 4, 3, 5, 1)
        patches = grid.reshape(batch, side * side, patch * patch * 3)  # (b, patches, pixels of a patch)
        encode = getattr(self.model, "get_image_features", self.model)
        return pooled(
            encode(
                pixel_values=patches,
                pixel_attention_mask=torch.ones(batch, side * side, dtype=torch.long),
                spatial_shapes=torch.full((batch, 2), side, dtype=torch.long),
            )
        )


def pooled(output: Any) -> Tensor:
    """The embedding in what a model of transformers returns: what that is called differs between its versions.

    Raises:
        ModelError: There is none.
    """
    if isinstance(output, Tensor):
        return output
    for name in ("image_embeds", "text_embeds", "pooler_output"):
        value = getattr(output, name, None)
        if isinstance(value, Tensor):
            return value
    raise ModelError("the model pools nothing, so it has no embedding of a whole picture or text")


def load_hf_image_tower(source: Source, preprocess: str) -> TorchImageTower:
    """The image half of a folder: of a dual model, or all of an image model.

    Args:
        source: Its folder.
        preprocess: One of the presets, or empty for what the folder says.

    Raises:
        ModelError: It holds no image model, or one that cannot be exported.
    """
    config = load_config(source)
    vision = getattr(config, "vision_config", config)
    if getattr(config, "text_config", None) is not None and config.model_type not in DUAL:
        raise ModelError(
            f"{source.label} is a {config.model_type} model, which is no pair of towers that can be exported",
            hint=f"models of one source are of these kinds: {', '.join(sorted(DUAL))}",
        )
    model = load_weights(source, config)
    if vision.model_type in ("siglip2_vision_model", "siglip2"):
        side = round(vision.num_patches**0.5)
        size_px = side * vision.patch_size
        module: nn.Module = _NaFlex(model, side, vision.patch_size)
        default = preset("siglip", size_px)
    else:
        size = getattr(vision, "image_size", None)
        if not isinstance(size, int):
            raise ModelError(
                f"{source.label} ({config.model_type}) does not say what size of picture it reads",
                hint="image towers are CLIP, SigLIP, SigLIP 2 or ViT models",
            )
        size_px, module, default = size, _Pooled(model), None
    if preprocess:
        how = preset(preprocess, size_px)
    else:
        how = default or read_hf_preprocess(source, size_px)
    return TorchImageTower(module, how, source.label, read_licence(source.files))
