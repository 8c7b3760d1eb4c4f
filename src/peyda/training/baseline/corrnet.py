"""CorrNet as a torch module, and its loss.

Chandar, Khapra, Larochelle & Ravindran 2016, "Correlational Neural Networks", https://arxiv.org/abs/1504.07225: one
code h(x, y) = f(Wx + Vy + b) of two views, each of which may be absent (its term is then 0). The code must rebuild both
views from both, from x alone and from y alone, and the codes of x alone and of y alone must correlate, coordinate by
coordinate, over the batch. Decoder weights are the decoder's own (not tied).

Two things that the paper leaves open. Views are standardised by their training statistics, so that a coordinate of
either counts the same in the reconstruction. And since correlation ignores the mean and the scale of every coordinate
but cosine similarity does not, an embedding is the code standardised by the training statistics of its own side.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from peyda.training.baseline.recipe import CorrNetRecipe

_TINY = 1e-8


@dataclass(frozen=True)
class Losses:
    """The four terms of a batch, scalars; `total` is what is minimised."""

    both: Tensor
    """Mean squared error of both views rebuilt from both: mean over the batch and coordinates, summed over views."""
    from_image: Tensor
    from_text: Tensor
    correlation: Tensor
    """Mean over the code's coordinates, -1 to 1."""
    weight: float

    @property
    def total(self) -> Tensor:
        """The reconstructions minus the weighted correlation."""
        return self.both + self.from_image + self.from_text - self.weight * self.correlation


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of each column of `a` with the same column of `b`, both Float32[n, d]: Float32[d].

    A column that does not vary correlates with nothing: 0.
    """
    a, b = a - a.mean(0), b - b.mean(0)
    spread = a.square().sum(0) * b.square().sum(0)
    return (a * b).sum(0) / (spread + _TINY).sqrt()


def _layers(sizes: list[int], *, last_bias: bool) -> nn.Sequential:
    parts: list[nn.Module] = []
    for n, (inputs, outputs) in enumerate(pairwise(sizes)):
        is_last = n == len(sizes) - 2
        parts.append(nn.Linear(inputs, outputs, bias=last_bias or not is_last))
        if not is_last:
            parts.append(nn.ReLU())
    return nn.Sequential(*parts)


class Standardize(nn.Module):
    """(x - mean) / std by statistics that are set once, not learned; a coordinate that never varies becomes 0."""

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def set_from(self, rows: Tensor) -> None:
        """Take the statistics of `rows` Float32[n, d]."""
        std, mean = torch.std_mean(rows.double(), 0, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def forward(self, x: Tensor) -> Tensor:
        """Standardised rows."""
        return (x - self.mean) / self.std


class CorrNet(nn.Module):
    """Image features Float32[b, image_dim] and caption vectors Float32[b, text_dim] into one code Float32[b, dim]."""

    def __init__(self, image_dim: int, text_dim: int, settings: CorrNetRecipe) -> None:
        super().__init__()
        between = [settings.hidden] if settings.hidden else []
        self.image_input = Standardize(image_dim)
        self.text_input = Standardize(text_dim)
        self.image_encoder = _layers([image_dim, *between, settings.dim], last_bias=False)
        self.text_encoder = _layers([text_dim, *between, settings.dim], last_bias=False)
        self.bias = nn.Parameter(torch.zeros(settings.dim))
        self.image_decoder = _layers([settings.dim, *between, image_dim], last_bias=True)
        self.text_decoder = _layers([settings.dim, *between, text_dim], last_bias=True)
        self.image_code = Standardize(settings.dim)
        self.text_code = Standardize(settings.dim)
        self.activation = settings.activation
        self.dropout = settings.dropout
        self.weight = settings.correlation

    def code(self, *terms: Tensor) -> Tensor:
        """The code of what the encoders made of the views that are there: Float32[b, dim]."""
        total = sum(terms, self.bias)
        if self.activation == "sigmoid":
            return total.sigmoid()
        return total.tanh() if self.activation == "tanh" else total

    def losses(self, images: Tensor, texts: Tensor) -> Losses:
        """The terms of the objective; row i of `texts` describes row i of `images`.

        Targets are the whole views; what the encoders read of them is thinned by dropout while training.
        """
        image, text = self.image_input(images), self.text_input(texts)
        image_term = self.image_encoder(F.dropout(image, self.dropout, self.training))
        text_term = self.text_encoder(F.dropout(text, self.dropout, self.training))
        codes = (self.code(image_term, text_term), self.code(image_term), self.code(text_term))

        def error(code: Tensor) -> Tensor:
            return F.mse_loss(self.image_decoder(code), image) + F.mse_loss(self.text_decoder(code), text)

        agreement = correlation(codes[1], codes[2]).mean()
        return Losses(error(codes[0]), error(codes[1]), error(codes[2]), agreement, self.weight)

    def set_code_statistics(self, images: Tensor, texts: Tensor) -> None:
        """Measure, over training rows, what `embed_images` and `embed_texts` standardise by."""
        self.image_code.set_from(self._image_code(images))
        self.text_code.set_from(self._text_code(texts))

    def embed_images(self, images: Tensor) -> Tensor:
        """Features to unit rows Float32[b, dim]."""
        return F.normalize(self.image_code(self._image_code(images)), dim=-1)

    def embed_texts(self, texts: Tensor) -> Tensor:
        """Caption vectors to unit rows Float32[b, dim]."""
        return F.normalize(self.text_code(self._text_code(texts)), dim=-1)

    def _image_code(self, images: Tensor) -> Tensor:
        return self.code(self.image_encoder(self.image_input(images)))

    def _text_code(self, texts: Tensor) -> Tensor:
        return self.code(self.text_encoder(self.text_input(texts)))
