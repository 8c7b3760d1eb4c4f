"""The engine `ctranslate2`: a translation model in CTranslate2's format from a directory, without a network.

NLLB, MADLAD, opus-mt, M2M100 and mBART-50 differ in how they are told the languages; `model_tokens` knows how. The
directory is what `ct2-transformers-converter --copy_files …` or `ct2-opus-mt-converter` writes, with the tokenizer
beside the weights. Source: https://opennmt.net/CTranslate2/.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any

from peyda.errors import ConfigError, ModelError
from peyda.translate.model_tokens import ModelTokens, read_model_tokens
from peyda.translate.protocol import Engine, EngineOptions, Failed, Outcome, Translated

_BATCH_SIZE = 64
_BEAM_SIZE = 4
_LONGEST_TEXT = 4_000
_INPUT_TOKENS = 512
_OUTPUT_TOKENS = 256
_BATCH_TOKENS = 2_048
_READ_BYTES = 1 << 20


def open_engine(options: EngineOptions) -> Engine:
    """Open the model directory `options.model`.

    Raises:
        ConfigError: ctranslate2 is not installed, or an unknown option.
        ModelError: The directory is no such model, lacks its tokenizer, or does not know Persian.
    """
    options.only("ctranslate2", "model", "batch_size", "beam_size", "device", "threads")
    if not options.model:
        raise ConfigError(
            "the engine ctranslate2 needs a model directory", hint="for example: --model models/nllb-600m"
        )
    directory = os.path.abspath(os.path.expanduser(options.model))
    if not os.path.isfile(os.path.join(directory, "model.bin")):
        raise ModelError(
            f"{directory} is no CTranslate2 model: it has no model.bin",
            hint="make one with ct2-transformers-converter (docs/data/engines.md)",
        )
    try:
        import ctranslate2
    except ImportError as error:
        raise ConfigError(
            "the engine ctranslate2 needs its library", hint="pip install 'peyda[ctranslate2]'"
        ) from error
    tokens = read_model_tokens(directory)
    device = options.device or "cpu"
    try:
        translator = ctranslate2.Translator(
            directory, device=device, compute_type="default", inter_threads=1, intra_threads=options.threads or 0
        )
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"{directory} cannot be loaded: {error}", hint="convert it again, or choose another --device"
        ) from error
    return DirectoryEngine(
        directory,
        translator,
        tokens,
        batch_size=options.batch_size or _BATCH_SIZE,
        beam_size=options.beam_size or _BEAM_SIZE,
    )


class DirectoryEngine:
    """See the module. The library uses all cores for one call, so there is one call at a time."""

    longest_text = _LONGEST_TEXT
    concurrency = 1
    calls_per_s: float | None = None

    def __init__(
        self, directory: str, translator: Any, tokens: ModelTokens, *, batch_size: int, beam_size: int
    ) -> None:
        self.label = f"ctranslate2:{os.path.basename(directory)}"
        self.identity = f"ctranslate2|{fingerprint(directory)}|{tokens.description}|beam {beam_size}"
        self.batch_size = batch_size
        self._translator = translator
        self._tokens = tokens
        self._beam_size = beam_size

    def translate(self, texts: Sequence[str]) -> list[Outcome]:
        """All of `texts` in one call; the library sorts them by length itself."""
        sources = [self._tokens.source(text) for text in texts]
        outcomes: list[Outcome] = [
            Failed("too_long", f"{len(source):,} tokens, and the model takes {_INPUT_TOKENS}") for source in sources
        ]
        short = [n for n, source in enumerate(sources) if len(source) <= _INPUT_TOKENS]
        for n, outcome in zip(short, self._translate([sources[n] for n in short]), strict=True):
            outcomes[n] = outcome
        return outcomes

    def _translate(self, sources: list[list[str]]) -> list[Outcome]:
        if not sources:
            return []
        prefix = self._tokens.target_prefix
        try:
            results = self._translator.translate_batch(
                sources,
                target_prefix=[prefix] * len(sources) if prefix else None,
                beam_size=self._beam_size,
                max_batch_size=_BATCH_TOKENS,
                batch_type="tokens",
                max_input_length=0,  # longer ones were refused: nothing is cut in silence
                max_decoding_length=_OUTPUT_TOKENS,
            )
        except (RuntimeError, ValueError) as error:  # one text that the model cannot take fails all of its call
            if len(sources) == 1:
                return [Failed("crashed", f"ctranslate2: {error}"[:200])]
            return [outcome for source in sources for outcome in self._translate([source])]
        return [self._outcome(result.hypotheses[0]) for result in results]

    def _outcome(self, pieces: list[str]) -> Outcome:
        if len(pieces) >= _OUTPUT_TOKENS:
            return Failed("half_answer", f"the translation has no end within {_OUTPUT_TOKENS} tokens")
        text = self._tokens.target(pieces)
        return Translated(text) if text.strip() else Failed("empty_answer")

    def close(self) -> None:
        """Let go of the model's memory."""
        self._translator.unload_model()


def fingerprint(directory: str) -> str:
    """A hash of the model's files: weights, vocabularies, tokenizer, configuration."""
    digest = hashlib.blake2b(digest_size=12)
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if name.endswith((".bin", ".json", ".txt", ".model", ".spm")) and os.path.isfile(path):
            digest.update(f"{name}\0{os.path.getsize(path)}\0".encode())
            with open(path, "rb") as file:
                while chunk := file.read(_READ_BYTES):
                    digest.update(chunk)
    return digest.hexdigest()
