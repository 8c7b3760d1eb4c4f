"""Pieces that our hand-made ONNX graphs share: block-quantised linear layers and the projection head.

Operators of the domain `com.microsoft` are ONNX Runtime's own
(https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md). Needs the package `onnx`, which the extra
`peyda[train]` brings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from peyda.types import Float32

BLOCK = 32
CONTRIB = "com.microsoft"
OPSETS = (helper.make_opsetid("", 20), helper.make_opsetid(CONTRIB, 1))


@dataclass
class GraphParts:
    """Nodes and initialisers under construction."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def const(self, name: str, value: npt.NDArray[np.generic]) -> str:
        """Add a constant; returns its name."""
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op: str, inputs: list[str], output: str, domain: str = "", **attributes: object) -> str:
        """Add a node with one output; returns the output."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def linear(self, x: str, name: str, weight: Float32, bits: int) -> str:
        """`x @ weight.T` with `weight` Float32[outputs, inputs] block-quantised; no bias."""
        outputs, inputs = weight.shape
        packed, scales = quantize_blocks(weight, bits)
        names = [x, self.const(f"{name}.q", packed), self.const(f"{name}.scales", scales.reshape(-1))]
        attributes = {"K": inputs, "N": outputs, "bits": bits, "block_size": BLOCK, "accuracy_level": 4}
        return self.node("MatMulNBits", names, f"{name}.out", CONTRIB, **attributes)


def quantize_blocks(weight: Float32, bits: int) -> tuple[npt.NDArray[np.uint8], Float32]:
    """Symmetric round-to-nearest in blocks of 32 along the input, as `MatMulNBits` stores it.

    The scale is chosen so that the entry of largest magnitude maps to −2^(bits−1) exactly (ggml's Q4_0 rule), which
    reproduces weights that were quantised that way before. For 8 bits both that scale and a Q4_0 one fit.

    Args:
        weight: Float32[outputs, inputs]; inputs a multiple of 32.
        bits: 4 or 8.

    Returns:
        UInt8[outputs, blocks, 32 · bits / 8] and scales Float32[outputs, blocks].
    """
    outputs, inputs = weight.shape
    if inputs % BLOCK or bits not in (4, 8):
        raise ValueError(f"cannot block-quantise {weight.shape} to {bits} bits")
    blocks = weight.reshape(outputs, inputs // BLOCK, BLOCK)
    half = 1 << (bits - 1)
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], -1)[..., 0]
    scales = (extreme / -half).astype(np.float32)
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    q = np.clip(np.rint(blocks * inverse[..., None]) + half, 0, 2 * half - 1).astype(np.uint8)
    if bits == 4:
        q = q[..., 0::2] | (q[..., 1::2] << 4)
    return q, scales


def add_head(g: GraphParts, weights: Mapping[str, Float32], features: str, *, bits: int = 8) -> None:
    """From `features` Float32[b, inputs] to the unit rows `embedding` Float32[b, dim].

    Weights by name: `head.norm.{weight,bias}`, `head.linear.…`, `head.mlp.1.…`, `head.mlp.4.…`
    (`peyda.training.heads.ProjectionHead`); or those of several joined heads, `head.N.norm.…` and so on, and
    `head.turn` Float32[heads · dim, dim] (`JoinedHead`); with them, where hubs are corrected (`HubCorrection`),
    of images `head.hubs.nearness` Float32[3] (gain, centre, sharpness) and `head.hubs.bank` Float32[n, dim], of texts
    `head.hubs.constant` Float32[1].
    """
    if "head.turn" not in weights:
        _unit_rows(g, _one_head(g, weights, features, "head", bits), "embedding")
        return
    turn = weights["head.turn"]
    members = sorted({int(found[1]) for name in weights if (found := re.match(r"head\.(\d+)\.", name))})
    rows = [_unit_rows(g, _one_head(g, weights, features, f"head.{n}", bits), f"head.{n}.embedding") for n in members]
    g.node("Concat", rows, "head.joined", axis=-1)
    turned = g.linear("head.joined", "head.turn", np.ascontiguousarray(turn.T), bits)
    if not any(name.startswith("head.hubs.") for name in weights):
        _unit_rows(g, turned, "embedding")
        return
    whole = _unit_rows(g, turned, "head.rows")
    for name, place in (("second", 1), ("end", turn.shape[1])):
        g.const(name, np.asarray([place], np.int64))
    rest = g.node("Slice", [whole, "second", "end", "norm_axis"], "head.rest")
    if "head.hubs.constant" in weights:
        g.const("hubs.pads", np.asarray([0, 1, 0, 0], np.int64))
        g.initializers.append(numpy_helper.from_array(np.asarray(weights["head.hubs.constant"][0]), "hubs.constant"))
        corrected = g.node("Pad", [rest, "hubs.pads", "hubs.constant"], "head.corrected")
    else:
        corrected = g.node("Concat", [_hub_column(g, weights, whole, bits), rest], "head.corrected", axis=-1)
    _unit_rows(g, corrected, "embedding")


def _hub_column(g: GraphParts, weights: Mapping[str, Float32], rows: str, bits: int) -> str:
    """The `column` of `peyda.training.heads.HubCorrection`, of unit rows."""
    gain, centre, sharpness = (float(value) for value in weights["head.hubs.nearness"])
    bank = weights["head.hubs.bank"]
    g.const("hubs.sharpness", np.asarray(sharpness, np.float32))
    logits = g.node("Mul", [g.linear(rows, "hubs.bank", bank, bits), "hubs.sharpness"], "hubs.logits")
    near = g.node("ReduceLogSumExp", [logits, "norm_axis"], "hubs.near", keepdims=1)
    # gain · (centre − (near − log n) / sharpness), as one scale and one shift.
    scale = g.const("hubs.scale", np.asarray(-gain / sharpness, np.float32))
    shift = g.const("hubs.shift", np.asarray(gain * (centre + math.log(len(bank)) / sharpness), np.float32))
    return g.node("Add", [g.node("Mul", [near, scale], "hubs.scaled"), shift], "hubs.column")


def head_dim(weights: Mapping[str, Float32]) -> int:
    """Length of the embedding that `add_head` gives with these weights."""
    return int(weights["head.turn"].shape[1] if "head.turn" in weights else len(weights["head.linear.bias"]))


def _one_head(g: GraphParts, weights: Mapping[str, Float32], features: str, name: str, bits: int) -> str:
    def biased(x: str, part: str, output: str) -> str:
        product = g.linear(x, f"{name}.{part}", weights[f"{name}.{part}.weight"], bits)
        return g.node("Add", [product, g.const(f"{name}.{part}.bias", weights[f"{name}.{part}.bias"])], output)

    norm = [features, g.const(f"{name}.norm.weight", weights[f"{name}.norm.weight"])]
    norm.append(g.const(f"{name}.norm.bias", weights[f"{name}.norm.bias"]))
    x = g.node("LayerNormalization", norm, f"{name}.normed", epsilon=1e-5, axis=-1)
    direct = biased(x, "linear", f"{name}.direct")
    hidden = g.node("Gelu", [biased(x, "mlp.1", f"{name}.wide")], f"{name}.hidden")
    return g.node("Add", [direct, biased(hidden, "mlp.4", f"{name}.deep")], f"{name}.projected")


def _unit_rows(g: GraphParts, x: str, output: str) -> str:
    if not any(one.name == "norm_axis" for one in g.initializers):
        g.const("norm_axis", np.asarray([-1], np.int64))
        g.const("tiny", np.asarray(1e-12, np.float32))
    g.node("ReduceL2", [x, "norm_axis"], f"{output}.length", keepdims=1)
    g.node("Max", [f"{output}.length", "tiny"], f"{output}.safe")
    return g.node("Div", [x, f"{output}.safe"], output)
