"""The translator as a torch module: the first layers of multilingual-e5-small, and a small decoder of our own.

The decoder is a pre-norm transformer (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; pre-norm: Xiong et al.
2020, https://arxiv.org/abs/2002.04745) whose output layer is its word table. What a pair is worth is told by the piece
that a translation begins with: `<s>` for native renderings, `</s>` for machine-made ones. So everything is learned
from, and the translator always starts with `<s>`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from peyda.training.e5 import TextTransformer
from peyda.training.precision import autocast


class DecoderLayer(nn.Module):
    """Self-attention, attention to the source, feed-forward; each behind a layer norm."""

    def __init__(self, hidden: int, heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.n1, self.n2, self.n3 = (nn.LayerNorm(hidden) for _ in range(3))
        self.qkv, self.o = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.cq, self.ckv = nn.Linear(hidden, hidden), nn.Linear(hidden, 2 * hidden)
        self.co = nn.Linear(hidden, hidden)
        self.fi, self.fo = nn.Linear(hidden, ffn), nn.Linear(ffn, hidden)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)  # (B, heads, T, head)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)

    def forward(self, x: Tensor, states: Tensor, bias: Tensor) -> Tensor:
        """`x` Float32[b, t, h], `states` Float32[b, s, h], `bias` Float32[b, 1, 1, s] → Float32[b, t, h]."""
        q, k, v = (self._split(part) for part in self.qkv(self.n1(x)).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self._drop(self.o(mixed.transpose(1, 2).flatten(2)))
        q = self._split(self.cq(self.n2(x)))
        k, v = (self._split(part) for part in self.ckv(states).chunk(2, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        x = x + self._drop(self.co(mixed.transpose(1, 2).flatten(2)))
        return x + self._drop(self.fo(F.relu(self.fi(self.n3(x)))))


class TranslatorModel(nn.Module):
    """Encoder and decoder."""

    def __init__(
        self, encoder: TextTransformer, pieces: int, *, layers: int, ffn: int, limit: int, dropout: float
    ) -> None:
        super().__init__()
        hidden = encoder.config.hidden
        self.dropout = dropout
        self.encoder = encoder
        self.word = nn.Embedding(pieces, hidden)
        nn.init.normal_(self.word.weight, std=hidden**-0.5)
        self.layers = nn.ModuleList(DecoderLayer(hidden, encoder.config.heads, ffn, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.out_bias = nn.Parameter(torch.zeros(pieces))
        self.register_buffer("position", sinusoids(limit, hidden), persistent=False)

    def encode(self, source: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """`source`, `mask` Int64[b, s] → states Float32[b, s, h] and the bias that hides padding."""
        states = F.dropout(self.encoder.states(source, mask), self.dropout, self.training)
        return states, (mask.to(states.dtype)[:, None, None, :] - 1) * 1e4

    def decode(self, target: Tensor, states: Tensor, bias: Tensor) -> Tensor:
        """`target` Int64[b, t] (beginning with the start) → states of the next pieces Float32[b, t, h]."""
        x = self.word(target) * math.sqrt(self.word.embedding_dim) + self.position[: target.shape[1]]
        x = F.dropout(x, self.dropout, self.training)
        for layer in self.layers:
            x = layer(x, states, bias)
        y: Tensor = self.norm(x)
        return y

    def logits(self, states: Tensor) -> Tensor:
        """Float32[…, h] → Float32[…, pieces]."""
        return F.linear(states, self.word.weight, self.out_bias)


def sinusoids(length: int, hidden: int) -> Tensor:
    """Float32[length, hidden], as in Vaswani et al."""
    angle = torch.arange(length)[:, None] * torch.exp(torch.arange(0, hidden, 2) * (-math.log(10_000.0) / hidden))
    out = torch.zeros(length, hidden)
    out[:, 0::2], out[:, 1::2] = angle.sin(), angle.cos()
    return out


@torch.inference_mode()
def greedy(
    model: TranslatorModel, source: Tensor, mask: Tensor, *, start: int, end: int, limit: int
) -> list[list[int]]:
    """The likeliest piece at each place: quick translations to choose a checkpoint by."""
    model.eval()
    with autocast():
        states, bias = model.encode(source, mask)
        target = torch.full((len(source), 1), start)
        done = torch.zeros(len(source), dtype=torch.bool)
        for _ in range(limit - 1):
            best = model.logits(model.decode(target, states, bias)[:, -1]).argmax(-1)
            best[done] = end
            target = torch.cat([target, best[:, None]], 1)
            done |= best == end
            if bool(done.all()):
                break
    return [row[1 : row.index(end, 1) if end in row[1:] else None] for row in target.tolist()]
