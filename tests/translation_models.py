"""Real CTranslate2 models, built in a moment: they translate word by word with a dictionary of five words.

The weights are written by hand instead of trained. The decoder's query at position p points at source position
p + `shift`, the value there is the word, and the output layer is the dictionary. So a model gives the right sentence if
and only if the language tokens stand where its family wants them: with one missing or out of place, every word shifts.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

WORDS = {"dog": "سگ", "snow": "برف", "red": "قرمز", "ball": "توپ", "runs": "می‌دود"}
_LENGTH = 24
_SHARP = 10.0


def build_nllb(directory: Path, *, tokens: tuple[str, str] = ("eng_Latn", "pes_Arab"), sharp: float = _SHARP) -> Path:
    """NLLB, or with other `tokens` M2M100 and mBART: a language token on both sides; tokenizer.json."""
    words = ["<unk>", "<s>", "</s>", *tokens, "deu_Latn", *_pieces(WORDS), *_pieces(WORDS.values())]
    _save(directory, words, shift=0, start="</s>", sharp=sharp)
    _save_tokenizer(directory, words)
    return directory


def build_madlad(directory: Path) -> Path:
    """MADLAD: the target language in front of the text; SentencePiece with the token as a symbol of its own."""
    pieces = _train_pieces(directory / "spiece.model", [*WORDS, *WORDS.values()], symbols=["<2fa>", "<2de>"])
    with_mark = _encode(directory / "spiece.model", "<2fa> dog")
    _save(directory, pieces, shift=with_mark.index("▁dog"), start="<s>")
    return directory


def build_opus(directory: Path, *, targets: Sequence[str] = (), adds_end: bool = False) -> Path:
    """opus-mt: source.spm and target.spm; with `targets` a model of several languages, told by `>>pes<<`.

    Args:
        directory: Where; is made.
        targets: Language tokens of the vocabulary.
        adds_end: As the converter of Marian's own files: the library adds `</s>` itself.
    """
    english = _train_pieces(directory / "source.spm", list(WORDS))
    persian = _train_pieces(directory / "target.spm", list(WORDS.values()))
    words = list(dict.fromkeys([*english, *targets, *persian]))
    _save(directory, words, shift=1 if targets else 0, start="</s>", adds_end=adds_end)
    return directory


def _pieces(words: Any) -> list[str]:
    return ["▁" + word for word in words]


def _train_pieces(path: Path, words: list[str], symbols: Sequence[str] = ()) -> list[str]:
    """Train a SentencePiece model in which every word is one piece, and return its pieces in order."""
    import sentencepiece

    path.parent.mkdir(parents=True, exist_ok=True)
    for size in range(120, 20, -1):  # as many merges as there are to be found: only the trainer knows
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter([word for word in words for _ in range(20)]),
                model_writer=model,
                model_type="bpe",
                vocab_size=size,
                user_defined_symbols=list(symbols),
                normalization_rule_name="identity",
                minloglevel=2,
            )
        except RuntimeError:
            continue
        path.write_bytes(model.getvalue())
        loaded = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        assert [loaded.encode(word, out_type=str) for word in words] == [["▁" + word] for word in words]
        return [loaded.id_to_piece(n) for n in range(loaded.get_piece_size())]
    raise AssertionError("SentencePiece found no vocabulary of whole words")


def _encode(path: Path, text: str) -> list[str]:
    import sentencepiece

    return list(sentencepiece.SentencePieceProcessor(model_file=str(path)).encode(text, out_type=str))


def _save_tokenizer(directory: Path, words: list[str]) -> None:
    special = [word for word in words if not word.startswith("▁")]
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            {
                "id": words.index(word),
                "content": word,
                "special": True,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
            for word in special
        ],
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "WordLevel", "vocab": {word: n for n, word in enumerate(words)}, "unk_token": "<unk>"},
    }
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")


def _save(
    directory: Path, words: list[str], *, shift: int, start: str, adds_end: bool = False, sharp: float = _SHARP
) -> None:
    from ctranslate2.converters import converter
    from ctranslate2.specs import TransformerSpec

    class _ByHand(converter.Converter):
        def _load(self) -> TransformerSpec:
            spec = TransformerSpec.from_config((1, 1), 1, pre_norm=True)
            _fill(spec, words, shift, sharp)
            spec.register_source_vocabulary(words)
            spec.register_target_vocabulary(words)
            spec.config.unk_token, spec.config.bos_token, spec.config.eos_token = "<unk>", "<s>", "</s>"
            spec.config.decoder_start_token = start
            spec.config.add_source_eos = adds_end
            return spec

    kept = {path.name: path.read_bytes() for path in directory.glob("*")} if directory.exists() else {}
    with contextlib.redirect_stdout(io.StringIO()):
        _ByHand().convert(str(directory), force=True)
    for name, data in kept.items():
        (directory / name).write_bytes(data)


def _fill(spec: Any, words: list[str], shift: int, sharp: float) -> None:
    count = len(words)
    dim = 2 * count + _LENGTH
    words_at, positions_at, output_at = slice(0, count), slice(count, count + _LENGTH), slice(count + _LENGTH, dim)
    by_position = np.zeros((_LENGTH, dim), np.float32)
    by_position[:, positions_at] = np.eye(_LENGTH)
    for side in (spec.encoder, spec.decoder):
        side.scale_embeddings = False
        side.position_encodings.encodings = by_position
    table = np.zeros((count, dim), np.float32)
    table[:, words_at] = np.eye(count)
    spec.encoder.embeddings[0].weight = table
    spec.decoder.embeddings.weight = np.zeros((count, dim), np.float32)

    query, key, value = (np.zeros((dim, dim), np.float32) for _ in range(3))
    query[positions_at, positions_at] = np.eye(_LENGTH, k=-shift) * sharp  # decoder position p asks for p + shift
    key[positions_at, positions_at] = np.eye(_LENGTH)
    value[output_at, words_at] = np.eye(count)
    cross = spec.decoder.layer[0].attention
    _linear(cross.linear[0], query)
    _linear(cross.linear[1], np.concatenate([key, value]))
    _linear(cross.linear[2], np.eye(dim, dtype=np.float32))
    _norm(cross.layer_norm, dim)
    for side in (spec.encoder, spec.decoder):
        _norm(side.layer_norm, dim)
        layer = side.layer[0]
        _norm(layer.self_attention.layer_norm, dim)
        _linear(layer.self_attention.linear[0], np.zeros((3 * dim, dim), np.float32))
        _linear(layer.self_attention.linear[1], np.zeros((dim, dim), np.float32))
        _norm(layer.ffn.layer_norm, dim)
        _linear(layer.ffn.linear_0, np.zeros((dim, dim), np.float32))
        _linear(layer.ffn.linear_1, np.zeros((dim, dim), np.float32))
    output = np.zeros((count, dim), np.float32)
    for n, word in enumerate(words):
        target = "▁" + WORDS.get(word.removeprefix("▁"), word.removeprefix("▁")) if word.startswith("▁") else word
        output[words.index(target) if target in words else n, output_at.start + n] = 10
    _linear(spec.decoder.projection, output)


def _linear(linear: Any, weight: np.ndarray) -> None:
    linear.weight = weight
    linear.bias = np.zeros(len(weight), np.float32)


def _norm(norm: Any, dim: int) -> None:
    norm.gamma = np.ones(dim, np.float32)
    norm.beta = np.zeros(dim, np.float32)


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "NLLB": build_nllb,
    "M2M100": lambda directory: build_nllb(directory, tokens=("__en__", "__fa__")),
    "mBART-50": lambda directory: build_nllb(directory, tokens=("en_XX", "fa_IR")),
    "MADLAD": build_madlad,
    "opus-mt, several targets": lambda directory: build_opus(directory, targets=[">>deu<<", ">>pes<<"]),
    "opus-mt, one pair": build_opus,
    "opus-mt, Marian's own": lambda directory: build_opus(directory, adds_end=True),
}
"""Family → builder of such a directory."""
