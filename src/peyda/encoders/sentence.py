"""Sentence encoders: one space for sentences of several languages, by which a translation is compared with its source.

`load_sentence_encoder` finds one by name: the embedded scorer (`mini`), a directory of ONNX files, or any model of
the library sentence-transformers (https://sbert.net; the extra `peyda[sentence]`, which brings torch). Scoring itself
is `peyda.quality`'s.

A directory of ours holds `config.json` (`embed_dim`, `text_cfg.context_length`, and our `peyda` object), `model.onnx`
and `tokenizer.json`, at its top or in `textual/`; so the text half of a dual encoder's directory is one as well.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from peyda.encoders.directory import read_json
from peyda.encoders.registry import embedded_models_dir, user_models_dir
from peyda.encoders.sessions import available_cores, l2_normalize
from peyda.encoders.text_tower import MAX_CHARACTERS, TextTower
from peyda.errors import ModelError
from peyda.persian import NORMALIZER_VERSION
from peyda.types import Float32

EMBEDDED_SCORER = "mini-scorer"
_SUFFIX = "-scorer"
_FILES = ("model.onnx", "tokenizer.json")
_MAX_THREADS = 8  # more only pass work around for sentences of twenty tokens
_BATCH = 64

KNOWN_SENTENCE_MODELS = {
    "distiluse": "sentence-transformers/distiluse-base-multilingual-cased-v2",
    "labse": "sentence-transformers/LaBSE",
    "minilm": "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
    "mpnet": "sentence-transformers/paraphrase-multilingual-mpnet-base-v2",
}
"""Short name → its id on the Hugging Face hub. Any other id works too."""


class SentenceEncoder(Protocol):
    """Sentences into one space; rows are `Float32[n, embed_dim]`, L2-normalised and finite."""

    @property
    def name(self) -> str:
        """Short name: lower-case letters, digits and underscores, fit for a column."""

    @property
    def embed_dim(self) -> int:
        """Length of an embedding."""

    @property
    def fingerprint(self) -> str:
        """Changes when the model does."""

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """Embed sentences of any language. Empty input gives shape (0, embed_dim)."""


@dataclass(frozen=True, slots=True)
class SentenceModelInfo:
    """A directory of ours, read without loading weights. `folder` holds the two files themselves."""

    name: str
    folder: Path
    embed_dim: int
    context_length: int
    fingerprint: str


def load_sentence_encoder(
    name_or_dir: str | os.PathLike[str] = "mini", *, threads: int | None = None
) -> SentenceEncoder:
    """A sentence encoder, by name or directory.

    Args:
        name_or_dir: "mini" for the embedded scorer; a directory of ONNX files, or its name among the installed models
            (with or without "-scorer"); "distiluse", "labse", …; or any model id or directory of
            sentence-transformers.
        threads: Of the processor; all cores by default.

    Raises:
        ModelError: There is no such model, it is malformed, or its library is not installed.
    """
    text = os.fspath(name_or_dir)
    directory = _directory_of(text)
    if directory is not None:
        return OnnxSentenceEncoder(directory, threads=threads)
    if text in ("mini", EMBEDDED_SCORER):
        raise ModelError(
            "the embedded scorer is not installed",
            hint="install the package again, or train it: peyda train scorer; or take another: labse, distiluse",
        )
    if os.path.isabs(text) and not os.path.isdir(text):
        raise ModelError(f"no model directory {text}", hint="check the path")
    return SentenceTransformersEncoder(text, threads=threads)


def _directory_of(text: str) -> Path | None:
    if _has_files(Path(text)):
        return Path(text)
    if os.sep in text:
        return None
    for parent in (user_models_dir(), embedded_models_dir()):
        for name in (text + _SUFFIX, text):
            if _has_files(parent / name):
                return parent / name
    return None


def _folder_of(directory: Path) -> Path | None:
    for folder in (directory, directory / "textual"):
        if all((folder / name).is_file() for name in _FILES):
            return folder
    return None


def _has_files(directory: Path) -> bool:
    return (directory / "config.json").is_file() and _folder_of(directory) is not None


def read_sentence_model_info(directory: str | os.PathLike[str]) -> SentenceModelInfo:
    """Read and check a directory of ours; loads no weights.

    Raises:
        ModelError: Something is missing or malformed, or the model was trained with another text normaliser.
    """
    path = Path(directory)
    folder = _folder_of(path)
    if folder is None:
        raise ModelError(
            f"{path} is not a sentence encoder: {' or '.join(_FILES)} is missing", hint="peyda train scorer makes one"
        )
    config = read_json(path / "config.json")
    own = config.get("peyda") or {}
    version = str(own.get("normalizer_version", NORMALIZER_VERSION))
    if version and version != NORMALIZER_VERSION:
        raise ModelError(
            f"{path} was trained with normaliser {version}, this Peyda has {NORMALIZER_VERSION}",
            hint="install the Peyda version that the model names on its card, or another model",
        )
    try:
        return SentenceModelInfo(
            name=column_name(str(own.get("name", path.resolve().name)).removesuffix(_SUFFIX)),
            folder=folder,
            embed_dim=int(config["embed_dim"]),
            context_length=int(config.get("text_cfg", {}).get("context_length", 77)),
            fingerprint=_fingerprint(folder),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"config.json of {path} is malformed: {error!r}", hint="export the model again") from error


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in _FILES:
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]


def column_name(name: str) -> str:
    """A model's name as the end of a column name: lower-case letters, digits and underscores.

    >>> column_name("sentence-transformers/LaBSE")
    'labse'
    """
    last = name.rstrip("/").rsplit("/", 1)[-1]
    return re.sub(r"[^a-z0-9]+", "_", last.lower()).strip("_") or "model"


class OnnxSentenceEncoder:
    """`SentenceEncoder` over a directory of ours. Weights load on first use.

    Raises:
        ModelError: The directory is not usable.
    """

    def __init__(self, directory: str | os.PathLike[str], *, threads: int | None = None) -> None:
        self.info = read_sentence_model_info(directory)
        self._tower = TextTower(
            self.info.folder,
            name=self.info.name,
            embed_dim=self.info.embed_dim,
            context_length=self.info.context_length,
            threads=min(_MAX_THREADS, threads or available_cores()),
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
        """Digest over the tokenizer and the weights."""
        return self.info.fingerprint

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """Embed sentences, normalised first (`peyda.persian`)."""
        return self._tower.encode(texts)


class SentenceTransformersEncoder:
    """`SentenceEncoder` over the library sentence-transformers, as fp32 on whatever device torch finds.

    Texts go in as they are, since these models never saw our normaliser; only what no tokenizer reads (lone
    surrogates) is replaced.

    Raises:
        ModelError: The library is not installed, or the model is neither on this machine nor to be fetched.
    """

    def __init__(self, name: str, *, threads: int | None = None, batch_size: int = _BATCH) -> None:
        self._id = KNOWN_SENTENCE_MODELS.get(name.lower(), name)
        self.name = column_name(name)
        self.batch_size = batch_size
        self._model = _load_library_model(self._id, threads)
        self.embed_dim = int(self._model.encode(["a"], convert_to_numpy=True, show_progress_bar=False).shape[-1])

    @property
    def fingerprint(self) -> str:
        """The model's id and its commit on the hub; of a directory, the sizes and times of its files."""
        if os.path.isdir(self._id):
            return f"{self._id}@{_listing_digest(self._id)}"
        transformer = getattr(self._model[0], "auto_model", None)
        commit = getattr(getattr(transformer, "config", None), "_commit_hash", None)
        return f"{self._id}@{commit or 'unknown'}"

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """Embed sentences; the library sorts them by length."""
        if isinstance(texts, str):
            raise TypeError("encode_texts takes a list of str, not one str")
        if not texts:
            return np.empty((0, self.embed_dim), np.float32)
        readable = [text[:MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8") for text in texts]
        rows = self._model.encode(readable, batch_size=self.batch_size, convert_to_numpy=True, show_progress_bar=False)
        return l2_normalize(np.asarray(rows, np.float32))


def _listing_digest(directory: str) -> str:
    digest = hashlib.sha256()
    for folder, folders, names in os.walk(directory):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            status = os.stat(path)
            entry = f"{os.path.relpath(path, directory)} {status.st_size} {status.st_mtime_ns}\n"
            digest.update(entry.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _load_library_model(model_id: str, threads: int | None) -> Any:
    try:
        import sentence_transformers
        import torch
    except ImportError as error:
        raise ModelError(
            f"the scorer {model_id!r} needs the library sentence-transformers, which is not installed",
            hint="pip install 'peyda[sentence]', or use the embedded one: --scorer mini",
        ) from error
    if threads:
        torch.set_num_threads(threads)
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    try:
        return sentence_transformers.SentenceTransformer(model_id)
    except Exception as error:  # the hub, the disk and the libraries below each raise classes of their own
        raise ModelError(
            f"the sentence encoder {model_id!r} cannot be loaded: {' '.join(str(error).split())[:300]}",
            hint="check the name; without a network, give a directory that holds the model",
        ) from error
