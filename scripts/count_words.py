"""Writes src/peyda/persian/data/words_fa.tsv: the words of the native training captions and of our own lists of names.

    python scripts/count_words.py --data DATA

One row a word, as written with its half-spaces, and how often it occurs; each name counts once.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from peyda.persian import normalize
from peyda.persian.lexicon import caltech101_names, everyday_names, imagenet_names
from peyda.training.data import read_rows

TABLE = Path(__file__).resolve().parent.parent / "src/peyda/persian/data/words_fa.tsv"
_ZWNJ = "\u200c"
_AROUND = re.compile(r"^[^\u0621-\u06cc]+|[^\u0621-\u06cc]+$")
_WORD = re.compile(r"[\u0621-\u06cc]+(?:\u200c[\u0621-\u06cc]+)*")


def words(texts: Iterable[str]) -> Counter[str]:
    """Words of texts, each part between half-spaces normalised."""
    counts: Counter[str] = Counter()
    for text in texts:
        for raw in text.split():
            parts = (normalize(part) for part in _AROUND.sub("", raw).split(_ZWNJ))
            if _WORD.fullmatch(word := _ZWNJ.join(part for part in parts if part)):
                counts[word] += 1
    return counts


def main() -> None:
    """Count, write the table, say how many words it has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the development data")
    captions = (row["caption_fa"] for row in read_rows(parser.parse_args().data / "native_fa.csv"))
    names = (name for entry in (*imagenet_names(), *caltech101_names(), *everyday_names()) for name in entry.fa)
    counts = words(captions) + words(set(names))
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    TABLE.write_text("".join(f"{word}\t{count}\n" for word, count in rows), encoding="utf-8")
    print(f"{TABLE.name}: {len(rows)} words")


if __name__ == "__main__":
    main()
