"""The pieces that Persian translations are written with: a unigram model learned from the training targets.

XLM-R's pieces know no half-space (its normaliser drops them), so the target side learns pieces of its own, whole words
where they are frequent («می‌کند» is one). Each begins as the mean of the e5 pieces that its text is made of, so the
decoder starts from the pretrained table all the same. Unigram model: Kudo 2018, https://arxiv.org/abs/1804.10959.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from peyda.persian import normalize
from peyda.training.e5 import E5File
from peyda.training.tokenizer import tokenizer_json
from peyda.types import Float32

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
START, PAD, END, UNKNOWN = range(4)
_ALPHABET = "آابپتثجچحخدذرزژسشصضطظعغفقکگلمنوهیئءأؤًabcdefghijklmnopqrstuvwxyz۰۱۲۳۴۵۶۷۸۹.!:()'\"-/%&+؟،؛«»\u200c"


def target_tokenizer(texts: Iterable[str], folder: Path, *, pieces: int) -> Tokenizer:
    """Learn the pieces from texts in the form of `target_text`; kept in `folder`."""
    path = folder / "target.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=pieces,
            special_tokens=list(SPECIALS),
            unk_token="<unk>",
            initial_alphabet=list(_ALPHABET),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        temporary = path.with_suffix(".tmp")
        document = json.loads(tokenizer.to_str())
        temporary.write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
        temporary.rename(path)
    return Tokenizer.from_file(str(path))


def initial_table(tokenizer: Tokenizer, file: E5File) -> Float32:
    """A word table Float32[pieces, h] made of e5's: for each piece the mean over e5's pieces of its text.

    Rows are scaled to the length that `TranslatorModel` gives its own (h^-½ a number).
    """
    whole = Tokenizer.from_str(json.dumps(tokenizer_json(file.vocabulary, prefix="")))
    words = file.tensors["emb.word"]
    hidden = words.shape[1]
    centre = words.mean(0)
    rng = np.random.default_rng(0)
    table = rng.normal(0, hidden**-0.5, (tokenizer.get_vocab_size(), hidden)).astype(np.float32)
    for piece, row in tokenizer.get_vocab().items():
        text = normalize(piece.replace("▁", " "))
        ids = whole.encode(text, add_special_tokens=False).ids if text and piece not in SPECIALS else []
        ids = [i for i in ids if i != file.vocabulary.unk]
        if ids:
            mean = words[ids].mean(0) - centre
            table[row] = 0.9 * mean / max(float(mean.std()), 1e-6) * hidden**-0.5 + 0.3 * table[row]
    return table
