"""A tower in 8 bits: its linear layers and its word table.

Linear layers become those of `peyda.encoders.row_int8`: weights with one scale an output, activations with one scale a
row, so that a row's embedding does not depend on what else is in the batch. Rows of the word table have one scale each.
Convolutions, attention scores and norms stay in float.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from peyda.encoders.onnx_parts import CONTRIB
from peyda.encoders.row_int8 import RowInt8Parts, quantize_outputs
from peyda.types import Float32

_SMALLEST = 1024  # numbers in a weight; below it 8 bits save nothing and the extra nodes cost time
_SMALLEST_TABLE = 16_384


def quantize_tower(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with 8-bit weights; nodes that are not quantised are kept as they are."""
    graph = model.graph
    constants = {one.name: one for one in graph.initializer}
    constants |= {
        node.output[0]: node.attribute[0].t
        for node in graph.node
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value"
    }
    parts = RowInt8Parts()
    quantized: dict[str, tuple[str, str]] = {}
    for node in graph.node:
        if not (_linear(parts, node, constants, quantized) or _table(parts, node, constants, quantized)):
            parts.nodes.append(node)
    used = Counter(name for node in parts.nodes for name in node.input)
    used.update(one.name for one in graph.output)
    nodes = [node for node in parts.nodes if node.op_type != "Constant" or used[node.output[0]]]
    initializers = [one for one in graph.initializer if used[one.name]] + parts.initializers
    small = helper.make_graph(nodes, graph.name, graph.input, graph.output, initializers)
    opsets = [one for one in model.opset_import if one.domain != CONTRIB] + [helper.make_opsetid(CONTRIB, 1)]
    return helper.make_model(small, opset_imports=opsets, ir_version=model.ir_version, producer_name="peyda")


def _matrix(name: str, constants: dict[str, onnx.TensorProto], smallest: int) -> Float32 | None:
    tensor = constants.get(name)
    if tensor is None or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 2:
        return None
    if tensor.dims[0] * tensor.dims[1] < smallest:
        return None
    return np.asarray(numpy_helper.to_array(tensor), np.float32)


def _linear(
    parts: RowInt8Parts,
    node: onnx.NodeProto,
    constants: dict[str, onnx.TensorProto],
    quantized: dict[str, tuple[str, str]],
) -> bool:
    """Replace `x @ W` or `x @ W.T + b`; says whether it did."""
    if node.op_type not in ("MatMul", "Gemm"):
        return False
    settings = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    plain = not settings.get("transA") and settings.get("alpha", 1.0) == 1.0 and settings.get("beta", 1.0) == 1.0
    x, weight_name = node.input[0], node.input[1]
    weight = _matrix(weight_name, constants, _SMALLEST)
    if weight is None or not plain or x in constants:
        return False
    is_transposed = bool(settings.get("transB"))
    key = f"{weight_name}{'.T' if is_transposed else ''}"
    if key not in quantized:
        q, scales = quantize_outputs(weight if is_transposed else weight.T)
        quantized[key] = parts.const(f"{key}.q", q), parts.const(f"{key}.scales", scales)
    bias = node.input[2] if node.op_type == "Gemm" and len(node.input) > 2 and node.input[2] else ""
    prefix = node.output[0]
    product = parts.product(x, f"{prefix}.int8", *quantized[key])
    if bias:
        parts.node("Add", [product, bias], prefix)
    else:
        parts.nodes[-1].output[0] = parts.nodes[-1].name = prefix
    return True


def _table(
    parts: RowInt8Parts,
    node: onnx.NodeProto,
    constants: dict[str, onnx.TensorProto],
    quantized: dict[str, tuple[str, str]],
) -> bool:
    """Replace a look-up of rows; says whether it did."""
    if node.op_type != "Gather" or any(one.name == "axis" and one.i != 0 for one in node.attribute):
        return False
    name = node.input[0]
    table = _matrix(name, constants, _SMALLEST_TABLE)
    if table is None or node.input[1] in constants:
        return False
    if name not in quantized:
        scales = (np.maximum(np.abs(table).max(1, keepdims=True), 1e-12) / 127).astype(np.float32)
        rows = np.rint(table / scales).astype(np.int8)
        quantized[name] = parts.const(f"{name}.rows", rows), parts.const(f"{name}.row_scales", scales)
    rows_name, scales_name = quantized[name]
    prefix, at = node.output[0], node.input[1]
    parts.node("Gather", [rows_name, at], f"{prefix}.int8")
    parts.node("Gather", [scales_name, at], f"{prefix}.scale")
    parts.node("Cast", [f"{prefix}.int8"], f"{prefix}.float", to=TensorProto.FLOAT)
    parts.node("Mul", [f"{prefix}.float", f"{prefix}.scale"], prefix)
    return True
