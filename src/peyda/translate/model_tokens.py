"""How each family of translation models is told its languages, and how text becomes its pieces and back.

| family | source | target begins with |
|---|---|---|
| NLLB | `eng_Latn` pieces `</s>` | `pes_Arab` |
| M2M100 | `__en__` pieces `</s>` | `__fa__` |
| mBART-50 | `en_XX` pieces `</s>` | `fa_IR` |
| MADLAD | pieces of "<2fa> text" `</s>` | |
| opus-mt, several targets | `>>pes<<` pieces `</s>` | |
| opus-mt, one pair | pieces `</s>` | |

Without its token a model translates into whatever it likes, so a vocabulary that has none for Persian is refused.
Sources: the NLLB paper, 6.1.1 (https://arxiv.org/abs/2207.04672), for the place of the source token, which older
tokenizers put last; MADLAD-400 (https://arxiv.org/abs/2309.04662); the model cards of Helsinki-NLP.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from peyda.errors import ConfigError, ModelError

_PAIRS = (("NLLB", "eng_Latn", "pes_Arab"), ("M2M100", "__en__", "__fa__"), ("mBART-50", "en_XX", "fa_IR"))
_MADLAD = "<2fa>"
_OPUS_TARGETS = (">>pes<<", ">>fas<<", ">>fa<<", ">>pes_Arab<<", ">>per<<")
_OPUS_TARGET = re.compile(r">>[\w-]+<<")
_SOURCE_MODELS = (
    "source.spm",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "spiece.model",
    "tokenizer.model",
    "spm.model",
)
_END = "</s>"


@dataclass(frozen=True, slots=True)
class Pieces:
    """A tokenizer: text → pieces, pieces → text."""

    encode: Callable[[str], list[str]]
    decode: Callable[[Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class ModelTokens:
    """How one model wants its input.

    Attributes:
        family: "NLLB", "MADLAD", "opus-mt", …
        source_token: Language token in front of the source pieces; "" for none.
        text_prefix: What is put in front of the text before it is cut into pieces.
        target_token: Token that the translation is made to begin with; "" for none.
        ends_source: Whether `</s>` is still to be added; some converted models do it themselves.
        pieces: The tokenizer.
    """

    family: str
    pieces: Pieces
    source_token: str = ""
    text_prefix: str = ""
    target_token: str = ""
    ends_source: bool = True

    @property
    def description(self) -> str:
        """For the engine's identity."""
        return f"{self.family} {self.source_token or self.text_prefix or '-'}>{self.target_token or '-'}"

    @property
    def target_prefix(self) -> list[str]:
        """What decoding is made to begin with."""
        return [self.target_token] if self.target_token else []

    def source(self, text: str) -> list[str]:
        """The tokens that the model reads for `text`."""
        pieces = self.pieces.encode(self.text_prefix + text)
        return [*([self.source_token] if self.source_token else []), *pieces, *([_END] if self.ends_source else [])]

    def target(self, tokens: Sequence[str]) -> str:
        """The text of what the model wrote."""
        if self.target_token and tokens and tokens[0] == self.target_token:
            tokens = tokens[1:]
        return self.pieces.decode([one for one in tokens if one not in {_END, "<s>", "<pad>"}])


def read_model_tokens(directory: str) -> ModelTokens:
    """Recognise the family of a model directory by its vocabulary.

    Raises:
        ModelError: No vocabulary, no tokenizer, or no token for Persian where one is needed.
        ConfigError: A library is not installed.
    """
    source_words = _vocabulary(directory, "source")
    target_words = _vocabulary(directory, "target")
    pieces = _read_pieces(directory)
    ends_source = not _config(directory).get("add_source_eos", False)
    for family, source_token, target_token in _PAIRS:
        if source_token in source_words and target_token in target_words:
            return ModelTokens(family, pieces, source_token, "", target_token, ends_source)
    if _MADLAD in source_words:
        tokens = ModelTokens("MADLAD", pieces, "", _MADLAD + " ", "", ends_source)
        if _MADLAD not in pieces.encode(tokens.text_prefix + "a"):
            raise ModelError(
                f"the tokenizer in {directory} does not know {_MADLAD}", hint="copy the model's own spiece.model there"
            )
        return tokens
    if found := next((one for one in _OPUS_TARGETS if one in source_words), None):
        return ModelTokens("opus-mt", pieces, found, "", "", ends_source)
    if others := sorted(word for word in source_words if _OPUS_TARGET.fullmatch(word) or re.fullmatch(r"<2\w+>", word)):
        raise ModelError(
            f"the model in {directory} does not translate into Persian: it knows {', '.join(others[:8])}",
            hint="use a model that does (docs/data/engines.md)",
        )
    return ModelTokens("opus-mt", pieces, ends_source=ends_source)


def _vocabulary(directory: str, side: str) -> set[str]:
    for name in (f"{side}_vocabulary", "shared_vocabulary"):
        for ending in (".json", ".txt"):
            path = os.path.join(directory, name + ending)
            if os.path.isfile(path):
                return set(_read_words(path))
    raise ModelError(f"{directory} has no {side} vocabulary", hint="convert the model again")


def _read_words(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            words = json.load(file) if path.endswith(".json") else file.read().split("\n")
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}", hint="convert the model again") from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ModelError(f"{path} is no list of words", hint="convert the model again")
    return words


def _config(directory: str) -> dict[str, Any]:
    path = os.path.join(directory, "config.json")
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}", hint="convert the model again") from error
    return config if isinstance(config, dict) else {}


def _read_pieces(directory: str) -> Pieces:
    """The tokenizer of a directory: SentencePiece's own file first, as the model was trained with it."""
    source = next((one for one in _SOURCE_MODELS if os.path.isfile(os.path.join(directory, one))), None)
    as_json = os.path.join(directory, "tokenizer.json")
    if source is not None:
        target = "target.spm" if source == "source.spm" else source
        try:
            return _sentencepiece(os.path.join(directory, source), os.path.join(directory, target))
        except ImportError as error:
            if not os.path.isfile(as_json):
                raise ConfigError(
                    f"{source} needs the library sentencepiece", hint="pip install 'peyda[ctranslate2]'"
                ) from error
    if os.path.isfile(as_json):
        return _tokenizers(as_json)
    raise ModelError(
        f"{directory} has no tokenizer",
        hint=f"copy the model's own beside model.bin: tokenizer.json or {', '.join(_SOURCE_MODELS)}",
    )


def _sentencepiece(source_path: str, target_path: str) -> Pieces:
    import sentencepiece

    def load(path: str) -> Any:
        try:
            return sentencepiece.SentencePieceProcessor(model_file=path)
        except (OSError, RuntimeError, TypeError) as error:
            raise ModelError(f"{path} is no SentencePiece model: {error}", hint="copy it there again") from error

    source = load(source_path)
    target = source if target_path == source_path else load(target_path)

    def encode(text: str) -> list[str]:
        return list(source.encode(text, out_type=str))

    def decode(pieces: Sequence[str]) -> str:
        return str(target.decode(list(pieces)))

    return Pieces(encode, decode)


def _tokenizers(path: str) -> Pieces:
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_file(path)
    except Exception as error:  # the library raises plain Exception
        raise ModelError(f"{path} cannot be read: {error}", hint="copy the model's own there again") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def encode(text: str) -> list[str]:
        return list(tokenizer.encode(text, add_special_tokens=False).tokens)

    def decode(pieces: Sequence[str]) -> str:
        ids = [tokenizer.token_to_id(piece) for piece in pieces]
        return str(tokenizer.decode([one for one in ids if one is not None], skip_special_tokens=True))

    return Pieces(encode, decode)
