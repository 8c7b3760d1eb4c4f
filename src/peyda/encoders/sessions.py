"""ONNX Runtime sessions: loading and running one, with errors that name the model. Shared by all ONNX backends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peyda.errors import ModelError
from peyda.types import Float32

if TYPE_CHECKING:
    import onnxruntime as ort


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def l2_normalize(rows: Float32) -> Float32:
    """Rows of length 1; a zero row stays zero.

    Raises:
        ModelError: A value is NaN or infinite.
    """
    if not np.isfinite(rows).all():
        raise ModelError("the model gave a non-finite embedding", hint="peyda doctor checks the model's files")
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-12), np.float32)


def load_session(path: Path, threads: int) -> ort.InferenceSession:
    """A session on the processor, whose graph uses `threads`.

    Raises:
        ModelError: The file is missing or no ONNX model that this runtime can run.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises bare classes of its own
        raise ModelError(
            f"cannot load {path}: {str(error)[:300]}", hint="peyda models show NAME says what it should be"
        ) from error


def run_session(session: ort.InferenceSession, feed: dict[str, Any], model: str) -> Float32:
    """The first output of the graph.

    Raises:
        ModelError: The graph fails on this input.
    """
    try:
        output: Float32 = session.run([session.get_outputs()[0].name], feed)[0]
    except Exception as error:  # ONNX Runtime raises bare classes of its own
        raise ModelError(
            f"model {model} failed: {str(error)[:300]}", hint="peyda doctor checks the model's files"
        ) from error
    return output


def fixed_batch(session: ort.InferenceSession) -> int | None:
    """How many rows the graph wants, where that is a constant of it; None where it takes any number."""
    size = session.get_inputs()[0].shape[0]
    return size if isinstance(size, int) else None
