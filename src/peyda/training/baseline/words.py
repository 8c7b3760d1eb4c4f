"""Words of captions, their word2vec vectors, and the vector of a caption: the mean over its words.

Owns the tokenizer that both training and the exported text tower use. Text reaches it normalised (`peyda.persian`:
half-space is a space there), and it is split at spaces and punctuation. A word that word2vec has no vector for,
punctuation included, is left out of the mean; a text without any known word is the zero vector.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from peyda.errors import DataError
from peyda.training.baseline.recipe import WordRecipe
from peyda.training.features import digest
from peyda.types import Float32

PAD, UNKNOWN = "<pad>", "<unk>"
FIRST_WORD = 2  # ids below are those of PAD and UNKNOWN, which have zero rows in the table


@dataclass(frozen=True)
class WordVectors:
    """Words with vectors: row `FIRST_WORD` + i of `table` Float32[words + 2, dim] is the vector of `words[i]`."""

    words: list[str]
    table: Float32
    context_length: int

    def tokenizer(self) -> Tokenizer:
        """The tokenizer of these words: ids of at most `context_length` words."""
        vocabulary = {word: i for i, word in enumerate([PAD, UNKNOWN, *self.words])}
        tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = Whitespace()
        tokenizer.enable_truncation(self.context_length)
        return tokenizer

    def mean_vectors(self, texts: Sequence[str]) -> Float32:
        """The vectors of normalised texts: Float32[n, dim]."""
        tokenizer = self.tokenizer()
        out = np.zeros((len(texts), self.table.shape[1]), np.float32)
        for row, encoding in enumerate(tokenizer.encode_batch(list(texts))):
            ids = [i for i in encoding.ids if i >= FIRST_WORD]
            if ids:
                out[row] = self.table[ids].mean(0)
        return out


def split_words(text: str) -> list[str]:
    """The words of a normalised text, punctuation left out."""
    return [piece for piece, _ in Whitespace().pre_tokenize_str(text) if any(map(str.isalnum, piece))]


def train_words(texts: Sequence[str], recipe: WordRecipe, *, seed: int) -> WordVectors:
    """word2vec on normalised texts. Deterministic: one thread, and no hash of Python's decides anything.

    Raises:
        DataError: No word occurs `recipe.min_count` times.
    """
    from gensim.models.word2vec import Word2Vec

    sentences = [split_words(text) for text in texts]
    model: Any = Word2Vec(
        vector_size=recipe.dim,
        window=recipe.window,
        min_count=recipe.min_count,
        negative=recipe.negative,
        sg=int(recipe.skip_gram),
        seed=seed,
        workers=1,
    )
    model.build_vocab(sentences)
    words = [str(word) for word in model.wv.index_to_key]
    if not words:
        raise DataError(
            f"no word occurs {recipe.min_count} times in the captions", hint="lower words.min_count in the recipe"
        )
    model.train(sentences, total_examples=model.corpus_count, epochs=recipe.epochs)
    table = np.concatenate([np.zeros((FIRST_WORD, recipe.dim), np.float32), model.wv.vectors.astype(np.float32)])
    return WordVectors(words, table, recipe.context_length)


def cached_words(texts: Sequence[str], recipe: WordRecipe, cache: Path, *, seed: int) -> WordVectors:
    """`train_words`, kept in `cache` under a name of everything that went in.

    Raises:
        DataError: As `train_words`.
    """
    path = cache / f"words-{digest([repr(recipe), str(seed), *texts])}.npz"
    if not path.is_file():
        found = train_words(texts, recipe, seed=seed)
        cache.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp.npz")
        # Words as one JSON text: an array of strings would drop trailing zero characters, and objects need pickle.
        np.savez(temporary, words=np.asarray(json.dumps(found.words)), table=found.table)
        temporary.rename(path)
    with np.load(path) as file:
        return WordVectors(json.loads(str(file["words"])), file["table"], recipe.context_length)
