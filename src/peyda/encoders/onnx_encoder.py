"""The dual encoder on ONNX Runtime: the default backend.

Both sessions load on first use, so that a search never loads the image tower nor the indexer the text tower. Pixels
are encoded in the calling thread: callers that want all cores call from several threads (the indexer does;
`encode_images` does so itself), which keeps every core busy without hand-overs inside the graph.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peyda.encoders.directory import ModelInfo, PreprocessConfig, read_json, read_model_info, read_preprocess_config
from peyda.errors import ModelError
from peyda.persian import NORMALIZER_VERSION, normalize
from peyda.types import Float32

if TYPE_CHECKING:
    import onnxruntime as ort
    from PIL import Image
    from tokenizers import Tokenizer

_IMAGE_BATCH = 16
_TEXT_BATCH = 32
# Longer than any context: the rest would be cut by the tokenizer anyway, at a cost that grows with the text.
_MAX_CHARACTERS = 4096


def l2_normalize(rows: Float32) -> Float32:
    """Rows of length 1; a zero row stays zero.

    Raises:
        ModelError: A value is NaN or infinite.
    """
    if not np.isfinite(rows).all():
        raise ModelError("the model gave a non-finite embedding", hint="peyda doctor checks the model's files")
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-12), np.float32)


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OnnxEncoder:
    """`peyda.encoders.Encoder` over a model directory.

    Args:
        directory: A model directory (`peyda.encoders.directory`).
        threads: Worker threads of `encode_images`; all cores by default.

    Raises:
        ModelError: The directory is not a usable model.
    """

    def __init__(self, directory: str | os.PathLike[str], *, threads: int | None = None) -> None:
        self.info: ModelInfo = read_model_info(Path(directory))
        self.preprocess_config: PreprocessConfig = read_preprocess_config(self.info.path)
        self.threads = threads or available_cores()
        self._lock = threading.Lock()
        version = self.info.normalizer_version
        if version and version != NORMALIZER_VERSION:
            raise ModelError(
                f"model {self.info.name} was trained with normaliser {version}, this Peyda has {NORMALIZER_VERSION}",
                hint="install the Peyda version that the model names on its card, or another model",
            )

    @property
    def name(self) -> str:
        """Short name of the model."""
        return self.info.name

    @property
    def embed_dim(self) -> int:
        """Length of an embedding."""
        return self.info.embed_dim

    @property
    def fingerprint(self) -> str:
        """Digest over all files of the model."""
        return self.info.fingerprint

    @property
    def visual_fingerprint(self) -> str:
        """Digest over the image tower alone."""
        return self.info.visual_fingerprint

    @property
    def image_size_px(self) -> int:
        """Side of the square that the image tower reads, pixels."""
        return self.info.image_size_px

    def preprocess(self, image: Image.Image) -> Float32:
        """One photograph as the tower reads it: `Float32[3, size, size]`."""
        from peyda.encoders.preprocess import preprocess_image

        return preprocess_image(image, self.preprocess_config)

    def encode_pixels(self, pixels: Float32) -> Float32:
        """`Float32[n, 3, size, size]` to `Float32[n, embed_dim]`, L2-normalised, in the calling thread.

        Raises:
            ModelError: The model fails on it or gives non-finite values.
        """
        session = self._session("visual")
        (output,) = self._run(session, {session.get_inputs()[0].name: pixels})
        return l2_normalize(output)

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        """Embed photographs of any mode and size: `Float32[n, embed_dim]`, L2-normalised.

        Any length: pixels of at most a few batches are in memory at a time.
        """
        out = np.empty((len(images), self.embed_dim), np.float32)
        starts = range(0, len(images), _IMAGE_BATCH)

        def encode(start: int) -> None:
            batch = np.stack([self.preprocess(image) for image in images[start : start + _IMAGE_BATCH]])
            out[start : start + len(batch)] = self.encode_pixels(batch)

        if len(starts) <= 1:
            for start in starts:
                encode(start)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(encode, starts))
        return out

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """Embed sentences: `Float32[n, embed_dim]`, L2-normalised. Texts are normalised first (`peyda.persian`)."""
        if isinstance(texts, str):
            raise TypeError("encode_texts takes a list of str, not one str")
        out = np.empty((len(texts), self.embed_dim), np.float32)
        session = self._load_textual()
        for start in range(0, len(texts), 1024):
            chunk = [normalize(text[:_MAX_CHARACTERS]) for text in texts[start : start + 1024]]
            ids = [encoding.ids for encoding in self._tokenizer.encode_batch(chunk)]
            # Sorted by length, so that a batch pads little.
            order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
            for at in range(0, len(order), _TEXT_BATCH):
                rows = order[at : at + _TEXT_BATCH]
                (output,) = self._run(session, self._text_inputs(session, [ids[i] for i in rows]))
                out[[start + i for i in rows]] = l2_normalize(output)
        return out

    def _load_textual(self) -> ort.InferenceSession:
        """The text session; on first use the tokenizer is read beside it (loading releases the interpreter lock)."""
        if "textual" not in self.__dict__.setdefault("_sessions", {}) and "_tokenizer" not in self.__dict__:
            with ThreadPoolExecutor(1) as pool:
                session = pool.submit(self._session, "textual")
                _ = self._tokenizer
                return session.result()
        return self._session("textual")

    def _text_inputs(self, session: ort.InferenceSession, ids: list[list[int]]) -> dict[str, Any]:
        """Inputs by the names that the graph gives them: `text` or `input_ids`, and a mask where it wants one."""
        inputs = {value.name: value for value in session.get_inputs()}
        first = inputs.get("text") or inputs.get("input_ids") or session.get_inputs()[0]
        fixed = first.shape[1] if len(first.shape) == 2 and isinstance(first.shape[1], int) else None
        length = fixed or max(1, *map(len, ids))
        dtype = np.int64 if "int64" in first.type else np.int32
        tokens = np.full((len(ids), length), self._pad_id, dtype)
        mask = np.zeros((len(ids), length), np.int64)
        for row, sequence in enumerate(ids):
            tokens[row, : len(sequence)] = sequence[:length]
            mask[row, : len(sequence)] = 1
        feed: dict[str, Any] = {first.name: tokens}
        if "attention_mask" in inputs:
            feed["attention_mask"] = mask.astype(np.int64 if "int64" in inputs["attention_mask"].type else np.int32)
        return feed

    def _run(self, session: ort.InferenceSession, feed: dict[str, Any]) -> list[Any]:
        try:
            return list(session.run([session.get_outputs()[0].name], feed))
        except Exception as error:  # ONNX Runtime raises bare classes of its own
            raise ModelError(
                f"model {self.name} failed: {str(error)[:300]}", hint="peyda doctor checks the model's files"
            ) from error

    @cached_property
    def _pad_id(self) -> int:
        config = self.info.path / "textual/tokenizer_config.json"
        token = read_json(config).get("pad_token") if config.is_file() else None
        name = token.get("content") if isinstance(token, dict) else token
        found = self._tokenizer.token_to_id(name) if name else None
        return 0 if found is None else found

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(self.info.path / "textual/tokenizer.json"))
        except Exception as error:  # the library raises bare Exception
            raise ModelError(f"cannot read the tokenizer of {self.name}: {error}") from error
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.info.context_length)
        return tokenizer

    def _session(self, tower: str) -> ort.InferenceSession:
        sessions: dict[str, ort.InferenceSession] = self.__dict__.setdefault("_sessions", {})
        if tower not in sessions:
            with self._lock:
                if tower not in sessions:
                    # One query cannot be spread over calls, so its graph gets threads; pixels come in many calls.
                    threads = min(4, self.threads) if tower == "textual" else 1
                    sessions[tower] = _load_session(self.info.path / tower / "model.onnx", threads)
        return sessions[tower]


def _load_session(path: Path, threads: int) -> ort.InferenceSession:
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
