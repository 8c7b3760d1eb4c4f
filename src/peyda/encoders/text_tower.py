"""A text tower on ONNX Runtime: tokenizer.json and model.onnx in one folder, sentences in, unit vectors out.

What a dual encoder's text half and a sentence encoder have in common. The session and the tokenizer load on first
use. Graphs take `text` (or `input_ids`) Int32/Int64[batch, tokens], with an `attention_mask` where they want one, and
give the embedding first.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peyda.encoders.directory import read_json
from peyda.encoders.sessions import l2_normalize, load_session, run_session
from peyda.errors import ModelError
from peyda.persian import normalize
from peyda.types import Float32

if TYPE_CHECKING:
    import onnxruntime as ort
    from tokenizers import Tokenizer

_BATCH = 32
_CHUNK = 1024
# Longer than any context: the rest would be cut by the tokenizer anyway, at a cost that grows with the text.
MAX_CHARACTERS = 4096


class TextTower:
    """Sentences to `Float32[n, embed_dim]`, L2-normalised and finite. Thread-safe.

    Args:
        folder: Holds `model.onnx`, `tokenizer.json` and, where padding is not piece 0, `tokenizer_config.json`.
        name: Of the model, for messages.
        embed_dim: Length of an embedding.
        context_length: Tokens of a sentence that are read.
        threads: Of the graph.
    """

    def __init__(self, folder: Path, *, name: str, embed_dim: int, context_length: int, threads: int) -> None:
        self.folder = folder
        self.name = name
        self.embed_dim = embed_dim
        self.context_length = context_length
        self.threads = threads
        self._lock = threading.Lock()
        self._loaded: ort.InferenceSession | None = None

    def encode(self, texts: Sequence[str]) -> Float32:
        """Embed sentences, normalised first (`peyda.persian`); empty input gives shape (0, embed_dim).

        Raises:
            ModelError: The files cannot be loaded, or give something else than finite rows of `embed_dim`.
        """
        if isinstance(texts, str):
            raise TypeError("encode_texts takes a list of str, not one str")
        out = np.empty((len(texts), self.embed_dim), np.float32)
        session = self._load()
        for start in range(0, len(texts), _CHUNK):
            chunk = [normalize(text[:MAX_CHARACTERS]) for text in texts[start : start + _CHUNK]]
            ids = [encoding.ids for encoding in self._tokenizer.encode_batch(chunk)]
            # Sorted by length, so that a batch pads little.
            order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
            for at in range(0, len(order), _BATCH):
                rows = order[at : at + _BATCH]
                output = run_session(session, self._inputs(session, [ids[i] for i in rows]), self.name)
                out[[start + i for i in rows]] = l2_normalize(self._checked(output))
        return out

    def _checked(self, output: Float32) -> Float32:
        if output.shape[-1:] != (self.embed_dim,):
            raise ModelError(
                f"the text tower of {self.name} gives rows of {output.shape[-1]} numbers, config.json says"
                f" {self.embed_dim}",
                hint="pull or export the model again",
            )
        return output

    def _load(self) -> ort.InferenceSession:
        """The session; on first use the tokenizer is read beside it (loading releases the interpreter lock)."""
        if self._loaded is None and "_tokenizer" not in self.__dict__:
            with ThreadPoolExecutor(1) as pool:
                session = pool.submit(self._session)
                _ = self._tokenizer
                return session.result()
        return self._session()

    def _session(self) -> ort.InferenceSession:
        with self._lock:
            if self._loaded is None:
                self._loaded = load_session(self.folder / "model.onnx", self.threads)
            return self._loaded

    def _inputs(self, session: ort.InferenceSession, ids: list[list[int]]) -> dict[str, Any]:
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

    @cached_property
    def _pad_id(self) -> int:
        config = self.folder / "tokenizer_config.json"
        token = read_json(config).get("pad_token") if config.is_file() else None
        name = token.get("content") if isinstance(token, dict) else token
        found = self._tokenizer.token_to_id(name) if name else None
        return 0 if found is None else found

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        except Exception as error:  # the library raises bare Exception
            raise ModelError(f"cannot read the tokenizer of {self.name}: {error}") from error
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.context_length)
        return tokenizer
