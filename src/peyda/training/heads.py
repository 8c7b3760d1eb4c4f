"""Projection heads and the contrastive loss.

The loss is CLIP's (Radford et al. 2021, https://arxiv.org/abs/2103.00020) with label smoothing, and with every pair of
the same label as a positive (supervised contrastive, Khosla et al. 2020, https://arxiv.org/abs/2004.11362), so that
two photographs of one class, or one caption drawn twice, are not pushed apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

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


class JoinedHead(nn.Module):
    """Several heads behind one tower as one: their unit rows side by side, turned into fewer dimensions.

    The dot product of two such rows is about the mean of the heads' own cosines: an ensemble that costs a search no
    more than one head does, since all heads together are small beside the tower.

    Args:
        heads: Of one dimension each.
        turn: Float32[heads · dim, dim], orthonormal columns, the least important first.
    """

    turn: Tensor
    correction: HubCorrection | ConstantColumn | None = None
    """What the first, least important column makes room for."""

    def __init__(self, heads: Sequence[ProjectionHead], turn: Tensor) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.register_buffer("turn", turn)

    def side_by_side(self, features: Tensor) -> Tensor:
        """Features to the heads' unit rows, Float32[b, heads · dim]."""
        return torch.cat([head(features) for head in self.heads], dim=-1)

    def forward(self, features: Tensor) -> Tensor:
        """Features to unit rows."""
        rows = F.normalize(self.side_by_side(features) @ self.turn, dim=-1)
        if self.correction is None:
            return rows
        return F.normalize(torch.cat([self.correction.column(rows), rows[:, 1:]], dim=-1), dim=-1)


@dataclass(frozen=True)
class HubCorrection:
    """One column of an embedding that says how near the row is to texts in general, so that dot products with it
    subtract that from the score.

    Some photographs are near to every query (hubness, Radovanović et al. 2010, https://jmlr.org/papers/v11/radovanovic10a.html)
    and push out those that were meant. Subtracting their soft nearness to a bank of queries is the inverted softmax
    (Smith et al. 2017, https://arxiv.org/abs/1702.03859), here part of the embedding, so that any index of dot products
    does it.

    Attributes:
        bank: Float32[n, dim], unit rows of training texts.
        sharpness: Of the soft maximum.
        gain: Weight of the column.
        centre: Nearness at which the column is 0.
    """

    bank: Tensor
    sharpness: float
    gain: float
    centre: float

    def nearness(self, rows: Tensor) -> Tensor:
        """Soft maximum of cosines to the bank: Float32[b, 1]."""
        near = torch.logsumexp(self.sharpness * rows @ self.bank.T, dim=-1, keepdim=True)
        return (near - math.log(len(self.bank))) / self.sharpness

    def column(self, rows: Tensor) -> Tensor:
        """Float32[b, 1] of unit rows Float32[b, dim]."""
        return self.gain * (self.centre - self.nearness(rows))

    def weights(self) -> dict[str, Tensor]:
        """By the names that `peyda.encoders.onnx_parts.add_head` knows them by, without "head."."""
        return {"hubs.nearness": torch.tensor([self.gain, self.centre, self.sharpness]), "hubs.bank": self.bank}


@dataclass(frozen=True)
class ConstantColumn:
    """What stands in every text's embedding where an image's has the column of `HubCorrection`."""

    value: float

    def column(self, rows: Tensor) -> Tensor:
        """Float32[b, 1] of rows Float32[b, dim]."""
        return torch.full_like(rows[:, :1], self.value)

    def weights(self) -> dict[str, Tensor]:
        """As `HubCorrection.weights`."""
        return {"hubs.constant": torch.tensor([self.value])}


class JoinedHeads(nn.Module):
    """What `join_heads` makes of several trained pairs of heads; no longer trained."""

    def __init__(self, image: JoinedHead, text: JoinedHead) -> None:
        super().__init__()
        self.image, self.text = image, text


@torch.no_grad()
def join_heads(pairs: Sequence[DualHeads], image_features: Tensor, text_features: Tensor) -> JoinedHeads:
    """Join pairs of heads on the same features.

    The turn keeps the directions in which the joined embeddings of these features vary most, photographs and texts
    weighing alike (the leading eigenvectors of their second moments), so that cosines change little.

    Args:
        pairs: At least one pair.
        image_features: Float32[n, …], of training photographs.
        text_features: Float32[m, …], of training texts.
    """
    sides = [JoinedHead([getattr(pair, side) for pair in pairs], torch.empty(0)).eval() for side in ("image", "text")]
    moments: list[Tensor] = []
    for side, features in zip(sides, (image_features, text_features), strict=True):
        rows = side.side_by_side(features)
        moments.append(rows.T @ rows / len(rows))
    dim = moments[0].shape[0] // len(pairs)
    turn = torch.linalg.eigh(moments[0] + moments[1]).eigenvectors[:, -dim:].contiguous()
    for side in sides:
        side.turn = turn
    return JoinedHeads(*sides)


_TEXT_COLUMN = 0.25


@torch.no_grad()
def correct_hubs(joined: JoinedHeads, image_features: Tensor, bank: Tensor, *, share: float, sharpness: float) -> None:
    """Let scores of `joined` be less of what an image has in common with every text (`HubCorrection`).

    Args:
        joined: Changed in place.
        image_features: Float32[n, …], of training photographs: their nearness on average costs nothing.
        bank: Float32[m, …], features of training texts.
        share: How much of the nearness is subtracted.
        sharpness: Of the soft maximum over the bank.
    """
    bare = HubCorrection(joined.text(bank), sharpness, share / _TEXT_COLUMN, 0.0)
    centre = float(bare.nearness(joined.image(image_features)).mean())
    joined.image.correction = replace(bare, centre=centre)
    joined.text.correction = ConstantColumn(_TEXT_COLUMN)


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
