"""The recipe of `peyda train baseline`; read strictly, as `peyda.training.recipe` does."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from peyda.errors import ConfigError
from peyda.training.recipe import read_recipe_as

ACTIVATIONS = ("sigmoid", "tanh", "identity")


@dataclass(frozen=True)
class CaptionRecipe:
    """How often each kind of caption is drawn for its photograph (0 leaves it out)."""

    native: float = 1.0
    machine: float = 0.5


@dataclass(frozen=True)
class EncoderRecipe:
    """Where image features come from."""

    encoder: str = "efficientnet-lite2"
    """`efficientnet-lite2` (the pretrained backbone, made int8), an installed model or a model directory (the embedding
    of its image tower), `hf:NAME` (transformers), `timm:NAME` or `open_clip:ARCH:PRETRAINED`."""
    size_px: int = 224
    """Side of the square that efficientnet-lite2 reads; other encoders have their own."""


@dataclass(frozen=True)
class WordRecipe:
    """word2vec (Mikolov et al. 2013, https://arxiv.org/abs/1310.4546) on the training captions."""

    dim: int = 300
    window: int = 5
    min_count: int = 2
    negative: int = 10
    epochs: int = 20
    skip_gram: bool = True
    """False: continuous bag of words."""
    context_length: int = 64
    """Words of a text that are read."""


@dataclass(frozen=True)
class CorrNetRecipe:
    """The autoencoder and its objective."""

    dim: int = 256
    """Length of the code, which is the model's embedding."""
    hidden: int = 0
    """Width of a hidden layer before the code on either side, and behind it; 0 is the paper's single layer."""
    activation: str = "sigmoid"
    """Of the code: sigmoid, tanh or identity."""
    correlation: float = 0.3
    """The paper's lambda: weight of the correlation beside the three reconstructions."""
    dropout: float = 0.2
    """Of the features while training."""


@dataclass(frozen=True)
class FitRecipe:
    """The optimiser (AdamW) and when to stop."""

    epochs: int = 60
    batch: int = 512
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    patience: int = 10
    """Epochs without a better val score after which training stops."""


@dataclass(frozen=True)
class BaselineRecipe:
    """Everything that decides a run of `peyda train baseline`; saved beside the weights."""

    name: str = "baseline"
    description: str = ""
    seed: int = 0
    captions: CaptionRecipe = field(default_factory=CaptionRecipe)
    image: EncoderRecipe = field(default_factory=EncoderRecipe)
    words: WordRecipe = field(default_factory=WordRecipe)
    corrnet: CorrNetRecipe = field(default_factory=CorrNetRecipe)
    fit: FitRecipe = field(default_factory=FitRecipe)


def read_baseline_recipe(path: Path) -> BaselineRecipe:
    """Read a recipe and check its values.

    Raises:
        ConfigError: It cannot be read, has an unknown key, or a value of the wrong type or outside its range.
    """
    recipe = read_recipe_as(BaselineRecipe, path)
    corrnet, fit, words = recipe.corrnet, recipe.fit, recipe.words
    for name, value, least in (
        ("seed", recipe.seed, 0),
        ("image.size_px", recipe.image.size_px, 32),
        ("words.dim", words.dim, 1),
        ("words.window", words.window, 1),
        ("words.min_count", words.min_count, 1),
        ("words.negative", words.negative, 1),
        ("words.epochs", words.epochs, 1),
        ("words.context_length", words.context_length, 1),
        ("corrnet.dim", corrnet.dim, 1),
        ("corrnet.hidden", corrnet.hidden, 0),
        ("corrnet.correlation", corrnet.correlation, 0),
        ("fit.epochs", fit.epochs, 1),
        ("fit.batch", fit.batch, 2),
        ("fit.weight_decay", fit.weight_decay, 0),
        ("fit.patience", fit.patience, 1),
        ("captions.native", recipe.captions.native, 0),
        ("captions.machine", recipe.captions.machine, 0),
    ):
        if not value >= least:
            raise ConfigError(f"{path}: {name} must be at least {least}, not {value}")
    if corrnet.activation not in ACTIVATIONS:
        raise ConfigError(
            f"{path}: unknown corrnet.activation {corrnet.activation!r}", hint=f"known: {', '.join(ACTIVATIONS)}"
        )
    if not 0 <= corrnet.dropout < 1:
        raise ConfigError(f"{path}: corrnet.dropout must be from 0 to below 1, not {corrnet.dropout}")
    if not fit.learning_rate > 0:
        raise ConfigError(f"{path}: fit.learning_rate must be above 0, not {fit.learning_rate}")
    if recipe.captions.native + recipe.captions.machine <= 0:
        raise ConfigError(f"{path}: captions.native and captions.machine are both 0: nothing to train on")
    return recipe
