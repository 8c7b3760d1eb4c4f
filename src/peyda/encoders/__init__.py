"""The dual encoder as a directory on disk, and what runs it. Knows nothing of galleries."""

from peyda.encoders.directory import ModelInfo, read_model_info, verify_model
from peyda.encoders.protocol import Encoder
from peyda.encoders.registry import DEFAULT_MODEL, list_models, load_encoder, model_info, resolve_model

__all__ = [
    "DEFAULT_MODEL",
    "Encoder",
    "ModelInfo",
    "list_models",
    "load_encoder",
    "model_info",
    "read_model_info",
    "resolve_model",
    "verify_model",
]
