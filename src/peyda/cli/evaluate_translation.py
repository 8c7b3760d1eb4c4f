"""`peyda evaluate translation` and `peyda evaluate scorer`: measured on captions in both languages."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from peyda.cli.evaluate_options import parse_where, stage_progress
from peyda.cli.options import json_option
from peyda.cli.row_progress import aligned
from peyda.cli.terminal import escaped, write_line

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def _pair_options(command: _Command) -> _Command:
    """Options that say which pairs: `captions`, `english`, `where`, `split_table`, `split`, `first_only`."""
    for option in (
        click.option("--first-only", is_flag=True, help="Only the first caption of each photograph."),
        click.option("--split", metavar="NAME", help="Only photographs of this split."),
        click.option("--split-table", metavar="CSV", help="Table of image and split, where TABLE has no such column."),
        click.option(
            "--where", metavar="COLUMN=VALUE", multiple=True, callback=parse_where, help="Rows to take; repeatable."
        ),
        click.option("--english", metavar="TABLE", help="Table with the English captions, where TABLE has none."),
        click.option("--captions", metavar="TABLE", required=True, help="Caption table with the Persian captions."),
    ):
        command = option(command)
    return command


@click.command()
@_pair_options
@click.option("--engine", metavar="NAME", default="mini", show_default=True, help="Engine of `peyda translate`.")
@click.option("--model", metavar="NAME|DIR", help="The engine's model.")
@click.option("--beam-size", metavar="N", type=click.IntRange(1), help="Width of the search; 1 is greedy.")
@click.option("--threads", metavar="N", type=click.IntRange(1), help="Threads of a local engine.")
@click.option("--out", metavar="DIR", required=True, help="Where metrics.json and translations.jsonl go.")
@json_option
def translation(
    captions: str,
    english: str | None,
    where: dict[str, list[str]],
    split_table: str | None,
    split: str | None,
    first_only: bool,
    engine: str,
    model: str | None,
    beam_size: int | None,
    threads: int | None,
    out: str,
    as_json: bool,
) -> None:
    """Translate English captions and compare with their Persian renderings: BLEU and chrF (sacreBLEU)."""
    from peyda.evaluation.parallel import PairSource
    from peyda.evaluation.translation import evaluate_translation
    from peyda.translate import EngineOptions, open_engine

    source = PairSource(captions, english, where, split_table, split, first_only)
    opened = open_engine(engine, EngineOptions(model=model, beam_size=beam_size, threads=threads))
    try:
        report = evaluate_translation(opened, source, progress=stage_progress())
    finally:
        opened.close()
    report.write(out)
    numbers = report.metrics
    if as_json:
        write_line(sys.stdout, json.dumps(numbers))
        return
    write_line(
        sys.stdout, f"{escaped(numbers['engine'])}: {numbers['captions']:,} captions, {numbers['failed']:,} failed"
    )
    write_line(
        sys.stdout, f"BLEU {numbers['bleu']}  chrF {numbers['chrf']}  {numbers['captions_per_second']} captions/s"
    )
    write_line(sys.stderr, f"written to {escaped(out)}")


@click.command()
@_pair_options
@click.option("--scorer", "name", metavar="NAME|DIR", default="mini", show_default=True, help="Sentence encoder.")
@click.option("--seed", metavar="N", type=click.IntRange(0), default=0, show_default=True, help="Of the damages.")
@click.option("--out", metavar="DIR", required=True, help="Where metrics.json and scores.jsonl go.")
@json_option
def scorer(
    captions: str,
    english: str | None,
    where: dict[str, list[str]],
    split_table: str | None,
    split: str | None,
    first_only: bool,
    name: str,
    seed: int,
    out: str,
    as_json: bool,
) -> None:
    """Find the right Persian caption by its English one, and tell true translations from damaged ones.

    Damages: a swapped pair, a dropped or swapped noun, a wrong number or colour, an untranslated word, a repeated word.
    """
    from peyda.encoders.sentence import load_sentence_encoder
    from peyda.evaluation.parallel import PairSource
    from peyda.evaluation.scorer import evaluate_scorer

    source = PairSource(captions, english, where, split_table, split, first_only)
    report = evaluate_scorer(load_sentence_encoder(name), source, seed=seed)
    report.write(out)
    if as_json:
        write_line(sys.stdout, json.dumps(report.metrics))
        return
    numbers = report.metrics
    write_line(sys.stdout, f"{escaped(numbers['scorer'])}: {numbers['pairs']:,} pairs")
    for way in ("english_to_persian", "persian_to_english"):
        write_line(
            sys.stdout, f"{way}: right one first {numbers[way]['accuracy_at_1']:.3f}, MRR {numbers[way]['mrr']:.3f}"
        )
    rows = [["damage", "pairs", "area under curve", "own pair wins"]]
    for damage, one in numbers["damages"].items():
        rows.append([damage, f"{one['pairs']:,}", f"{one['area_under_curve']:.3f}", f"{one['own_pair_wins']:.3f}"])
    rows.append(["equal shares", "", f"{numbers['area_under_curve']:.3f}", ""])
    for line in aligned(rows):
        write_line(sys.stdout, line)
    write_line(sys.stderr, f"written to {escaped(out)}")
