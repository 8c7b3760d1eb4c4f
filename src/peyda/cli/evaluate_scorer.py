"""`peyda evaluate scorer`: bilingual scorers on captions in both languages, true and damaged."""

from __future__ import annotations

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
    from peyda.evaluation.parallel import PairSource

_WAYS = {"english_to_persian": "en->fa first", "persian_to_english": "fa->en first"}


@click.command()
@pair_options
@click.option(
    "--scorer",
    "names",
    metavar="NAME|DIR",
    multiple=True,
    help="Sentence encoder of `peyda score`; several are compared.  [default: mini]",
)
@click.option(
    "--seed", metavar="N", type=click.IntRange(0), default=0, show_default=True, help="Of damages and resampling."
)
@click.option("--out", metavar="DIR", required=True, help="Where metrics.json, scores and report.html go.")
@json_option
def scorer(source: PairSource, names: tuple[str, ...], seed: int, out: str, as_json: bool) -> None:
    """Find the right Persian caption by its English one, and tell true translations from damaged ones.

    Damages: a swapped pair, a dropped or swapped noun, a wrong number or colour, an untranslated word, a repeated word.

    Several --scorer are measured on the same captions and damages, with a test of whether their differences are chance.
    """
    from peyda.encoders.sentence import load_sentence_encoder
    from peyda.evaluation.scorer import evaluate_scorer

    encoders = [load_sentence_encoder(name) for name in dict.fromkeys(names or ("mini",))]
    report = evaluate_scorer(encoders, source, seed=seed, progress=stage_progress())
    written = report.write(out)
    headings = {f"{way}_accuracy_at_1": heading for way, heading in _WAYS.items()} | {"area_under_curve": "area"}
    print_results(
        report.metrics,
        lambda: [
            *_table(report.metrics),
            "",
            *_damages(report.metrics),
            *comparison_lines(report.comparisons, headings),
        ],
        as_json=as_json,
    )
    remark_written(written, out, left_out(report.run))


def _table(metrics: list[dict[str, Any]]) -> list[str]:
    first = metrics[0]
    rows = [["scorer", *(name for heading in _WAYS.values() for name in (heading, "MRR")), "area under curve"]]
    for one in metrics:
        cells = [escaped(one["model"])]
        for way in _WAYS:
            cells += [
                with_margin(one[way]["accuracy_at_1"], one[way]["ci95"]["accuracy_at_1"]),
                f"{one[way]['mrr']:.3f}",
            ]
        rows.append([*cells, with_margin(one["area_under_curve"], one["ci95"]["area_under_curve"])])
    heading = f"{escaped(first['dataset'])}: {first['pairs']:,} pairs of {first['images']:,} photographs"
    return [heading, *aligned(rows)]


def _damages(metrics: list[dict[str, Any]]) -> list[str]:
    """Area under the curve and how often the own pair wins, for each damage."""
    names = [f"{escaped(one['model'])}: " if len(metrics) > 1 else "" for one in metrics]
    rows = [["damage", "pairs", *(name + what for name in names for what in ("area under curve", "own pair wins"))]]
    for damage, first in metrics[0]["damages"].items():
        found = [one["damages"][damage] for one in metrics]
        cells = [f"{one[what]:.3f}" for one in found for what in ("area_under_curve", "own_pair_wins")]
        rows.append([damage, f"{first['pairs']:,}", *cells])
    return aligned(rows)
