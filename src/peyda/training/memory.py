"""What tuning remembers of each photograph between steps: its last features under the tower being tuned.

A step sees few fresh photographs, since they pass through the tower; remembered ones pass through the heads only and
make the contrastive batch large (cross-batch memory, Wang et al. 2020, https://arxiv.org/abs/1912.06798: features move
slowly). And what the tower did to all photographs so far says where it would have put the pseudo-photographs.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from peyda.types import Float32, Int64

_RIDGE = 0.05


class FeatureMemory(nn.Module):
    """Last tuned features of each photograph, and when they were made. Kept in checkpoints like any module."""

    features: Tensor
    """Float32[photos, width]."""
    stamps: Tensor
    """Int64[photos]: the step at which they were made; 0 for not yet."""
    steps: Tensor

    def __init__(self, photos: int, width: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.zeros(photos, width))
        self.register_buffer("stamps", torch.zeros(photos, dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def latest(self, count: int, without: Int64) -> Int64:
        """The photographs remembered last, at most `count`, none of those in `without`."""
        stamps = self.stamps.numpy().copy()
        stamps[without] = 0
        order = np.argsort(-stamps, kind="stable")[:count]
        return np.asarray(order[stamps[order] > 0], np.int64)

    def remember(self, photos: Int64, features: Tensor) -> None:
        """Keep `features` Float32[b, width] of `photos` Int64[b]."""
        self.steps += 1
        self.features[photos] = features.detach()
        self.stamps[photos] = self.steps

    def transport(self, frozen: Float32) -> tuple[Float32, Float32] | None:
        """The affine map that takes the frozen tower's features to the remembered ones, by ridge regression towards
        the identity.

        Args:
            frozen: Float32[photos, width], features of the frozen tower.

        Returns:
            Matrix Float32[width, width] and offset Float32[width]: tuned ≈ frozen · matrix + offset. None while fewer
            photographs are remembered than features have dimensions.
        """
        seen = np.flatnonzero(self.stamps.numpy() > 0)
        if len(seen) < self.features.shape[1]:
            return None
        return fit_transport(np.asarray(frozen[seen], np.float32), self.features[torch.from_numpy(seen)].numpy())


def fit_transport(source: Float32, target: Float32) -> tuple[Float32, Float32]:
    """Affine map from `source` to `target`, both Float32[n, width], by ridge regression towards the identity."""
    mean_source, mean_target = source.mean(0), target.mean(0)
    x = torch.from_numpy(source - mean_source)
    y = torch.from_numpy(target - mean_target)
    gram = x.T @ x
    gram += _RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    matrix = (torch.eye(len(gram)) + torch.linalg.solve(gram, x.T @ (y - x))).numpy()
    return np.asarray(matrix, np.float32), np.asarray(mean_target - mean_source @ matrix, np.float32)
