"""The dual encoder under training: two towers, two heads, temperature and bias; and which of it learns how fast."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from peyda.errors import ConfigError
from peyda.training.dual.losses import MAX_SCALE
from peyda.training.dual.recipe import DualRecipe, HeadRecipe, ImageRecipe, TextRecipe
from peyda.training.dual.towers import Groups, ImageTower, TextTower
from peyda.training.heads import ProjectionHead

_NORMS = (nn.modules.batchnorm._BatchNorm,)


class MlpHead(ProjectionHead):
    """`ProjectionHead` without the last step to unit length: distillation by squared distance needs the length."""

    def forward(self, features: Tensor) -> Tensor:
        """Features to rows of any length."""
        x = self.norm(features)
        projected: Tensor = self.linear(x) + self.mlp(x)
        return projected


class DualModel(nn.Module):
    """Both towers and everything between them.

    Args:
        image: The image tower.
        text: The text tower.
        recipe: Heads, what is frozen, and the loss's own parameters.

    Raises:
        ConfigError: Without heads the widths do not meet, or there are not as many layers as should be frozen.
    """

    def __init__(self, image: ImageTower, text: TextTower, recipe: DualRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.image = image
        self.text = text
        is_finished = recipe.towers.image.startswith("model:")
        dim = image.width if is_finished else recipe.heads.dim
        torch.manual_seed(recipe.seed + 2)
        kind = recipe.heads.kind
        self.image_head = nn.Identity() if is_finished else _head(recipe.heads, kind, image.width, dim)
        self.text_head = _head(recipe.heads, kind, text.width, dim)
        self.embed_dim = (image.width if kind == "none" else dim) if not is_finished else dim
        if kind == "none" and text.width != self.embed_dim:
            raise ConfigError(
                f"the image tower gives {image.width} numbers and the text tower {text.width}, and there are no heads",
                hint='heads.kind = "linear" or "mlp" maps both to heads.dim',
            )
        self.logit_scale = nn.Parameter(torch.tensor(math.log(recipe.loss.scale)))
        self.logit_bias = nn.Parameter(torch.tensor(recipe.loss.bias))
        self.logit_scale.requires_grad_(not recipe.is_distillation)
        self.logit_bias.requires_grad_(recipe.loss.kind == "sigmoid")
        _freeze("image", image.groups, recipe.image)
        _freeze("text", text.groups, recipe.text)
        if recipe.is_distillation or is_finished:
            for parameter in image.parameters():
                parameter.requires_grad_(False)

    @property
    def scale(self) -> Tensor:
        """exp(logit_scale), at most 100 as in CLIP."""
        return self.logit_scale.clamp(max=math.log(MAX_SCALE)).exp()

    def embed_images(self, pixels: Tensor) -> Tensor:
        """Float32[b, 3, s, s] to unit rows Float32[b, d]."""
        return F.normalize(self.image_head(self.image(pixels)).float(), dim=-1)

    def project_texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Int64[b, t] twice to rows Float32[b, d] of any length."""
        rows: Tensor = self.text_head(self.text(ids, mask)).float()
        return rows

    def embed_texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Int64[b, t] twice to unit rows Float32[b, d]."""
        return F.normalize(self.project_texts(ids, mask), dim=-1)

    def train(self, mode: bool = True) -> DualModel:
        """Training mode; not for locked towers, nor for batch normalisation (`towers`)."""
        super().train(mode)
        for module, locked in ((self.image, self.recipe.image.locked), (self.text, self.recipe.text.locked)):
            if locked:
                module.eval()
        for module in self.modules():
            if isinstance(module, _NORMS):
                module.eval()
        return self

    def learning(self) -> dict[str, nn.Parameter]:
        """The parameters that learn, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def learns(self, side: str) -> bool:
        """Whether anything of "image" or "text", tower or head, learns."""
        return any(name.startswith((f"{side}.", f"{side}_head.")) for name in self.learning())

    def frozen_digest(self) -> str:
        """Of everything that does not learn: a checkpoint leaves it out, and must find the same again."""
        state = hashlib.sha256(str(getattr(self.image.net, "fingerprint", "")).encode())
        learning = self.learning()
        for name, value in self.state_dict().items():
            if name not in learning:
                state.update(name.encode() + b"\0" + str(value.dtype).encode())
                state.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return state.hexdigest()[:32]


def _head(settings: HeadRecipe, kind: str, inputs: int, dim: int) -> nn.Module:
    if kind == "none":
        return nn.Identity()
    if kind == "mlp":
        return MlpHead(inputs, dim, settings.hidden, settings.dropout)
    return nn.Sequential(nn.Dropout(settings.dropout), nn.Linear(inputs, dim, bias=False))


def _freeze(name: str, groups: Groups, settings: ImageRecipe | TextRecipe) -> None:
    layers = max(0, len(groups) - 2)
    if settings.frozen_layers > layers:
        raise ConfigError(f"{name}.frozen_layers is {settings.frozen_layers}, and the tower has {layers} layers")
    count = settings.frozen_layers + 1 if settings.frozen_layers or settings.frozen_embeddings else 0
    for group in groups if settings.locked else groups[:count]:
        for parameter in group:
            parameter.requires_grad_(False)


def parameter_groups(model: DualModel) -> list[dict[str, Any]]:
    """Groups for the optimizer: each layer with its own rate, vectors and scalars without weight decay.

    The top of a tower learns at the tower's rate, every layer below at `layer_decay` times the rate of the one above it
    (Howard & Ruder 2018, https://arxiv.org/abs/1801.06146; Clark et al. 2020, https://arxiv.org/abs/2003.10555).
    """
    recipe = model.recipe
    out: list[dict[str, Any]] = []
    placed: set[int] = set()

    def add(parameters: list[nn.Parameter], rate: float) -> None:
        learning = [p for p in parameters if p.requires_grad and id(p) not in placed]
        placed.update(id(p) for p in learning)
        for some, decay in (
            ([p for p in learning if p.ndim >= 2], recipe.train.weight_decay),
            ([p for p in learning if p.ndim < 2], 0.0),
        ):
            if some:
                out.append({"params": some, "lr": rate, "weight_decay": decay})

    towers: tuple[tuple[Groups, ImageRecipe | TextRecipe], ...] = (
        (model.image.groups, recipe.image),
        (model.text.groups, recipe.text),
    )
    for groups, settings in towers:
        for depth, group in enumerate(groups):
            add(group, settings.learning_rate * settings.layer_decay ** (len(groups) - 1 - depth))
    add(list(model.parameters()), recipe.heads.learning_rate)
    return out


class Average:
    """The exponential moving average of what learns. A state of `Checkpoint`.

    The first steps keep less of it, (1 + n) / (10 + n) after n of them, so that short runs forget their start too.

    Args:
        model: What is averaged.
        decay: Share of the old average that a step keeps.
    """

    def __init__(self, model: DualModel, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.values = {name: value.detach().clone() for name, value in model.learning().items()}

    def update(self, model: DualModel) -> None:
        """After a step."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        for name, value in model.learning().items():
            self.values[name].lerp_(value.detach(), 1 - decay)

    @contextmanager
    def in_place(self, model: DualModel) -> Iterator[None]:
        """The model with averaged weights, for as long as the context lasts."""
        own = copy.deepcopy({name: value.detach() for name, value in model.learning().items()})
        load_learning(model, self.values)
        try:
            yield
        finally:
            load_learning(model, own)

    def state_dict(self) -> dict[str, Any]:
        """The averages, and how many steps they are of."""
        return {"steps": self.steps, "values": self.values}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.steps = int(state["steps"])
        for name, value in state["values"].items():
            self.values[name].copy_(value)


@torch.no_grad()
def load_learning(model: DualModel, values: Mapping[str, Tensor]) -> None:
    """Copy values into the parameters that learn, by name."""
    for name, parameter in model.learning().items():
        parameter.copy_(values[name])
