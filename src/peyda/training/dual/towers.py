"""Towers by name: what the trainer needs of an image tower and of a text tower, and which module builds which family.

A tower maps its input to features; heads (`model`) map features to the shared space. Batch normalisation always uses
the statistics a tower came with: batches are small beside those it was pretrained with, and a chunk of a batch
(`grad_cache`) must give what the whole batch gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from peyda.encoders.directory import PreprocessConfig
from peyda.errors import ConfigError, ModelError
from peyda.training.dual.recipe import DualRecipe, ImageRecipe

_STATISTICS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}

Groups = list[list[nn.Parameter]]
"""Parameters from the input on: embeddings, then each layer, then what comes after the last one."""


class ImageTower(nn.Module):
    """Pixels Float32[b, 3, size, size] to features Float32[b, width].

    Args:
        net: Does just that.
        width: Length of the features.
        preprocess: How a photograph becomes its pixels.
        groups: Parameters of `net` from the input on.
    """

    def __init__(self, net: nn.Module, width: int, preprocess: PreprocessConfig, groups: Groups) -> None:
        super().__init__()
        self.net = net
        self.width = width
        self.preprocess = preprocess
        self.groups = groups

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels to features."""
        features: Tensor = self.net(pixels)
        return features


class TextTower(nn.Module):
    """Token ids and mask, both Int64[b, t] (mask 1 for a token), to features Float32[b, width].

    Args:
        net: Does just that.
        width: Length of the features.
        tokenizer: From normalised text to ids; cuts at `context_length`, does not pad.
        pad_token: What a shorter text is filled with.
        context_length: Longest text in tokens.
        groups: Parameters of `net` from the input on.
        is_filled: Whether every text is filled up to `context_length`.
        reads_mask: Whether the features depend on the mask.
    """

    def __init__(
        self,
        net: nn.Module,
        width: int,
        tokenizer: Tokenizer,
        pad_token: str,
        context_length: int,
        groups: Groups,
        *,
        is_filled: bool = False,
        reads_mask: bool = True,
    ) -> None:
        super().__init__()
        self.net = net
        self.width = width
        self.tokenizer = tokenizer
        self.pad_token = pad_token
        self.context_length = context_length
        self.groups = groups
        self.is_filled = is_filled
        self.reads_mask = reads_mask
        found = tokenizer.token_to_id(pad_token)
        if found is None:
            raise ModelError(f"the tokenizer of the text tower has no {pad_token}")
        self.pad_id = int(found)
        tokenizer.no_padding()
        tokenizer.enable_truncation(context_length)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Tokens to features."""
        features: Tensor = self.net(ids, mask)
        return features

    def tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Normalised texts to ids and mask, Int64[n, longest] (or `context_length`, where the tower wants that)."""
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        longest = self.context_length if self.is_filled else max(1, *map(len, rows))
        ids = torch.full((len(rows), longest), self.pad_id, dtype=torch.int64)
        mask = torch.zeros((len(rows), longest), dtype=torch.int64)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = torch.tensor(row, dtype=torch.int64)
            mask[at, : len(row)] = 1
        return ids, mask


def load_image_tower(recipe: DualRecipe) -> ImageTower:
    """The tower that `towers.image` names, on the processor.

    Raises:
        ConfigError: The recipe asks it for something that it does not have.
        ModelError: It is not there, cannot be read, or its library is not installed.
    """
    family, _, name = recipe.towers.image.partition(":")
    settings = recipe.image
    torch.manual_seed(recipe.seed)  # for weights that start at random
    if family == "hf":
        from peyda.training.dual.towers_hf import hf_image_tower

        tower = hf_image_tower(name, settings)
    elif family == "timm":
        from peyda.training.dual.towers_open import timm_image_tower

        tower = timm_image_tower(name, settings)
    elif family == "open_clip":
        from peyda.training.dual.towers_open import open_clip_image_tower

        tower = open_clip_image_tower(name)
    elif family == "model":
        from peyda.training.dual.towers_own import finished_image_tower

        tower = finished_image_tower(name)
    else:
        from peyda.training.dual.towers_own import own_image_tower

        tower = own_image_tower(recipe)
    tower.preprocess = _preprocess(recipe.towers.image, tower.preprocess, settings)
    return tower


def load_text_tower(recipe: DualRecipe, texts: Iterable[str], folder: Path) -> TextTower:
    """The tower that `towers.text` names, on the processor.

    Args:
        recipe: Names it.
        texts: The captions, normalised: `e5` and `random:` choose their vocabulary by them.
        folder: Where such a vocabulary is kept for the next time.

    Raises:
        ConfigError: The recipe asks it for something that it does not have.
        ModelError: It is not there, cannot be read, or its library is not installed.
    """
    family, _, name = recipe.towers.text.partition(":")
    torch.manual_seed(recipe.seed + 1)
    if family == "hf":
        from peyda.training.dual.towers_hf import hf_text_tower

        return hf_text_tower(name, recipe.text)
    if family == "open_clip":
        from peyda.training.dual.towers_open import open_clip_text_tower

        return open_clip_text_tower(name, recipe.text)
    from peyda.training.dual.towers_own import own_text_tower

    return own_text_tower(recipe, texts, folder)


def _preprocess(name: str, own: PreprocessConfig, settings: ImageRecipe) -> PreprocessConfig:
    changed = own
    if settings.resize:
        changed = replace(changed, resize_mode=settings.resize)
    if settings.normalize:
        mean, std = _STATISTICS[settings.normalize]
        changed = replace(changed, mean=mean, std=std)
    if settings.size_px and settings.size_px != own.size_px:
        raise ConfigError(
            f"{name} reads photographs of {own.size_px} px, and image.size_px is {settings.size_px}",
            hint="leave image.size_px out",
        )
    if name.startswith("model:") and changed != own:
        raise ConfigError(f"{name} stays as it is: image.resize and image.normalize must be left out")
    return changed


def groups_of(net: nn.Module, last: Sequence[str] = ()) -> Groups:
    """Parameters from the input on, found by the longest list of alike layers: what is registered before it are
    embeddings, what comes after it is on top.

    Args:
        net: A transformer or another stack of layers.
        last: Names of parameters that are on top although they are registered first (a projection matrix).
    """
    stacks = [
        (prefix, module)
        for prefix, module in net.named_modules()
        if isinstance(module, nn.ModuleList) and all(any(True for _ in m.parameters()) for m in module)
    ]
    if not stacks:
        return [list(net.parameters())]
    prefix, stack = max(stacks, key=lambda item: len(item[1]))
    groups: Groups = [[] for _ in range(len(stack) + 2)]
    seen_stack = False
    for name, parameter in net.named_parameters():
        if name.startswith(f"{prefix}."):
            seen_stack = True
            groups[1 + int(name.removeprefix(f"{prefix}.").split(".")[0])].append(parameter)
        else:
            groups[-1 if seen_stack or name.rsplit(".", 1)[-1] in last else 0].append(parameter)
    return groups
