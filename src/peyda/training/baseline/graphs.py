"""CorrNet's two encoders as ONNX: behind the backbone for photographs, behind a table of words for texts.

The statistics that views and codes are standardised by are folded into the layers' weights. Only operators that mean
the same in every opset from 13 on are used, since the image encoder joins a graph of whatever opset its backbone has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from peyda.encoders.image_graph import FEATURES
from peyda.encoders.onnx_parts import OPSETS
from peyda.errors import ModelError
from peyda.training.baseline.corrnet import CorrNet, Standardize
from peyda.training.baseline.words import FIRST_WORD, WordVectors
from peyda.types import Float32

_OLDEST_OPSET = 13
_ACTIVATIONS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "identity": "Identity"}


@dataclass
class _Parts:
    """Nodes and constants under construction, named apart from those of the backbone."""

    prefix: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def const(self, name: str, value: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), f"{self.prefix}.{name}"))
        return f"{self.prefix}.{name}"

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=f"{self.prefix}.{output}", **attributes))
        return output


def image_graph(backbone: onnx.ModelProto, model: CorrNet) -> onnx.ModelProto:
    """`image` → `embedding`: the backbone's `features` go on through the image encoder. Changes `backbone`.

    Raises:
        ModelError: The backbone's opset is older than this graph can join.
    """
    versions = {one.domain: one.version for one in backbone.opset_import}
    opset = versions.get("", versions.get("ai.onnx", 0))
    if opset < _OLDEST_OPSET:
        raise ModelError(f"the image encoder's graph has opset {opset}; {_OLDEST_OPSET} is the oldest that can be used")
    parts = _Parts("corrnet")
    _add_encoder(parts, FEATURES, model, model.image_input, model.image_encoder, model.image_code)
    graph = backbone.graph
    graph.node.extend(parts.nodes)
    graph.initializer.extend(parts.initializers)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", _dim(model)]))
    backbone.producer_name = "peyda"
    return backbone


def text_graph(words: WordVectors, model: CorrNet) -> onnx.ModelProto:
    """`text` Int32[batch, tokens] → `embedding` Float32[batch, dim]: mean over known words, then the text encoder."""
    parts = _Parts("words")
    known = parts.const("last_special", np.asarray(FIRST_WORD - 1, np.int32))
    axis = parts.const("axis", np.asarray([1], np.int64))
    parts.node("Gather", [parts.const("table", words.table), "text"], "rows")  # zero for padding and unknown words
    parts.node("ReduceSum", ["rows", axis], "sum", keepdims=0)
    parts.node("Greater", ["text", known], "is_word")
    parts.node("Cast", ["is_word"], "mask", to=TensorProto.FLOAT)
    parts.node("ReduceSum", ["mask", axis], "found", keepdims=1)
    parts.node("Max", ["found", parts.const("one", np.asarray(1, np.float32))], "count")
    parts.node("Div", ["sum", "count"], "mean")
    _add_encoder(parts, "mean", model, model.text_input, model.text_encoder, model.text_code)
    graph = helper.make_graph(
        parts.nodes,
        "text",
        [helper.make_tensor_value_info("text", TensorProto.INT32, ["batch", "tokens"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", _dim(model)])],
        parts.initializers,
    )
    return helper.make_model(graph, opset_imports=OPSETS[:1], ir_version=9, producer_name="peyda")


def _dim(model: CorrNet) -> int:
    return len(model.bias)


def _add_encoder(
    parts: _Parts, x: str, model: CorrNet, view: Standardize, encoder: nn.Sequential, code: Standardize
) -> None:
    """From the view `x` Float32[b, inputs] to unit rows `embedding` Float32[b, dim]."""
    for n, (weight, bias) in enumerate(folded_layers(view, encoder, model.bias)):
        if n:
            x = parts.node("Relu", [x], f"corrnet.wide.{n}")
        product = parts.node("MatMul", [x, parts.const(f"weight.{n}", weight.T)], f"corrnet.product.{n}")
        x = parts.node("Add", [product, parts.const(f"bias.{n}", bias)], f"corrnet.sum.{n}")
    x = parts.node(_ACTIVATIONS[model.activation], [x], "corrnet.code")
    x = parts.node("Sub", [x, parts.const("code.mean", code.mean.numpy())], "corrnet.centred")
    x = parts.node("Div", [x, parts.const("code.std", code.std.numpy())], "corrnet.standardised")
    parts.node("LpNormalization", [x], "embedding", axis=-1, p=2)


def folded_layers(view: Standardize, encoder: nn.Sequential, bias: torch.Tensor) -> list[tuple[Float32, Float32]]:
    """(weight Float32[outputs, inputs], bias Float32[outputs]) of each linear layer, for views as they are.

    The first one takes the view's standardisation in, the last one the code's bias.
    """
    layers = [layer for layer in encoder if isinstance(layer, nn.Linear)]
    out = []
    for n, layer in enumerate(layers):
        weight = layer.weight.detach().double()
        shift = torch.zeros(len(weight), dtype=torch.float64) if layer.bias is None else layer.bias.detach().double()
        if n == len(layers) - 1:
            shift = shift + bias.detach().double()
        if n == 0:
            weight = weight / view.std.double()
            shift = shift - weight @ view.mean.double()
        out.append((weight.float().numpy(), shift.float().numpy()))
    return out
