"""The tokenizer of the embedded text tower: XLM-R's unigram pieces, pruned, as a `tokenizer.json`.

Owns which pieces to keep and the JSON that the `tokenizers` library reads. Text reaches it normalised by
`peyda.persian`, so the file carries no character map of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer

from peyda.training.e5 import Vocabulary

E5_PREFIX = "query:"
"""What multilingual-e5-small was trained to find before a query."""

# Alphabets that are always kept, so that no Persian or English word becomes <unk>.
_ALPHABET = "آابپتثجچحخدذرزژسشصضطظعغفقکگلمنوهیئءabcdefghijklmnopqrstuvwxyz0123456789.,!?:;()'\"-/%&+؟،«»"


def tokenizer_json(vocabulary: Vocabulary, *, prefix: str = E5_PREFIX, context_length: int = 64) -> dict[str, Any]:
    """The `tokenizer.json` document for these pieces.

    Every text becomes `<s> query: … </s>` (the prefix that e5 was trained with, as tokens of the template, so that it
    is never typed by a caller), at most `context_length` ids, the middle `$A` cut when longer.
    """
    specials = [(vocabulary.pieces[i], i) for i in (vocabulary.bos, vocabulary.pad, vocabulary.eos, vocabulary.unk)]
    bos, eos = vocabulary.pieces[vocabulary.bos], vocabulary.pieces[vocabulary.eos]
    prefix_pieces = _pieces_of(vocabulary, prefix) if prefix else []
    template = [bos, *prefix_pieces]
    index = {piece: i for i, piece in enumerate(vocabulary.pieces)}
    used = dict.fromkeys([*template, eos])
    return {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": context_length, "strategy": "LongestFirst", "stride": 0},
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": piece,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for piece, i in specials
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                *({"SpecialToken": {"id": piece, "type_id": 0}} for piece in template),
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": eos, "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {piece: {"id": piece, "ids": [index[piece]], "tokens": [piece]} for piece in used},
        },
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {
            "type": "Unigram",
            "unk_id": vocabulary.unk,
            "vocab": [[p, round(s, 5)] for p, s in zip(vocabulary.pieces, vocabulary.scores, strict=True)],
            "byte_fallback": False,
        },
    }


def _pieces_of(vocabulary: Vocabulary, text: str) -> list[str]:
    """Segment `text` with the vocabulary itself (the template needs pieces, not text)."""
    import json

    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_json(vocabulary, prefix="")))
    return list(tokenizer.encode(text, add_special_tokens=False).tokens)


def pieces_to_keep(vocabulary: Vocabulary, texts: Iterable[str], *, limit: int) -> list[int]:
    """Ids of the pieces that these (normalised) texts use most, and of the alphabets.

    Args:
        vocabulary: The whole vocabulary.
        texts: Captions and common words, the more important ones more often.
        limit: How many pieces to keep at most, alphabets included.
    """
    import json

    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_json(vocabulary, prefix="")))
    counts: Counter[int] = Counter()
    batch: list[str] = []

    def flush() -> None:
        for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
            counts.update(encoding.ids)
        batch.clear()

    for text in texts:
        batch.append(text)
        if len(batch) == 4096:
            flush()
    flush()
    index = {piece: i for i, piece in enumerate(vocabulary.pieces)}
    always = {index[p] for c in _ALPHABET for p in (c, "▁" + c) if p in index} | {index["▁"]}
    always |= {index[p] for p in _pieces_of(vocabulary, "query:")}
    ranked = [i for i, _ in counts.most_common() if i not in always]
    return sorted(always) + ranked[: max(0, limit - len(always))]
