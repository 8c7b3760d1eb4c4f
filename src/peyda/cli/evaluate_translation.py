"""`peyda evaluate translation`: what translators say, beside captions in both languages."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from peyda.cli.evaluate_options import (
    comparison_lines,
    left_out,
    pair_options,
    print_results,
    remark_written,
    stage_progress,
    with_margin,
)
from peyda.cli.options import json_option
from peyda.cli.row_progress import aligned
from peyda.cli.terminal import escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peyda.evaluation.hypotheses import TranslationTable
    from peyda.evaluation.parallel import PairSource
    from peyda.translate import Engine


@click.command()
@pair_options
@click.option(
    "--engine",
    "engines",
    metavar="NAME[=MODEL]",
    multiple=True,
    help="Engine of `peyda translate`; several are compared.  [default: mini, where no translations are given]",
)
@click.option(
    "--translations",
    "tables",
    metavar="TABLE",
    multiple=True,
    help="Table that `peyda translate` has written; each of its engines is measured.",
)
@click.option(
    "--column",
    "columns",
    metavar="NAME",
    multiple=True,
    help="Column that holds translations, of --translations, or else of --captions.  [default: caption_fa]",
)
@click.option("--model", metavar="NAME|DIR", help="The engine's model, where there is one engine.")
@click.option("--beam-size", metavar="N", type=click.IntRange(1), help="Width of the search; 1 is greedy.")
@click.option("--threads", metavar="N", type=click.IntRange(1), help="Threads of a local engine.")
@click.option("--seed", metavar="N", type=click.IntRange(0), default=0, show_default=True, help="Of resampling.")
@click.option("--out", metavar="DIR", required=True, help="Where metrics.json, translations and report.html go.")
@json_option
def translation(
    source: PairSource,
    engines: tuple[str, ...],
    tables: tuple[str, ...],
    columns: tuple[str, ...],
    model: str | None,
    beam_size: int | None,
    threads: int | None,
    seed: int,
    out: str,
    as_json: bool,
) -> None:
    """Translate English captions and compare with their Persian renderings: BLEU and chrF (sacreBLEU).

    Several engines and tables of translations are measured on the same captions, with a test of whether their
    differences are chance.
    """
    from peyda.evaluation.translation import evaluate_translation
    from peyda.translate import EngineOptions, open_engine

    made = _tables(source, tables, columns)
    asked = [_engine(one, model) for one in engines or (() if made else ("mini",))]
    if model is not None and len(asked) != 1:
        raise click.UsageError("--model is of one engine; with several, write --engine NAME=MODEL")
    with ExitStack() as opened:
        systems: list[Engine | TranslationTable] = [*made]
        for name, its_model in asked:
            engine = open_engine(name, EngineOptions(model=its_model, beam_size=beam_size, threads=threads))
            opened.callback(engine.close)
            systems.append(engine)
        report = evaluate_translation(systems, source, seed=seed, progress=stage_progress())
    written = report.write(out)
    names = {"bleu": "BLEU", "chrf": "chrF"}
    print_results(
        report.metrics,
        lambda: [*_table(report.metrics), *comparison_lines(report.comparisons, names, decimals=2)],
        as_json=as_json,
    )
    remark_written(written, out, left_out(report.run))


def _tables(source: PairSource, tables: Sequence[str], columns: Sequence[str]) -> list[TranslationTable]:
    from peyda.evaluation.hypotheses import TranslationTable

    if not tables and "caption_fa" in columns:
        raise click.BadParameter(
            "caption_fa of --captions is what translations are compared with", param_hint="--column"
        )
    paths = list(tables) or ([os.fspath(source.captions)] if columns else [])
    names = dict.fromkeys(columns or ("caption_fa",))
    return [TranslationTable(path, column, source.where) for path in paths for column in names]


def _engine(text: str, model: str | None) -> tuple[str, str | None]:
    name, _, its_model = text.partition("=")
    return name.strip(), its_model.strip() or model


def _table(metrics: list[dict[str, Any]]) -> list[str]:
    first = metrics[0]
    rows = [["system", "BLEU", "chrF", "length ratio", "failed", "captions/s"]]
    for one in metrics:
        speed = "-" if one["captions_per_second"] is None else f"{one['captions_per_second']:,.1f}"
        numbers = [with_margin(one[name], one["ci95"][name], 2) for name in ("bleu", "chrf")]
        rows.append([escaped(one["model"]), *numbers, f"{one['length_ratio']:.3f}", f"{one['failed']:,}", speed])
    heading = f"{escaped(first['dataset'])}: {first['captions']:,} captions of {first['images']:,} photographs"
    return [heading, *aligned(rows)]
