"""A text tower on ONNX Runtime: tokenizer.json and model.onnx in one folder, sentences in, unit vectors out.

What a dual encoder's text half and a sentence encoder have in common. The session and the tokenizer load on first
use. Graphs take `text` (or `input_ids`) Int32/Int64[batch, tokens], with an `attention_mask` where they want one, and
give the embedding first. Either size may be a constant of the graph, as in Immich's exports (one row of 77 tokens).
"""

from __future__ import annotations

import string
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peyda.encoders.directory import read_json
from peyda.encoders.sessions import fixed_batch, l2_normalize, load_session, run_session
from peyda.errors import ModelError
from peyda.persian import normalize
from peyda.types import Float32

if TYPE_CHECKING:
    import onnxruntime as ort
    from tokenizers import Tokenizer

    from peyda.persian.spelling import Speller

_BATCH = 32
_CHUNK = 1024
# Where there is much to do, each core runs small batches of its own: they stay in its cache, and no graph waits for
# threads to meet after every layer (docs/benchmarks.md). It takes a second copy of the weights: big models do without.
_BULK_BATCH = 8
_BULK_FROM = 64
_BULK_BYTES = 100_000_000
# Longer than any context: the rest would be cut by the tokenizer anyway, at a cost that grows with the text.
MAX_CHARACTERS = 4096
_WITHOUT_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation, "") | {"_": " "})


def clean(text: str, how: str) -> str:
    """What some models want done to a text before it is cut into tokens, after our own normalising.

    Args:
        text: Any text.
        how: "canonicalize" drops ASCII punctuation, as SigLIP was trained (big_vision's `canonicalize_text`); anything
            else, open_clip's "lower" and "whitespace" among it, asks for less than our normaliser does.

    >>> clean("a dog, on_the beach!", "canonicalize")
    'a dog on the beach'
    """
    return " ".join(text.translate(_WITHOUT_PUNCTUATION).split()) if how == "canonicalize" else text


class TextTower:
    """Sentences to `Float32[n, embed_dim]`, L2-normalised and finite. Thread-safe.

    Args:
        folder: Holds `model.onnx`, `tokenizer.json` and, where padding is not piece 0, `tokenizer_config.json`.
        name: Of the model, for messages.
        embed_dim: Length of an embedding.
        context_length: Tokens of a sentence that are read.
        threads: Of the graph; where many sentences come at once, how many graphs run beside each other.
        cleaning: How texts are cleaned after normalising, see `clean`.
        language: Token that every text begins with, of tokenizers that have one for each language (NLLB).
        spelling: Whether mistyped Persian words are put right first (`peyda.persian.spelling`).
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        embed_dim: int,
        context_length: int,
        threads: int,
        cleaning: str = "",
        language: str = "",
        spelling: bool = False,
    ) -> None:
        self.folder = folder
        self.name = name
        self.embed_dim = embed_dim
        self.context_length = context_length
        self.threads = threads
        self.cleaning = cleaning
        self.language = language
        self.spelling = spelling
        self._lock = threading.Lock()
        self._loaded: ort.InferenceSession | None = None
        self._bulk: ort.InferenceSession | None = None

    def encode(self, texts: Sequence[str]) -> Float32:
        """Embed sentences, normalised first (`peyda.persian`); empty input gives shape (0, embed_dim).

        Raises:
            ModelError: The files cannot be loaded, or give something else than finite rows of `embed_dim`.
        """
        if isinstance(texts, str):
            raise TypeError("encode_texts takes a list of str, not one str")
        out = np.empty((len(texts), self.embed_dim), np.float32)
        if len(texts) >= _BULK_FROM and self.threads > 1 and self._is_small():
            with ThreadPoolExecutor(self.threads) as pool:
                self._fill(out, texts, self._bulk_session(), _BULK_BATCH, pool.map)
        else:
            self._fill(out, texts, self._load(), _BATCH, map)
        return out

    def _fill(
        self,
        out: Float32,
        texts: Sequence[str],
        session: ort.InferenceSession,
        batch: int,
        over: Callable[[Callable[[list[int]], Float32], list[list[int]]], Iterable[Float32]],
    ) -> None:
        """Embed `texts` into `out`, a batch at a time; `over` maps a function over batches, in their order."""
        size = fixed_batch(session) or batch
        for start in range(0, len(texts), _CHUNK):
            ids = self.tokens(texts[start : start + _CHUNK])
            # Sorted by length, so that a batch pads little.
            order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
            batches = [order[at : at + size] for at in range(0, len(order), size)]

            def run(rows: list[int], ids: list[list[int]] = ids) -> Float32:
                return run_session(session, self._inputs(session, [ids[i] for i in rows]), self.name)

            for rows, output in zip(batches, over(run, batches), strict=True):
                out[[start + i for i in rows]] = l2_normalize(self._checked(output))[: len(rows)]

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts, normalised and cut to the context length, without padding."""
        chunk = [normalize(text[:MAX_CHARACTERS]) for text in texts]
        if self.spelling:
            chunk = [self._speller.correct(text) for text in chunk]
        if self.cleaning:
            chunk = [clean(text, self.cleaning) for text in chunk]
        return [encoding.ids for encoding in self._tokenizer.encode_batch(chunk)]

    def _is_small(self) -> bool:
        # All files: big graphs keep their weights beside them, under any name.
        return sum(path.stat().st_size for path in self.folder.iterdir()) <= _BULK_BYTES

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

    def _bulk_session(self) -> ort.InferenceSession:
        """A session of one thread, for one call from each core at a time."""
        with self._lock:
            if self._bulk is None:
                self._bulk = load_session(self.folder / "model.onnx", 1)
            return self._bulk

    def _inputs(self, session: ort.InferenceSession, ids: list[list[int]]) -> dict[str, Any]:
        """Inputs by the names that the graph gives them: `text` or `input_ids`, and a mask where it wants one."""
        inputs = {value.name: value for value in session.get_inputs()}
        first = inputs.get("text") or inputs.get("input_ids") or session.get_inputs()[0]
        fixed = first.shape[1] if len(first.shape) == 2 and isinstance(first.shape[1], int) else None
        length = fixed or max(1, *map(len, ids))
        dtype = np.int64 if "int64" in first.type else np.int32
        count = fixed_batch(session) or len(ids)
        tokens = np.full((count, length), self._pad_id, dtype)
        mask = np.zeros((count, length), np.int64)
        for row, sequence in enumerate(ids):
            tokens[row, : len(sequence)] = sequence[:length]
            mask[row, : len(sequence)] = 1
        feed: dict[str, Any] = {first.name: tokens}
        if "attention_mask" in inputs:
            feed["attention_mask"] = mask.astype(np.int64 if "int64" in inputs["attention_mask"].type else np.int32)
        return feed

    @cached_property
    def _speller(self) -> Speller:
        from peyda.encoders.spelling import load_speller

        return load_speller(self._tokenizer, self.folder / "tokenizer.json")

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
        if self.language and (code := tokenizer.token_to_id(self.language)) is not None:
            from tokenizers.processors import TemplateProcessing

            # Files of NLLB tokenizers begin every text with the token of English.
            end = "</s>"
            tokenizer.post_processor = TemplateProcessing(
                single=[self.language, "$A", end],
                special_tokens=[(self.language, code), (end, tokenizer.token_to_id(end))],
            )
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.context_length)
        return tokenizer
