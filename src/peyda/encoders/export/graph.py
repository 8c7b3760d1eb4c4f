"""From a torch module to an ONNX file of one input and one output, with any number of rows."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx
import torch
from torch import nn

from peyda.encoders.export.towers import TorchTextTower, UnitRows
from peyda.errors import ModelError

_OPSET = 18
# A protocol buffer ends at 2 GiB; whatever comes near goes into a second file.
EXTERNAL_LIMIT_BYTES = 1_800_000_000
EXTERNAL_NAME = "model.onnx.data"
_SMALL_BYTES = 1024


def export_image_tower(module: nn.Module, size_px: int, path: Path) -> None:
    """`image` Float32[batch, 3, size, size] to `embedding` Float32[batch, dim], rows of length 1.

    Raises:
        ModelError: The tower does something that has no ONNX form.
    """
    _export(module, torch.zeros(2, 3, size_px, size_px), "image", {0: "batch"}, path)


def export_text_tower(tower: TorchTextTower, path: Path) -> None:
    """`text` Int32[batch, tokens] to `embedding` Float32[batch, dim], rows of length 1.

    Raises:
        ModelError: The tower does something that has no ONNX form.
    """
    known = tower.tokenizer.reference(["خانه", "a dog in the snow"])
    longest = tower.context_length if tower.is_fixed_length else max(map(len, known)) + 1
    length = min(tower.context_length, longest)
    text = torch.full((2, length), tower.pad_id, dtype=torch.int32)
    for row, ids in enumerate(known):
        text[row, : len(ids[:length])] = torch.tensor(ids[:length], dtype=torch.int32)
    _export(tower.module, text, "text", {0: "batch"} if tower.is_fixed_length else {0: "batch", 1: "tokens"}, path)


def _export(module: nn.Module, example: torch.Tensor, name: str, axes: dict[int, str], path: Path) -> None:
    scratch = path.parent / ".scratch"
    scratch.mkdir()
    whole = UnitRows(module).eval().requires_grad_(False)
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    if hasattr(torch._C, "_jit_set_onnx_log_enabled"):
        torch._C._jit_set_onnx_log_enabled(False)  # it prints the whole graph when an operator has no ONNX form
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # The exporter warns of its own future, and of sizes that become constants: parity is checked afterwards,
            # with other numbers of rows and of tokens than the example has.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                whole,
                (example,),
                str(scratch / path.name),
                input_names=[name],
                output_names=["embedding"],
                dynamic_axes={name: axes, "embedding": {0: "batch"}},
                opset_version=_OPSET,
                dynamo=False,
            )
        save(onnx.load(scratch / path.name), path)
    except (RuntimeError, ValueError, TypeError, torch.onnx.errors.OnnxExporterError) as error:
        words = " ".join(str(error).split())[:300]
        raise ModelError(f"the {name} tower has no ONNX form: {words}", hint="see docs/models-export.md") from error
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
        for one in scratch.iterdir():
            one.unlink()
        scratch.rmdir()


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph; weights go beside it where they would not fit into one file."""
    model.producer_name = "peyda"
    if _tensor_bytes(model) > EXTERNAL_LIMIT_BYTES:
        onnx.save_model(
            model,
            str(path),
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=EXTERNAL_NAME,
            size_threshold=_SMALL_BYTES,
        )
    else:
        onnx.save_model(model, str(path))


def _tensor_bytes(model: onnx.ModelProto) -> int:
    constants = [a.t for node in model.graph.node if node.op_type == "Constant" for a in node.attribute]
    return sum(len(one.raw_data) or one.ByteSize() for one in (*model.graph.initializer, *constants))
