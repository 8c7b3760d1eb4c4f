"""From a trained translator to the directory that `peyda.translate.mini` opens.

Two graphs. `encoder.onnx` turns a source into each decoder layer's keys and values, once. `decoder.onnx` appends one
piece to every beam: it gathers the beams' own keys and values by their parents, and looks at the likeliest next
pieces. Linear layers are int8 (`peyda.encoders.row_int8`), the source's word table is in blocks.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from tokenizers import Tokenizer

from peyda.encoders.onnx_parts import OPSETS
from peyda.encoders.row_int8 import RowInt8Parts, quantize_outputs
from peyda.encoders.text_graph import TextGraphConfig, add_text_tower
from peyda.training.model_files import replace_directory, tower_weights, write_tokenizer
from peyda.training.scorer_export import write_config
from peyda.training.text_recipe import TranslatorRecipe
from peyda.training.translator_model import DecoderLayer, TranslatorModel
from peyda.training.translator_pieces import END, PAD, START, UNKNOWN
from peyda.training.vocabulary import piece_id
from peyda.types import Float32

_BEAMS = 4
_NEVER = -1e9
_FLOAT, _INT64, _INT32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32


def export_translator(
    recipe: TranslatorRecipe, model: TranslatorModel, source: Tokenizer, target: Tokenizer, out: Path
) -> None:
    """Write the directory; an older one is replaced only when the new one is whole, its model card stays."""
    pad = piece_id(source, "<pad>")

    def fill(folder: Path) -> None:
        onnx.save(encoder_graph(model, pad, recipe.source_limit), folder / "encoder.onnx")
        onnx.save(decoder_graph(model), folder / "decoder.onnx")
        write_tokenizer(source, folder / "source.json")
        write_tokenizer(target, folder / "target.json")
        heads = model.encoder.config.heads
        values = {
            "layers": len(model.layers),
            "heads": heads,
            "head_dim": model.encoder.config.hidden // heads,
            "start": START,
            "end": END,
            "pad": pad,
            "source_limit": recipe.source_limit,
            "target_limit": recipe.target_limit,
            "beams": _BEAMS,
            "length_penalty": recipe.length_penalty,
        }
        write_config(
            folder, {"translator": values}, name=recipe.name, kind="translator", description=recipe.description
        )

    replace_directory(out, fill)


def _value(name: str, kind: int, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _weight(module: Any) -> Float32:
    return np.asarray(module.weight.detach().float().numpy())


class _Graph(RowInt8Parts):
    """Parts that read torch modules."""

    def biased(self, x: str, name: str, module: Any) -> str:
        """A linear layer with its bias."""
        bias = self.const(f"{name}.bias", module.bias.detach().float().numpy())
        return self.node("Add", [self.linear(x, name, _weight(module), 8), bias], f"{name}.biased")

    def norm(self, x: str, name: str, module: Any) -> str:
        """A layer norm."""
        inputs = [x, self.const(f"{name}.weight", _weight(module))]
        inputs.append(self.const(f"{name}.bias", module.bias.detach().float().numpy()))
        return self.node("LayerNormalization", inputs, f"{name}.normed", epsilon=module.eps, axis=-1)

    def shaped(self, x: str, name: str, shape: str, order: list[int]) -> str:
        """Reshape, then transpose."""
        self.node("Reshape", [x, shape], f"{name}.shaped")
        return self.node("Transpose", [f"{name}.shaped"], name, perm=order)

    def attended(self, name: str, q: str, k: str, v: str, bias: str | None = None) -> str:
        """Softmax(q k + bias) v; `q` is scaled already, `k` [.., d, s] and `v` [.., s, d]."""
        scores = self.node("MatMul", [q, k], f"{name}.scores")
        if bias:
            scores = self.node("Add", [scores, bias], f"{name}.masked")
        return self.node("MatMul", [self.node("Softmax", [scores], f"{name}.shares", axis=-1), v], f"{name}.mixed")

    def model(self, name: str, inputs: list[Any], outputs: list[Any]) -> onnx.ModelProto:
        """The finished graph."""
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        return helper.make_model(graph, opset_imports=OPSETS, ir_version=9, producer_name="peyda")


def encoder_graph(model: TranslatorModel, pad: int, limit: int) -> onnx.ModelProto:
    """`text` Int32[b, s] → `hide` Float32[b, 1, 1, s]; for each decoder layer `memory.N.k` Float32[b, heads, d, s] and
    `memory.N.v` Float32[b, heads, s, d].
    """
    config = model.encoder.config
    heads, size = config.heads, config.hidden // config.heads
    g = _Graph()
    shape = TextGraphConfig(heads, config.layers, pad, limit, config.layer_norm_eps, tower_bits=8)
    x, mask = add_text_tower(g, shape, tower_weights(model.encoder))
    g.const("hide.axes", np.asarray([1, 2], np.int64))
    g.const("hide.one", np.asarray(1, np.float32))
    g.const("hide.much", np.asarray(1e4, np.float32))
    g.node("Cast", [mask], "hide.mask", to=_FLOAT)
    g.node("Sub", ["hide.mask", "hide.one"], "hide.minus")
    g.node("Mul", ["hide.minus", "hide.much"], "hide.rows")
    g.node("Unsqueeze", ["hide.rows", "hide.axes"], "hide")
    g.const("memory.shape", np.asarray([0, 0, heads, size], np.int64))
    outputs = [_value("hide", _FLOAT, ["b", 1, 1, "s"])]
    for n, layer in enumerate(model.layers):
        both = g.biased(x, f"cross.{n}", layer.ckv)
        parts = [f"cross.{n}.k", f"cross.{n}.v"]
        g.nodes.append(helper.make_node("Split", [both], parts, axis=-1, num_outputs=2))
        g.shaped(parts[0], f"memory.{n}.k", "memory.shape", [0, 2, 3, 1])
        g.shaped(parts[1], f"memory.{n}.v", "memory.shape", [0, 2, 1, 3])
        outputs.append(_value(f"memory.{n}.k", _FLOAT, ["b", heads, size, "s"]))
        outputs.append(_value(f"memory.{n}.v", _FLOAT, ["b", heads, "s", size]))
    return g.model("encoder", [_value("text", _INT32, ["b", "s"])], outputs)


def decoder_graph(model: TranslatorModel) -> onnx.ModelProto:
    """One step; see `peyda.translate.mini._Steps` for what goes in and comes out."""
    config = model.encoder.config
    heads, size = config.heads, config.hidden // config.heads
    g = _Graph()
    x = _embedded(g, model)
    g.const("single", np.asarray([-1, heads, 1, size], np.int64))
    g.const("by_head", np.asarray([0, 0, heads, size], np.int64))
    g.const("hidden", np.asarray([config.hidden], np.int64))
    g.node("Shape", ["tokens"], "tokens.shape")
    g.node("Concat", ["tokens.shape", "hidden"], "rows", axis=0)
    g.const("scale", np.asarray(size**-0.5, np.float32))
    inputs = [
        _value("tokens", _INT64, ["b", "k"]),
        _value("parents", _INT64, ["n"]),
        _value("at", _INT64, [1]),
        _value("width", _INT64, [1]),
        _value("hide", _FLOAT, ["b", 1, 1, "s"]),
    ]
    outputs = []
    for n, layer in enumerate(model.layers):
        x = _decoder_layer(g, n, layer, x)
        inputs += [_value(f"memory.{n}.k", _FLOAT, ["b", heads, size, "s"])]
        inputs += [_value(f"memory.{n}.v", _FLOAT, ["b", heads, "s", size])]
        inputs += [_value(f"past.{n}.{part}", _FLOAT, ["n", heads, "t", size]) for part in "kv"]
        outputs += [_value(f"present.{n}.{part}", _FLOAT, ["n", heads, "u", size]) for part in "kv"]
    last = g.norm(x, "last", model.norm)
    product = g.product(last, "logits", "word.q", "word.scales")
    bias = model.out_bias.detach().float().numpy().copy()
    bias[[START, PAD, UNKNOWN]] = _NEVER
    g.node("Add", [product, g.const("out.bias", bias)], "logits")
    g.node("LogSoftmax", ["logits"], "logs", axis=-1)
    g.nodes.append(helper.make_node("TopK", ["logs", "width"], ["values", "pieces"], axis=-1))
    outputs += [_value("values", _FLOAT, ["b", "k", "w"]), _value("pieces", _INT64, ["b", "k", "w"])]
    return g.model("decoder", inputs, outputs)


def _embedded(g: _Graph, model: TranslatorModel) -> str:
    """Rows of the word table (one int8 table for input and output) and the position: Float32[b, k, h]."""
    q, scales = quantize_outputs(_weight(model.word))  # [h, pieces]
    g.const("word.q", q)
    g.const("word.scales", scales)
    g.const("position", np.asarray(model.position.detach().float().numpy()))
    g.const("root", np.asarray(math.sqrt(q.shape[0]), np.float32))
    g.const("last_axis", np.asarray([-1], np.int64))
    g.node("Gather", ["word.q", "tokens"], "word.columns", axis=1)  # [h, b, k]
    g.node("Transpose", ["word.columns"], "word.rows", perm=[1, 2, 0])
    g.node("Cast", ["word.rows"], "word.float", to=_FLOAT)
    g.node("Gather", ["word.scales", "tokens"], "word.of")
    g.node("Mul", ["word.of", "root"], "word.unit")
    g.node("Unsqueeze", ["word.unit", "last_axis"], "word.column")
    g.node("Mul", ["word.float", "word.column"], "word.scaled")
    g.node("Gather", ["position", "at"], "position.row")  # [1, h]
    return g.node("Add", ["word.scaled", "position.row"], "embedded")


def _decoder_layer(g: _Graph, n: int, layer: DecoderLayer, x: str) -> str:
    """Self-attention over the beam's own past, attention to the source, feed-forward: Float32[b, k, h]."""
    name = f"layer.{n}"
    parts = [f"{name}.{part}" for part in "qkv"]
    qkv = g.biased(g.norm(x, f"{name}.n1", layer.n1), f"{name}.qkv", layer.qkv)
    g.nodes.append(helper.make_node("Split", [qkv], parts, axis=-1, num_outputs=3))
    for part in "qkv":
        g.node("Reshape", [f"{name}.{part}", "single"], f"{name}.{part}.one")
    for part in "kv":
        g.node("Gather", [f"past.{n}.{part}", "parents"], f"{name}.past.{part}", axis=0)
        g.node("Concat", [f"{name}.past.{part}", f"{name}.{part}.one"], f"present.{n}.{part}", axis=2)
    g.node("Mul", [f"{name}.q.one", "scale"], f"{name}.q.scaled")
    g.node("Transpose", [f"present.{n}.k"], f"{name}.k.turned", perm=[0, 1, 3, 2])
    mixed = g.attended(f"{name}.self", f"{name}.q.scaled", f"{name}.k.turned", f"present.{n}.v")
    g.node("Reshape", [mixed, "rows"], f"{name}.self.rows")
    x = g.node("Add", [x, g.biased(f"{name}.self.rows", f"{name}.o", layer.o)], f"{name}.after_self")

    q = g.biased(g.norm(x, f"{name}.n2", layer.n2), f"{name}.cq", layer.cq)
    g.shaped(g.node("Mul", [q, "scale"], f"{name}.cq.scaled"), f"{name}.cq.heads", "by_head", [0, 2, 1, 3])
    mixed = g.attended(f"{name}.cross", f"{name}.cq.heads", f"memory.{n}.k", f"memory.{n}.v", "hide")
    g.node("Transpose", [mixed], f"{name}.cross.turned", perm=[0, 2, 1, 3])
    g.node("Reshape", [f"{name}.cross.turned", "rows"], f"{name}.cross.rows")
    x = g.node("Add", [x, g.biased(f"{name}.cross.rows", f"{name}.co", layer.co)], f"{name}.after_cross")

    wide = g.biased(g.norm(x, f"{name}.n3", layer.n3), f"{name}.fi", layer.fi)
    deep = g.biased(g.node("Relu", [wide], f"{name}.active"), f"{name}.fo", layer.fo)
    return g.node("Add", [x, deep], f"{name}.out")
