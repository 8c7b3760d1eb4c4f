"""`peyda evaluate robustness`: find photographs by captions as people mistype them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from peyda.cli.evaluate_options import (
    AskedQueries,
    left_out,
    load_encoders,
    models_option,
    parse_numbers,
    print_results,
    query_options,
    remark_written,
    stage_progress,
    with_margin,
)
from peyda.cli.options import json_option
from peyda.cli.row_progress import aligned
from peyda.cli.terminal import escaped

if TYPE_CHECKING:
    from peyda.evaluation.robustness import RobustnessReport


@click.command()
@query_options
@click.option(
    "--variant", "variants", metavar="NAME", multiple=True, help="Kind of mistyping; repeatable.  [default: all]"
)
@click.option("--k", "ks", metavar="10", default="10", callback=parse_numbers, help="The k of Acc@k.")
@click.option("--seed", metavar="N", type=click.IntRange(0), default=0, help="Of the draw and the slips.  [default: 0]")
@click.option("--out", metavar="DIR", required=True, help="Where metrics.json, the figure and report.html go.")
@models_option
@json_option
def robustness(
    asked: AskedQueries,
    variants: tuple[str, ...],
    ks: list[int],
    sample: int | None,
    seed: int,
    models: tuple[str, ...],
    out: str,
    as_json: bool,
) -> None:
    """Find photographs by captions as people mistype them, and say what each kind of mistyping costs.

    Kinds: arabic_letters, no_half_space, space_for_half_space, digits, number_words, diacritics, tatweel, finglish,
    keyboard_layout, typing_slip, missing_space, colloquial. Each is measured on the queries that it changes, beside
    the same queries written correctly.
    """
    from peyda.evaluation.robustness import evaluate_robustness
    from peyda.persian.typos import VARIANTS

    known = [one.code for one in VARIANTS]
    for code in variants:
        if code not in known:
            raise click.BadParameter(f"there is no kind {code!r}; kinds: {', '.join(known)}", param_hint="--variant")
    table = asked.read()
    report = evaluate_robustness(
        load_encoders(models),
        table,
        asked.images,
        **asked.choice(),
        ks=ks,
        variants=variants or None,
        sample=sample,
        seed=seed,
        progress=stage_progress(),
    )
    written = report.write(out)
    print_results(report.metrics, lambda: _table(report), as_json=as_json)
    remark_written(written, out, left_out(report.run))


def _table(report: RobustnessReport) -> list[str]:
    first = report.metrics[0]
    models = list(dict.fromkeys(one["model"] for one in report.metrics))
    lines = [f"{escaped(', '.join(models))} on {escaped(first['dataset'])}: {first['images']:,} photographs"]
    ks = [str(k) for k in report.run["k"]]
    head = ["queries as", "changed", "equal again"]
    for k in ks:
        head += [f"clean Acc@{k}", f"Acc@{k}", "difference"]
    for model in models:
        rows = [head, *(_row(one, ks) for one in report.metrics if one["model"] == model)]
        lines += ["", f"{escaped(model)}:"] if len(models) > 1 else []
        lines += aligned(rows)
    return lines


def _row(one: dict[str, Any], ks: list[str]) -> list[str]:
    cells = [one["variant"], f"{one['queries']:,}"]
    if not one["queries"]:
        return [*cells, *["-"] * (1 + 3 * len(ks))]
    is_clean = one["variant"] == "clean"
    cells.append("-" if is_clean else f"{one['same_after_normalizing'] / one['queries']:.0%}")
    for k in ks:
        accuracy = with_margin(one["accuracy_at_k"][k], one["ci95"]["accuracy_at_k"][k])
        if is_clean:
            cells += [accuracy, "-", "-"]
        else:
            cells += [f"{one['clean_accuracy_at_k'][k]:.3f}", accuracy, f"{one['difference'][k]['value']:+.3f}"]
    return cells
