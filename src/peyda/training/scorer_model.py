"""The scorer as a torch module: a shortened e5 tower, a projection head, and the loss that both are tuned by.

The loss has two parts. The contrastive one (InfoNCE, van den Oord et al. 2018, https://arxiv.org/abs/1807.03748) picks
each English caption's Persian one among the batch and its damaged forms, and the other way round. The other is a
logistic loss on the cosine itself, true pairs against damaged ones, with one bias for all pairs: a score is compared
between captions, so it must mean the same for each of them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from peyda.training.e5 import TextTransformer
from peyda.training.heads import ProjectionHead


class ScorerModel(nn.Module):
    """Token ids to unit rows; begins as the tower's own normalised mean."""

    def __init__(self, tower: TextTransformer, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.tower = tower
        self.head = ProjectionHead(tower.config.hidden, dim, hidden, dropout)
        with torch.no_grad():
            nn.init.eye_(self.head.linear.weight)
            self.head.linear.bias.zero_()
            last = self.head.mlp[-1]
            last.weight.mul_(0.1)
            last.bias.zero_()
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))
        self.slope = nn.Parameter(torch.tensor(10.0))
        self.middle = nn.Parameter(torch.tensor(0.5))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Int64[b, t] twice to Float32[b, dim], L2-normalised."""
        rows: Tensor = self.head(self.tower(ids, mask).float())
        return rows


def scorer_loss(model: ScorerModel, english: Tensor, persian: Tensor, damaged: Tensor, is_damaged: Tensor) -> Tensor:
    """See the module.

    Args:
        model: Holds the temperature, the slope and the middle.
        english: Float32[b, d], unit rows.
        persian: Float32[b, d]; row i renders row i of `english`.
        damaged: Float32[b, n, d]: damaged forms of row i.
        is_damaged: Bool[b, n]: whether there is such a form.
    """
    scale = model.log_scale.clamp(max=math.log(100.0)).exp()
    target = torch.arange(len(english))
    among = english @ persian.T  # (b, b)
    own = (english[:, None] * damaged).sum(-1)  # (b, n)
    logits = torch.cat([among, own.masked_fill(~is_damaged, -1e4)], 1)
    contrast = F.cross_entropy(scale * logits, target) + F.cross_entropy(scale * among.T, target)
    hardest = among.masked_fill(torch.eye(len(english), dtype=torch.bool), -1.0).max(1).values  # (b,)
    cosines = torch.cat([among.diagonal(), own[is_damaged], hardest])
    labels = torch.zeros_like(cosines)
    labels[: len(english)] = 1
    # True pairs weigh as much as all others together.
    weights = torch.where(labels > 0, 0.5 / len(english), 0.5 / (len(cosines) - len(english)))
    logistic = F.binary_cross_entropy_with_logits(model.slope * (cosines - model.middle), labels, reduction="none")
    return contrast / 2 + 2 * (logistic * weights).sum()
