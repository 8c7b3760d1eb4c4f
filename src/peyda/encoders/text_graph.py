"""A BERT-like text tower as a small, fused ONNX graph with block-quantised weights.

torch's own export of this tower has 900 nodes, and the graph's overhead then costs as much as its arithmetic for a
query of ten tokens. Here each layer is seven nodes: ONNX Runtime's contrib operators `MatMulNBits`,
`MultiHeadAttention`, `SkipLayerNormalization` and `BiasGelu`
(https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md).

Weights are quantised in blocks of 32 along the input with one float scale each, which holds weights that come from a
4-bit file in such blocks without any loss; activations are quantised per row and block, so a row's embedding does not
depend on what else is in the batch (dynamic int8 `MatMulInteger` takes one scale for the whole batch: measured
differences of 0.06 in a unit vector). Needs the package `onnx`, which the extra `peyda[train]` brings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from peyda.encoders.onnx_parts import BLOCK, CONTRIB, OPSETS, GraphParts, add_head, head_dim, quantize_blocks
from peyda.types import Float32


@dataclass(frozen=True)
class TextGraphConfig:
    """What the graph needs to know beside the weights."""

    heads: int
    layers: int
    pad_id: int
    context_length: int
    layer_norm_eps: float = 1e-12
    tower_bits: int = 4
    head_bits: int = 8
    pooled: tuple[int, ...] = ()
    """Layers whose states are averaged over the tokens (0 is the embedding layer); none for the last alone."""


def build_text_graph(config: TextGraphConfig, weights: Mapping[str, Float32]) -> onnx.ModelProto:
    """The tower and its projection head: `text` Int32[batch, tokens] → `embedding` Float32[batch, dim].

    Args:
        config: Shape and quantisation.
        weights: By name: `word` [pieces, h], `position` [context, h], `norm.{weight,bias}`; for each layer n
            `layers.n.{q,k,v,ao,fi,fo,aln,oln}.{weight,bias}`; and the head's as `add_head`
            takes them. Where several layers are pooled, also `pooled.{mean,factor}` [width].
    """
    g = GraphParts()
    x, mask = add_text_tower(g, config, weights)
    pooled = add_layer_pool(g, config, weights, mask) if len(config.pooled) > 1 else add_mean_pool(g, x, mask)
    add_head(g, weights, pooled, bits=config.head_bits)
    dim = head_dim(weights)
    graph = helper.make_graph(
        g.nodes,
        "text",
        [helper.make_tensor_value_info("text", TensorProto.INT32, ["batch", "tokens"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dim])],
        g.initializers,
    )
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=9, producer_name="peyda")


def add_text_tower(g: GraphParts, config: TextGraphConfig, weights: Mapping[str, Float32]) -> tuple[str, str]:
    """From `text` Int32[b, t] to the names of the token states Float32[b, t, h] and of the mask Int32[b, t].

    `weights` as `build_text_graph` takes them, without the head.
    """
    mask = _embed(g, config, weights)
    x = "embedded"
    for n in range(config.layers):
        x = _layer(g, config, weights, n, x, mask)
    return x, mask


def _embed(g: GraphParts, config: TextGraphConfig, weights: Mapping[str, Float32]) -> str:
    """Adds `embedded` [b, t, h]; returns the name of the Int32[b, t] mask."""
    word = weights["word"]
    q, scales = quantize_blocks(word, 8 if config.tower_bits == 8 else 4)
    if config.tower_bits == 4:  # unpack to signed 4-bit, which `GatherBlockQuantized` reads
        signed = np.stack([q & 15, q >> 4], -1).reshape(word.shape).astype(np.int8) - 8
        packed = (signed.reshape(-1)[0::2] & 15) | ((signed.reshape(-1)[1::2] & 15) << 4)
        tensor = helper.make_tensor("word.q", TensorProto.INT4, word.shape, packed.astype(np.uint8).tobytes(), raw=True)
    else:
        tensor = numpy_helper.from_array((q.reshape(word.shape).astype(np.int16) - 128).astype(np.int8), "word.q")
    g.initializers.append(tensor)
    g.const("word.scales", scales)
    if config.tower_bits == 4:
        attributes = {"block_size": BLOCK, "gather_axis": 0, "quantize_axis": 1}
        g.node("GatherBlockQuantized", ["word.q", "text", "word.scales"], "word.out", CONTRIB, **attributes)
    else:
        g.const("split", np.asarray([0, 0, -1, BLOCK], np.int64))
        g.const("join", np.asarray([0, 0, word.shape[1]], np.int64))
        g.const("last", np.asarray([-1], np.int64))
        g.node("Gather", ["word.q", "text"], "word.rows")
        g.node("Cast", ["word.rows"], "word.float", to=TensorProto.FLOAT)
        g.node("Reshape", ["word.float", "split"], "word.blocks")
        g.node("Gather", ["word.scales", "text"], "word.row_scales")
        g.node("Unsqueeze", ["word.row_scales", "last"], "word.block_scales")
        g.node("Mul", ["word.blocks", "word.block_scales"], "word.scaled")
        g.node("Reshape", ["word.scaled", "join"], "word.out")
    g.const("pad", np.asarray(config.pad_id, np.int32))
    g.node("Equal", ["text", "pad"], "is_pad")
    g.node("Not", ["is_pad"], "is_token")
    g.node("Cast", ["is_token"], "mask", to=TensorProto.INT32)
    g.node("Shape", ["text"], "tokens", start=1, end=2)
    g.const("zero", np.asarray([0], np.int64))
    g.const("position", weights["position"][: config.context_length])
    g.node("Slice", ["position", "zero", "tokens", "zero"], "positions")
    g.node("Add", ["word.out", "positions"], "summed")
    norm = ["summed", g.const("norm.weight", weights["norm.weight"]), g.const("norm.bias", weights["norm.bias"])]
    g.node("LayerNormalization", norm, "embedded", epsilon=config.layer_norm_eps, axis=-1)
    return "mask"


def _layer(g: GraphParts, config: TextGraphConfig, weights: Mapping[str, Float32], n: int, x: str, mask: str) -> str:
    def w(part: str) -> Float32:
        return weights[f"layers.{n}.{part}"]

    name = f"layers.{n}"
    qkv = g.linear(x, f"{name}.qkv", np.concatenate([w(f"{p}.weight") for p in "qkv"]), config.tower_bits)
    parts = [f"{name}.{p}" for p in "qkv"]
    g.nodes.append(helper.make_node("Split", [qkv], parts, name=f"{name}.split", axis=-1, num_outputs=3))
    bias = g.const(f"{name}.qkv.bias", np.concatenate([w(f"{p}.bias") for p in "qkv"]))
    attended = g.node("MultiHeadAttention", [*parts, bias, mask], f"{name}.attended", CONTRIB, num_heads=config.heads)
    out = g.linear(attended, f"{name}.ao", w("ao.weight"), config.tower_bits)

    def skip_norm(y: str, norm: str, source: str, residual: str) -> str:
        inputs = [y, residual, g.const(f"{name}.{norm}.weight", w(f"{norm}.weight"))]
        inputs += [
            g.const(f"{name}.{norm}.bias", w(f"{norm}.bias")),
            g.const(f"{name}.{source}.bias", w(f"{source}.bias")),
        ]
        return g.node("SkipLayerNormalization", inputs, f"{name}.{norm}", CONTRIB, epsilon=config.layer_norm_eps)

    middle = skip_norm(out, "aln", "ao", x)
    wide = g.linear(middle, f"{name}.fi", w("fi.weight"), config.tower_bits)
    active = g.node("BiasGelu", [wide, g.const(f"{name}.fi.bias", w("fi.bias"))], f"{name}.active", CONTRIB)
    return skip_norm(g.linear(active, f"{name}.fo", w("fo.weight"), config.tower_bits), "oln", "fo", middle)


def add_layer_pool(g: GraphParts, config: TextGraphConfig, weights: Mapping[str, Float32], mask: str) -> str:
    """Of the states of the layers in `config.pooled`: their means over the tokens, the last one's first token and
    maximum, brought to one scale: Float32[b, (layers + 2) · h] (`peyda.training.text_pooling`).
    """
    states = ["embedded" if n == 0 else f"layers.{n - 1}.oln" for n in config.pooled]
    means = add_mean_pool(g, g.node("Concat", states, "states", axis=-1), mask)
    row = g.node("Gather", [states[-1], g.const("first", np.asarray([0], np.int64))], "pooled.first_row", axis=1)
    first = g.node("Squeeze", [row, "axis_tokens"], "pooled.first")
    token = g.node("Unsqueeze", ["is_token", "axis_last"], "is_token.column")
    g.const("lowest", np.asarray(-1e4, np.float32))
    kept = g.node("Where", [token, states[-1], "lowest"], "pooled.kept")
    largest = g.node("ReduceMax", [kept, "axis_tokens"], "pooled.maximum", keepdims=0)
    side_by_side = g.node("Concat", [means, first, largest], "pooled.raw", axis=-1)
    shifted = g.node("Sub", [side_by_side, g.const("pooled.mean", weights["pooled.mean"])], "pooled.shifted")
    return g.node("Mul", [shifted, g.const("pooled.factor", weights["pooled.factor"])], "pooled.scaled")


def add_mean_pool(g: GraphParts, x: str, mask: str) -> str:
    """The mean of the token states that the mask keeps: Float32[b, h]."""
    g.const("axis_last", np.asarray([2], np.int64))
    g.const("axis_tokens", np.asarray([1], np.int64))
    g.node("Cast", [mask], "mask.float", to=TensorProto.FLOAT)
    g.node("Unsqueeze", ["mask.float", "axis_last"], "mask.column")
    g.node("Mul", [x, "mask.column"], "kept")
    g.node("ReduceSum", ["kept", "axis_tokens"], "total", keepdims=0)
    g.node("ReduceSum", ["mask.float", "axis_tokens"], "count", keepdims=1)
    return g.node("Div", ["total", "count"], "pooled")
