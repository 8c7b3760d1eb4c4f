"""The engine `mini`: this project's own caption translator on ONNX Runtime, no network.

A model directory holds `config.json`, `encoder.onnx`, `decoder.onnx`, `source.json` and `target.json` (tokenizers);
`peyda train translator` writes one. The encoder gives each decoder layer its keys and values once; the decoder then
goes one piece at a time for all beams of a batch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peyda.config import load_settings
from peyda.errors import ModelError
from peyda.translate.mini_search import SearchOptions, beam_search
from peyda.translate.mini_text import source_text, target_text
from peyda.translate.protocol import EngineOptions, Failed, Outcome, Translated
from peyda.types import Float32, Int64

if TYPE_CHECKING:
    import onnxruntime as ort
    from tokenizers import Tokenizer

EMBEDDED = "mini-translator"
_FILES = ("encoder.onnx", "decoder.onnx", "source.json", "target.json")
_BATCH_SIZE = 128
_CHUNK = 32
_LONGEST_TEXT = 1_000
_MORE_PIECES = 12


def open_engine(options: EngineOptions) -> MiniEngine:
    """Open the embedded translator, or the one in the directory `options.model`.

    Raises:
        ConfigError: An unknown option.
        ModelError: The directory is no translator of ours, or is damaged.
    """
    options.only("mini", "model", "batch_size", "beam_size", "threads")
    return MiniEngine(
        _directory(options.model), batch_size=options.batch_size, beams=options.beam_size, threads=options.threads
    )


def _directory(model: str | None) -> Path:
    """A directory as given; a name among the installed models; or the embedded one."""
    if model and (Path(model).is_dir() or os.sep in model):
        return Path(model)
    name = model or EMBEDDED
    for parent in (Path(load_settings().models), Path(str(files("peyda"))) / "models"):
        for candidate in (name, f"{name}-translator"):
            if (parent / candidate / "decoder.onnx").is_file():
                return parent / candidate
    raise ModelError(
        f"no translator {name!r} is installed",
        hint="take --engine google, openai or ctranslate2; peyda train translator makes one, and --model DIR names it",
    )


@dataclass(frozen=True)
class _Config:
    layers: int
    heads: int
    head_dim: int
    start: int
    end: int
    pad: int
    source_limit: int
    target_limit: int
    beams: int
    length_penalty: float


def _read_config(directory: Path) -> tuple[str, _Config]:
    for name in ("config.json", *_FILES):
        if not (directory / name).is_file():
            raise ModelError(
                f"{directory} is no translator: {name} is missing", hint="peyda train translator makes one"
            )
    try:
        document = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        for name, entry in document["peyda"]["files"].items():
            if (directory / name).stat().st_size != entry["size_bytes"]:
                raise ModelError(f"{name} in {directory} is incomplete", hint="install or export the model again")
        return str(document["peyda"]["name"]), _Config(**document["translator"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"config.json of {directory} is malformed: {error!r}", hint="export the model again"
        ) from error


class MiniEngine:
    """See the module. One call at a time, which uses all cores itself."""

    longest_text = _LONGEST_TEXT
    concurrency = 1
    calls_per_s: float | None = None

    def __init__(
        self, directory: Path, *, batch_size: int | None = None, beams: int | None = None, threads: int | None = None
    ) -> None:
        name, self._config = _read_config(directory)
        self.batch_size = batch_size or _BATCH_SIZE
        self._beams = beams or self._config.beams
        self.label = "mini" if name == "mini" else f"mini:{name}"
        self.identity = f"mini|{_fingerprint(directory)}|beam {self._beams}"
        self._encoder = _session(directory / "encoder.onnx", threads)
        self._decoder = _session(directory / "decoder.onnx", threads)
        self._source = _tokenizer(directory / "source.json")
        self._target = _tokenizer(directory / "target.json")

    def translate(self, texts: Sequence[str]) -> list[Outcome]:
        """All of `texts`, those of like length together."""
        ids = [one.ids for one in self._source.encode_batch([source_text(text) for text in texts])]
        outcomes: list[Outcome] = [Failed("empty_answer")] * len(texts)
        fitting = []
        for n, sequence in enumerate(ids):
            if len(sequence) > self._config.source_limit:
                detail = f"{len(sequence):,} pieces, and the model takes {self._config.source_limit}"
                outcomes[n] = Failed("too_long", detail)
            else:
                fitting.append(n)
        fitting.sort(key=lambda n: len(ids[n]))
        for start in range(0, len(fitting), _CHUNK):
            rows = fitting[start : start + _CHUNK]
            for n, pieces in zip(rows, self._search([ids[n] for n in rows]), strict=True):
                outcomes[n] = self._outcome(pieces)
        return outcomes

    def _search(self, ids: list[list[int]]) -> list[list[int] | None]:
        config = self._config
        longest = max(map(len, ids))
        tokens = np.full((len(ids), longest), config.pad, np.int32)
        for row, sequence in enumerate(ids):
            tokens[row, : len(sequence)] = sequence
        options = SearchOptions(
            start=config.start,
            end=config.end,
            beams=self._beams,
            length_penalty=config.length_penalty,
            limit=min(config.target_limit, 2 * longest + _MORE_PIECES),
        )
        return beam_search(_Steps(self._encoder, self._decoder, config, tokens, self._beams), len(ids), options)

    def _outcome(self, pieces: list[int] | None) -> Outcome:
        if pieces is None:
            return Failed("half_answer", "the translation has no end")
        text = target_text(self._target.decode(pieces, skip_special_tokens=True))
        return Translated(text) if text else Failed("empty_answer")

    def close(self) -> None:
        """Nothing is held that the interpreter does not free."""


class _Steps:
    """`mini_search.Decoder` over the two graphs: holds the keys and values of everything before."""

    def __init__(
        self,
        encoder: ort.InferenceSession,
        decoder: ort.InferenceSession,
        config: _Config,
        tokens: np.ndarray[Any, np.dtype[np.int32]],
        beams: int,
    ) -> None:
        self._decoder = decoder
        names = [output.name for output in encoder.get_outputs()]
        self._memory = dict(zip(names, encoder.run(names, {"text": tokens}), strict=True))
        self._outputs = [output.name for output in decoder.get_outputs()]
        empty = np.zeros((len(tokens) * beams, config.heads, 0, config.head_dim), np.float32)
        self._past = {f"past.{n}.{part}": empty for n in range(config.layers) for part in "kv"}
        self._at = 0

    def step(self, tokens: Int64, parents: Int64, width: int) -> tuple[Float32, Int64]:
        """See `mini_search.Decoder`."""
        feed: dict[str, Any] = {
            "tokens": tokens,
            "parents": parents,
            "at": np.asarray([self._at], np.int64),
            "width": np.asarray([width], np.int64),
            **self._memory,
            **self._past,
        }
        results = dict(zip(self._outputs, self._decoder.run(self._outputs, feed), strict=True))
        self._past = {name: results[f"present{name.removeprefix('past')}"] for name in self._past}
        self._at += 1
        return results["values"], results["pieces"]


def _session(path: Path, threads: int | None) -> ort.InferenceSession:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises bare classes of its own
        raise ModelError(f"cannot load {path}: {str(error)[:300]}", hint="install or export the model again") from error


def _tokenizer(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ModelError(f"cannot read {path}: {error}", hint="install or export the model again") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _fingerprint(directory: Path) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for name in ("config.json", *_FILES):
        digest.update(f"{name}\0".encode())
        with (directory / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
