"""Linear layers in int8 with one scale a row: three times as fast as 4-bit blocks where many rows go through at once.

Weights have one scale an output. Activations get theirs at run time, one a row, so that a row's result does not depend
on what else is in the batch (dynamic quantisation as ONNX Runtime ships it takes one scale for a whole batch).
Activations use 7 bits: on processors without VNNI, ONNX Runtime adds products of 8-bit numbers in pairs as 16 bits,
which would overflow. Needs the package `onnx`, which the extra `peyda[train]` brings.
"""

from __future__ import annotations

import numpy as np

from peyda.encoders.onnx_parts import CONTRIB, GraphParts
from peyda.types import Float32

_ZERO = 64
_SPAN = 63.0


def quantize_outputs(weight: Float32) -> tuple[np.ndarray, Float32]:
    """Symmetric int8 with one scale an output.

    Args:
        weight: Float32[outputs, inputs].

    Returns:
        Int8[inputs, outputs] (the transpose, as `MatMulInteger` wants it) and scales Float32[outputs].
    """
    scales = np.maximum(np.abs(weight).max(1), 1e-12).astype(np.float32) / 127
    return np.ascontiguousarray(np.rint(weight / scales[:, None]).astype(np.int8).T), scales


class RowInt8Parts(GraphParts):
    """`GraphParts` whose 8-bit linear layers are those of this module; others stay block-quantised."""

    def linear(self, x: str, name: str, weight: Float32, bits: int) -> str:
        """`x @ weight.T` with `weight` Float32[outputs, inputs]; no bias."""
        if bits != 8:
            return super().linear(x, name, weight, bits)
        q, scales = quantize_outputs(weight)
        return self.product(x, name, self.const(f"{name}.q", q), self.const(f"{name}.scales", scales))

    def product(self, x: str, name: str, q: str, scales: str) -> str:
        """`x` times constants that `quantize_outputs` made."""
        if not any(one.name == "int8.span" for one in self.initializers):
            self.const("int8.span", np.asarray(1 / _SPAN, np.float32))
            self.const("int8.tiny", np.asarray(1e-9, np.float32))
            self.const("int8.axis", np.asarray([-1], np.int64))
            self.const("int8.zero", np.asarray(_ZERO, np.uint8))
            self.const("int8.one", np.asarray(1, np.float32))
        scale, rows = self._row_scale(x)
        inputs = [rows, q, "int8.one", scales, "int8.zero"]
        product = self.node("MatMulIntegerToFloat", inputs, f"{name}.product", CONTRIB)
        return self.node("Mul", [product, scale], f"{name}.out")

    def _row_scale(self, x: str) -> tuple[str, str]:
        """Scale Float32[…, 1] of each row, and the rows in units of it as UInt8 around `_ZERO`; once for each `x`."""
        scale, rows = f"{x}.row_scale", f"{x}.rounded"
        if not any(node.name == scale for node in self.nodes):
            self.node("Abs", [x], f"{x}.abs")
            self.node("ReduceMax", [f"{x}.abs", "int8.axis"], f"{x}.largest", keepdims=1)
            self.node("Mul", [f"{x}.largest", "int8.span"], f"{x}.unit")
            self.node("Max", [f"{x}.unit", "int8.tiny"], scale)
            self.node("Div", [x, scale], f"{x}.scaled")
            # One pass over the rows instead of three for rounding, shifting and casting.
            self.node("QuantizeLinear", [f"{x}.scaled", "int8.one", "int8.zero"], rows)
        return scale, rows
