"""The image tower for the CPU: a convolutional backbone in static int8 (QDQ), with its projection head behind it.

Quantised with ONNX Runtime's own tools: per channel, calibrated on a few dozen real photographs, with weights on which
no processor's 16-bit sums overflow (`peyda.encoders.saturation`). The pooling and the head stay in float, the head
block-quantised to 8 bits. Needs the packages `onnx` and `onnxruntime`.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from peyda.encoders.onnx_parts import OPSETS, GraphParts, add_head, head_dim
from peyda.encoders.saturation import avoid_saturation
from peyda.types import Float32

FEATURES = "features"


class _Photographs(CalibrationDataReader):
    def __init__(self, batches: Sequence[Float32]) -> None:
        self.batches: Iterator[Float32] = iter(batches)

    def get_next(self) -> dict[str, Float32] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"image": batch}


def quantize_backbone(source: Path, target: Path, calibration: Sequence[Float32]) -> None:
    """Static int8 of a float backbone `image` → `features`.

    Args:
        source: The float graph.
        target: Where the quantised one goes.
        calibration: Batches of preprocessed photographs, each Float32[n, 3, s, s].
    """
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.WARNING)  # the quantiser logs every tensor
    try:
        with tempfile.TemporaryDirectory() as folder:
            prepared = str(Path(folder) / "prepared.onnx")
            quant_pre_process(str(source), prepared)
            quantize_static(
                prepared,
                str(target),
                _Photographs(calibration),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                # Without "Clip" (ReLU6) and "Pad" each convolution would leave and re-enter int8: slower, and at
                # cosine 0.82 of the float embedding instead of 0.99 (docs/log.md).
                op_types_to_quantize=["Conv", "Add", "Clip", "Pad"],
            )
        model = onnx.load(target)
        avoid_saturation(model)
        onnx.save(model, target)
    finally:
        logging.getLogger().setLevel(level)


def attach_head(backbone: onnx.ModelProto, head: Mapping[str, Float32]) -> onnx.ModelProto:
    """`image` → `embedding`: the backbone's `features` go through the projection head (names as `add_head` wants)."""
    parts = GraphParts()
    add_head(parts, head, FEATURES)
    graph = backbone.graph
    graph.node.extend(parts.nodes)
    graph.initializer.extend(parts.initializers)
    del graph.output[:]
    dim = head_dim(head)
    graph.output.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dim]))
    del backbone.opset_import[:]
    backbone.opset_import.extend(OPSETS)
    backbone.ir_version = 9
    backbone.producer_name = "peyda"
    return backbone
