"""Projection heads and the contrastive loss.

The loss is CLIP's (Radford et al. 2021, https://arxiv.org/abs/2103.00020) with label smoothing, and with every pair of
the same label as a positive (supervised contrastive, Khosla et al. 2020, https://arxiv.org/abs/2004.11362), so that
two photographs of one class, or one caption drawn twice, are not pushed apart.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ProjectionHead(nn.Module):
    """Features Float32[b, inputs] to embeddings Float32[b, dim], L2-normalised: linear plus a small MLP beside it."""

    def __init__(self, inputs: int, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.linear = nn.Linear(inputs, dim)
        self.mlp = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(inputs, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features to unit rows."""
        x = self.norm(features)
        return F.normalize(self.linear(x) + self.mlp(x), dim=-1)


class DualHeads(nn.Module):
    """Both heads and the temperature: everything that is trained while the towers are frozen."""

    def __init__(
        self, image_inputs: int, text_inputs: int, dim: int, hidden: int, dropout: float, scale: float = 10.0
    ) -> None:
        super().__init__()
        self.image = ProjectionHead(image_inputs, dim, hidden, dropout)
        self.text = ProjectionHead(text_inputs, dim, hidden, dropout)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(scale)))

    @property
    def scale(self) -> Tensor:
        """exp(logit_scale), at most 100 as in CLIP."""
        return self.logit_scale.clamp(max=math.log(100.0)).exp()


def contrastive_loss(
    images: Tensor, texts: Tensor, labels: Tensor, scale: Tensor, smoothing: float, text_ids: Tensor | None = None
) -> Tensor:
    """Mean of both directions' cross-entropy.

    Args:
        images: Float32[b, d], unit rows.
        texts: Float32[b, d], unit rows; row i describes image i.
        labels: Int64[b]; rows with one label are positives of each other.
        scale: The temperature's inverse.
        smoothing: Label smoothing, 0 to 1.
        text_ids: Int64[b], where given: rows with one text are positives of each other too.
    """
    logits = scale * images @ texts.T  # (b, b)
    same = labels[:, None] == labels[None, :]
    if text_ids is not None:
        same = same | (text_ids[:, None] == text_ids[None, :])
    positive = same.to(logits.dtype)
    target = positive / positive.sum(1, keepdim=True)
    target = target * (1 - smoothing) + smoothing / len(labels)
    loss_images = -(target * logits.log_softmax(1)).sum(1).mean()
    loss_texts = -(target * logits.T.log_softmax(1)).sum(1).mean()
    return (loss_images + loss_texts) / 2
