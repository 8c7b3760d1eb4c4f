"""Scores that a model gives: how alike a caption and its translation are, how well a caption fits its photograph.

Each scorer fills one column, from a few texts of a row; the models themselves are `peyda.encoders`'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from peyda.encoders import Encoder
from peyda.encoders.sentence import SentenceEncoder, column_name
from peyda.encoders.sessions import available_cores
from peyda.errors import ImageRefused
from peyda.images import read_photo
from peyda.quality.pair import MAX_CHARACTERS
from peyda.quality.vector_cache import VectorCache
from peyda.types import Float32, Skipped

_PHOTO_BATCH = 64


class Scorer(Protocol):
    """Fills one score column."""

    @property
    def column(self) -> str:
        """The column, `score_<name>`."""

    @property
    def fingerprint(self) -> str:
        """Changes when scores may: of the model."""

    def inputs_of(self, row: Mapping[str, str]) -> tuple[str, ...]:
        """All that the score of a row depends on; empty where it has none."""

    def score(self, inputs: Sequence[tuple[str, ...]]) -> Float32:
        """Score distinct inputs, in order: `Float32[n]`, NaN where there is no score."""


class SimilarityScorer:
    """Cosine similarity between the English caption and the Persian one, from -1 to 1.

    Args:
        encoder: Puts both languages into one space.
    """

    def __init__(self, encoder: SentenceEncoder) -> None:
        self._encoder = encoder
        self._texts = VectorCache(encoder.embed_dim, encoder.encode_texts)

    @property
    def column(self) -> str:
        """`score_<name of the encoder>`."""
        return f"score_{self._encoder.name}"

    @property
    def fingerprint(self) -> str:
        """The encoder's."""
        return self._encoder.fingerprint

    def inputs_of(self, row: Mapping[str, str]) -> tuple[str, ...]:
        """Both captions, unless one is blank."""
        english = row.get("caption_en", "").strip()[:MAX_CHARACTERS]
        persian = row.get("caption_fa", "").strip()[:MAX_CHARACTERS]
        return (english, persian) if english and persian else ()

    def score(self, inputs: Sequence[tuple[str, ...]]) -> Float32:
        """See `Scorer`."""
        if not inputs:
            return np.empty(0, np.float32)
        vectors, position = self._texts.rows(text for pair in inputs for text in pair)
        english = vectors[[position[pair[0]] for pair in inputs]]
        persian = vectors[[position[pair[1]] for pair in inputs]]
        return np.asarray(np.clip(np.einsum("nd,nd->n", english, persian), -1, 1), np.float32)


class ImageTextScorer:
    """Cosine similarity between a photograph and its Persian caption, by a dual encoder.

    Args:
        encoder: The dual encoder.
        paths: Image name → file, as `peyda.captions.resolve_images` found them; other rows get no score.
        threads: That read photographs; all cores by default.

    Attributes:
        skipped: Photographs that were refused, and why; each once.
    """

    def __init__(self, encoder: Encoder, paths: Mapping[str, str], *, threads: int | None = None) -> None:
        self._encoder = encoder
        self._paths = paths
        self._threads = threads or available_cores()
        self._texts = VectorCache(encoder.embed_dim, encoder.encode_texts)
        self._photos = VectorCache(encoder.embed_dim, self._encode_photos)
        self.skipped: list[Skipped] = []
        self._refused: set[str] = set()

    @property
    def column(self) -> str:
        """`score_image_<name of the encoder>`."""
        return f"score_image_{column_name(self._encoder.name)}"

    @property
    def fingerprint(self) -> str:
        """The encoder's."""
        return self._encoder.fingerprint

    def inputs_of(self, row: Mapping[str, str]) -> tuple[str, ...]:
        """The photograph's file and the Persian caption."""
        path = self._paths.get(row["image"])
        persian = row.get("caption_fa", "").strip()[:MAX_CHARACTERS]
        return (path, persian) if path and persian else ()

    def score(self, inputs: Sequence[tuple[str, ...]]) -> Float32:
        """See `Scorer`."""
        if not inputs:
            return np.empty(0, np.float32)
        photos, photo_at = self._photos.rows(path for path, _ in inputs)
        texts, text_at = self._texts.rows(text for _, text in inputs)
        of_photo = photos[[photo_at[path] for path, _ in inputs]]  # NaN where the photograph was refused
        return np.asarray(np.einsum("nd,nd->n", of_photo, texts[[text_at[text] for _, text in inputs]]), np.float32)

    def _encode_photos(self, paths: Sequence[str]) -> Float32:
        out = np.full((len(paths), self._encoder.embed_dim), np.nan, np.float32)
        with ThreadPoolExecutor(self._threads) as pool:
            for start in range(0, len(paths), _PHOTO_BATCH):
                batch = paths[start : start + _PHOTO_BATCH]
                pixels = list(pool.map(self._pixels, batch))
                readable = [at for at, one in enumerate(pixels) if one is not None]
                if readable:
                    block = np.stack([one for one in pixels if one is not None])
                    out[[start + at for at in readable]] = self._encoder.encode_pixels(block)
        return out

    def _pixels(self, path: str) -> Float32 | None:
        try:
            photo = read_photo(path, target_px=self._encoder.image_size_px)
        except ImageRefused as error:
            if path not in self._refused:
                self._refused.add(path)
                self.skipped.append(Skipped(path, error.reason, error.message))
            return None
        return self._encoder.preprocess(photo.image)
