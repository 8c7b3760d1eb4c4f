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
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peyda.encoders.directory import (
    ModelInfo,
    PreprocessConfig,
    read_model_info,
    read_preprocess_config,
    read_text_options,
)
from peyda.encoders.sessions import available_cores, fixed_batch, l2_normalize, load_session, run_session
from peyda.encoders.text_tower import TextTower
from peyda.errors import ModelError
from peyda.persian import NORMALIZER_VERSION
from peyda.types import Float32

if TYPE_CHECKING:
    import onnxruntime as ort
    from PIL import Image

_IMAGE_BATCH = 4
_TEXT_THREADS = 4


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
        self._visual_session: ort.InferenceSession | None = None
        options = read_text_options(self.info.path)
        self._text_tower = TextTower(
            self.info.path / "textual",
            name=self.info.name,
            embed_dim=self.info.embed_dim,
            context_length=self.info.context_length,
            threads=min(_TEXT_THREADS, self.threads),  # one query cannot be spread over calls, so its graph gets them
            cleaning=options.cleaning,
            language=options.language,
            spelling=options.spelling,
        )
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
        session = self._visual()
        name, batch = session.get_inputs()[0].name, fixed_batch(session)
        if batch is None or batch == len(pixels):
            return l2_normalize(self._checked(run_session(session, {name: pixels}, self.name)))
        out = np.empty((len(pixels), self.embed_dim), np.float32)
        for at in range(0, len(pixels), batch):  # a graph for so many rows exactly: the last call is filled up
            part = pixels[at : at + batch]
            filled = np.concatenate([part, np.zeros((batch - len(part), *part.shape[1:]), np.float32)])
            out[at : at + batch] = l2_normalize(self._checked(run_session(session, {name: filled}, self.name)))[
                : len(part)
            ]
        return out

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
        return self._text_tower.encode(texts)

    def text_tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids that the text tower reads of each text, without padding."""
        return self._text_tower.tokens(texts)

    def _checked(self, output: Float32) -> Float32:
        if output.shape[-1:] != (self.embed_dim,):
            raise ModelError(
                f"the image tower of {self.name} gives rows of {output.shape[-1]} numbers, config.json says"
                f" {self.embed_dim}",
                hint="pull or export the model again",
            )
        return output

    def _visual(self) -> ort.InferenceSession:
        with self._lock:
            if self._visual_session is None:  # one thread: pixels come in many calls at once
                self._visual_session = load_session(self.info.path / "visual/model.onnx", 1)
            return self._visual_session
