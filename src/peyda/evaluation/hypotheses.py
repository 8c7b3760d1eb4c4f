"""Translations to measure, one for each caption: made by an engine, or read from tables made before.

A table is one that `peyda translate` writes, or any with image, caption_id and a column of Persian. Where it has a
column `engine` of several values, each is a system of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from peyda.captions import open_reader, photo_name
from peyda.errors import DataError
from peyda.evaluation.parallel import ReferencePair
from peyda.translate import Engine, Failed, Outcome

Progress = Callable[[str, int, int], None]

_ENGINE = "engine"


@dataclass(frozen=True, slots=True, eq=False)
class TranslationTable:
    """Translations that are there already.

    Attributes:
        path: The table.
        column: Its column of Persian.
        where: Column → allowed values: rows to take, by those columns that the table has.
    """

    path: str | os.PathLike[str]
    column: str = "caption_fa"
    where: Mapping[str, Sequence[str]] | None = None


@dataclass(frozen=True, slots=True)
class Hypotheses:
    """What one system says.

    Attributes:
        name: Of the system.
        texts: A translation for each pair, "" where there is none.
        failed: Distinct English captions without a translation.
        origin: For `run.json`: where they came from.
        captions_per_second: Of the engine; None for a table.
    """

    name: str
    texts: list[str]
    failed: int
    origin: Mapping[str, str]
    captions_per_second: float | None = None


def translate_pairs(engine: Engine, pairs: Sequence[ReferencePair], progress: Progress | None = None) -> Hypotheses:
    """Translate every different English caption once.

    Raises:
        EngineError: The engine refuses to go on.
    """
    distinct = list(dict.fromkeys(pair.english for pair in pairs))
    began = time.perf_counter()
    outcomes = _translate(engine, distinct, progress)
    seconds = time.perf_counter() - began
    return Hypotheses(
        name=engine.label,
        texts=[_text(outcomes[pair.english]) for pair in pairs],
        failed=sum(isinstance(outcome, Failed) for outcome in outcomes.values()),
        origin={"engine": engine.label, "identity": engine.identity},
        captions_per_second=round(len(distinct) / seconds, 1) if seconds else None,
    )


def read_translations(table: TranslationTable, pairs: Sequence[ReferencePair]) -> list[Hypotheses]:
    """The translations of the pairs, matched by photograph and caption id; one system for each engine of the table.

    Raises:
        DataError: The table cannot be used, lacks the column, or has no translation of any pair.
    """
    path = os.fspath(table.path)
    wanted = {(photo_name(pair.image), pair.caption_id) for pair in pairs}
    found: dict[str, dict[tuple[str, str], str]] = {}
    with open_reader(path, duplicates="keep", required=(table.column,)) as reader:
        has_engine = _ENGINE in reader.columns and table.column == "caption_fa"
        where = {name: set(values) for name, values in (table.where or {}).items() if name in reader.columns}
        for row in reader:
            key = (photo_name(row["image"]), row.get("caption_id", ""))
            text = row[table.column].strip()
            if key not in wanted or not text or any(row[name] not in values for name, values in where.items()):
                continue
            found.setdefault(row[_ENGINE] if has_engine else "", {}).setdefault(key, text)
    if not found:
        raise DataError(
            f"{path} has in {table.column} no translation of these captions",
            hint="rows are matched by image and caption_id; peyda translate leaves both as they are",
        )
    return [_of_table(table, engine, texts, pairs) for engine, texts in found.items()]


def _of_table(
    table: TranslationTable, engine: str, texts: Mapping[tuple[str, str], str], pairs: Sequence[ReferencePair]
) -> Hypotheses:
    name = os.path.basename(table.path).split(".")[0]
    said = [texts.get((photo_name(pair.image), pair.caption_id), "") for pair in pairs]
    return Hypotheses(
        name=engine or (name if table.column == "caption_fa" else table.column),
        texts=said,
        failed=len({pair.english for pair, text in zip(pairs, said, strict=True) if not text}),
        origin={"table": os.path.basename(table.path), "column": table.column, "engine": engine},
    )


def _translate(engine: Engine, texts: Sequence[str], progress: Progress | None) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    for start in range(0, len(texts), engine.batch_size):
        batch = texts[start : start + engine.batch_size]
        sendable = [text for text in batch if len(text) <= engine.longest_text]
        outcomes |= dict.fromkeys(batch, Failed("too_long"))
        answers = engine.translate(sendable) if sendable else []
        outcomes |= zip(sendable, answers, strict=True)
        if progress:
            progress("translations", start + len(batch), len(texts))
    return outcomes


def _text(outcome: Outcome) -> str:
    return "" if isinstance(outcome, Failed) else outcome.text


def told_apart(names: Sequence[str]) -> list[str]:
    """The names, with a number where one comes again.

    >>> told_apart(["mini", "google", "mini"])
    ['mini', 'google', 'mini 2']
    """
    seen: dict[str, int] = {}
    apart = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        apart.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return apart
