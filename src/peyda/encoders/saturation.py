"""Weights of int8 convolutions that give the same result on every processor.

On x86 processors without VNNI (before 2019, many until 2022) ONNX Runtime multiplies UInt8 activations with Int8
weights by an instruction that adds two neighbouring products as a 16-bit number and stops at its end: `vpmaddubsw`
(https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html#when-and-why-do-i-need-to-try-u8u8).
Embeddings of one photograph then differ between machines, and are worse on the older one. Where two neighbouring
weights of one sign add up to no more than 128, no activation can get there. ONNX Runtime's own way out, 7-bit weights,
costs every output channel a bit; here each keeps what its own pairs allow. Needs the package `onnx`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

LIMIT = 128  # 255 · 128 < 2¹⁵ ≤ 255 · 129


def largest_pairs(weight: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Per output channel the largest sum of two weights of one sign that one instruction may add: Float64[outputs].

    Of a pointwise convolution those are input channels 2i and 2i + 1. Of a larger kernel the order in memory is not
    ours to know, so that any two count.

    Args:
        weight: [outputs, inputs, height, width].
    """
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    if weight.shape[2:] != (1, 1):
        return np.asarray(2 * np.abs(rows).max(1))
    rows = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
    sums = [np.maximum(side[:, 0::2], 0) + np.maximum(side[:, 1::2], 0) for side in (rows, -rows)]
    return np.asarray(np.maximum(*sums).max(1))


def shrink(weight: npt.NDArray[np.int8]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]]:
    """Weights whose pairs keep to `LIMIT`, and by how much each output channel's scale grows: Float64[outputs]."""
    factor = np.maximum(largest_pairs(weight) / LIMIT, 1)
    while True:
        small = np.rint(weight / factor.reshape(-1, 1, 1, 1))
        over = largest_pairs(small) > LIMIT  # rounding can push a pair up by one
        if not over.any():
            return small.astype(np.int8), factor
        factor[over] *= 1.004


def avoid_saturation(model: onnx.ModelProto) -> int:
    """Shrink the weights of every ungrouped convolution of a QDQ model, in place. Returns how many there were.

    Depthwise convolutions have a kernel of their own that widens first.
    """
    constants = {one.name: one for one in model.graph.initializer}
    made_by = {node.output[0]: node for node in model.graph.node}

    def read(name: str) -> npt.NDArray[np.generic]:
        return np.asarray(numpy_helper.to_array(constants[name]))

    def write(name: str, value: npt.NDArray[np.generic]) -> None:
        constants[name].CopyFrom(numpy_helper.from_array(value, name))

    count = 0
    for node in model.graph.node:
        source = made_by.get(node.input[1]) if node.op_type == "Conv" else None
        if source is None or source.op_type != "DequantizeLinear" or _groups(node) > 1:
            continue
        weight, scale = read(source.input[0]), read(source.input[1]).astype(np.float32)
        small, factor = shrink(weight.astype(np.int8))
        scale = (scale * factor.reshape(scale.shape)).astype(np.float32)
        write(source.input[0], small)
        write(source.input[1], scale)
        bias = made_by.get(node.input[2]) if len(node.input) > 2 else None
        if bias is not None:  # Int32 in units of activation scale · weight scale, without which nothing is fused
            unit = read(made_by[node.input[0]].input[1]).astype(np.float32) * scale
            value = read(bias.input[0]).astype(np.float64) * read(bias.input[1]).astype(np.float64)
            write(bias.input[0], np.rint(value / unit).astype(np.int32))
            write(bias.input[1], unit.astype(np.float32))
        count += 1
    return count


def _groups(node: onnx.NodeProto) -> int:
    return next((int(one.i) for one in node.attribute if one.name == "group"), 1)
