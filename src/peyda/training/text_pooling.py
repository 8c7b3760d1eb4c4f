"""How the states of a text tower become one row of features per text.

The mean of the last layer is what a sentence encoder was trained to compare sentences by; which words a sentence has is
clearer in the layers below. With these beside it, heads on the frozen tower find a photograph in 10 for some 4 of 100
queries more (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from peyda.errors import ConfigError
from peyda.types import Float32

_LAYERS = (0, 3, 6, 9, 11)
_LOWEST = -1e4
_TINY = 1e-5


def pooled_layers(pooling: str, layers: int) -> tuple[int, ...]:
    """Which states are averaged, the last being the tower's own; 0 is the embedding layer.

    Args:
        pooling: "mean", the last layer alone, or "layers", some of those below too.
        layers: Of the tower.

    Raises:
        ConfigError: Another word.
    """
    if pooling == "mean":
        return (layers,)
    if pooling == "layers":
        return (*(n for n in _LAYERS if n < layers), layers)
    raise ConfigError(f"text.pooling must be mean or layers, not {pooling!r}")


def mean_over_tokens(states: Tensor, mask: Tensor) -> Tensor:
    """Float32[b, t, h] and Int64[b, t] to Float32[b, h]: the mean over the tokens that the mask keeps."""
    keep = mask.to(states.dtype)
    return (states * keep[:, :, None]).sum(1) / keep.sum(1, keepdim=True).clamp(min=1)


def pool(states: Sequence[Tensor], mask: Tensor, kept: Sequence[int]) -> Tensor:
    """The mean of each kept state side by side; where several are kept, the last one's first token and its maximum too.

    Args:
        states: Float32[b, t, h] of the embedding layer and of every layer.
        mask: Int64[b, t]: 1 for a token, 0 for padding.
        kept: What `pooled_layers` gave.

    Returns:
        Float32[b, pooled_width(h, kept)].
    """
    means = [mean_over_tokens(states[n], mask) for n in kept]
    if len(kept) == 1:
        return means[0]
    last = states[kept[-1]]
    return torch.cat([*means, last[:, 0], last.masked_fill(mask[:, :, None] == 0, _LOWEST).amax(1)], dim=-1)


def pooled_width(hidden: int, kept: Sequence[int]) -> int:
    """How many numbers `pool` gives a text, of states of `hidden`."""
    return hidden * (len(kept) + 2 if len(kept) > 1 else 1)


@dataclass(frozen=True)
class FeatureScale:
    """Brings every number of pooled features to mean 0 and spread 1 over the training texts: layers differ in scale.

    Attributes:
        mean: Float32[width].
        factor: Float32[width], one over the standard deviation.
    """

    mean: Float32
    factor: Float32

    @classmethod
    def of(cls, features: Float32) -> FeatureScale:
        """The scale of Float[n, width] features."""
        values = np.asarray(features, np.float32)
        return cls(values.mean(0), 1 / (values.std(0) + np.float32(_TINY)))

    def apply(self, features: Float32) -> Float32:
        """Float[n, width] to Float32[n, width]."""
        return (np.asarray(features, np.float32) - self.mean) * self.factor

    def weights(self) -> dict[str, Float32]:
        """By the names that `peyda.encoders.text_graph` knows them by."""
        return {"pooled.mean": self.mean, "pooled.factor": self.factor}
