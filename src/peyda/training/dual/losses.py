"""What a step minimises, as functions of embeddings: contrastive losses with several captions a photograph, and the
distances of text distillation.

InfoNCE is CLIP's (Radford et al. 2021, https://arxiv.org/abs/2103.00020), with every caption of a photograph as its
positive (Khosla et al. 2020, https://arxiv.org/abs/2004.11362: the mean over positives is outside the logarithm). The
sigmoid loss is SigLIP's (Zhai et al. 2023, https://arxiv.org/abs/2303.15343). Distillation is multilingual CLIP's
(Carlsson et al. 2022, https://aclanthology.org/2022.lrec-1.739/).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_SCALE = 100.0


def info_nce(
    images: Tensor, texts: Tensor, photo: Tensor, photo_of_text: Tensor, scale: Tensor, *, smoothing: float = 0.0
) -> Tensor:
    """Mean of both directions' cross-entropy.

    Args:
        images: Float32[b, d], unit rows.
        texts: Float32[t, d], unit rows.
        photo: Int64[b], the photograph of each image.
        photo_of_text: Int64[t], the photograph of each text.
        scale: The temperature's inverse.
        smoothing: Label smoothing, 0 to 1.
    """
    logits = scale * images @ texts.T  # (b, t)
    positive = (photo[:, None] == photo_of_text[None, :]).to(logits.dtype)
    return (_cross_entropy(logits, positive, smoothing) + _cross_entropy(logits.T, positive.T, smoothing)) / 2


def _cross_entropy(logits: Tensor, positive: Tensor, smoothing: float) -> Tensor:
    """Mean over rows that have a positive; a row's target is spread evenly over its positives."""
    count = positive.sum(1)
    target = positive / count.clamp(min=1)[:, None]
    target = target * (1 - smoothing) + smoothing / logits.shape[1]
    losses = -(target * logits.log_softmax(1)).sum(1)
    has_positive = (count > 0).to(losses.dtype)
    return (losses * has_positive).sum() / has_positive.sum().clamp(min=1)


def sigmoid_loss(
    images: Tensor, texts: Tensor, photo: Tensor, photo_of_text: Tensor, scale: Tensor, bias: Tensor
) -> Tensor:
    """Every pair on its own: does this text belong to this image? The sum over pairs, divided by the texts.

    Args:
        images: Float32[b, d], unit rows.
        texts: Float32[t, d], unit rows.
        photo: Int64[b], the photograph of each image.
        photo_of_text: Int64[t], the photograph of each text.
        scale: The temperature's inverse.
        bias: Added to every logit; starts low, since nearly all pairs do not belong together.
    """
    logits = scale * images @ texts.T + bias
    signs = torch.where(photo[:, None] == photo_of_text[None, :], 1.0, -1.0).to(logits.dtype)
    return -F.logsigmoid(signs * logits).sum() / len(texts)


def mean_squared_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over rows and coordinates of (student − √d · teacher)².

    The factor makes the teacher's coordinates about 1 in size, which is what a fresh head gives.

    Args:
        student: Float32[n, d], of any length.
        teacher: Float32[n, d], unit rows.
    """
    return (student - student.shape[1] ** 0.5 * teacher).square().mean()


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over rows of 1 − cos(student, teacher).

    Args:
        student: Float32[n, d], of any length.
        teacher: Float32[n, d], unit rows.
    """
    return 1 - F.cosine_similarity(student, teacher, dim=1).mean()
