"""`peyda filter`: keep or reject each caption, with a reason."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click

from peyda.cli.options import json_option
from peyda.cli.row_progress import aligned, end_progress, remark_skipped, row_progress
from peyda.cli.terminal import escaped, write_line

if TYPE_CHECKING:
    from peyda.quality import FilterSummary, Rule


def _share(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    from peyda.persian import to_ascii_digits

    if value is None:
        return None
    text = to_ascii_digits(value).replace("٫", ".").replace("٪", "%").strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise click.BadParameter(f"{value!r} is no share such as 0.8 or 80%")
    return share


@click.command(name="filter")
@click.argument("source", metavar="IN")
@click.option("--out", metavar="TABLE", required=True, help="Where the table with verdicts goes; may be IN itself.")
@click.option("--rejects", metavar="TABLE", help="Where rejected rows go; otherwise they stay in --out, with a reason.")
@click.option("--by", metavar="COLUMN", help="Score to cut by, such as score_mini; needed where there are several.")
@click.option("--min-score", metavar="X", type=float, help="Lowest score that passes.")
@click.option(
    "--top", metavar="SHARE", callback=_share, help="Keep this share of the rows that pass the rules, best score first."
)
@click.option("--without", metavar="REASON", multiple=True, help="Rule to leave out; may be repeated.")
@click.option("--no-rules", is_flag=True, help="The score alone decides.")
@click.option("--format", "table_format", metavar="NAME", help="Format of IN, where its ending does not say.")
@json_option
def filter_(
    source: str,
    out: str,
    rejects: str | None,
    by: str | None,
    min_score: float | None,
    top: float | None,
    without: tuple[str, ...],
    no_rules: bool,
    table_format: str | None,
    as_json: bool,
) -> None:
    """Judge every caption of a table: kept (true or false) and, where false, the reason.

    Rules look at the text: failed, empty, too_long, copy, not_persian, other_script, untranslated, repetition,
    length, missing_number; and over all rows, duplicate_key and same_output. Then the score cuts, if asked:
    low_score, below_top. Nothing is deleted, and the source's columns stay as they are.
    """
    from peyda.captions import check_writable
    from peyda.quality import filter_captions

    rules, sources = _rules(without, no_rules=no_rules)
    for path in (out, rejects) if rejects else (out,):
        check_writable(path)
    if rejects and os.path.abspath(rejects) == os.path.abspath(out):
        raise click.UsageError("--rejects and --out are the same file")
    if by and min_score is None and top is None:
        raise click.UsageError("--by needs --min-score or --top")
    summary = filter_captions(
        source,
        out,
        rejects=rejects,
        rules=rules,
        by=by,
        min_score=min_score,
        top=top,
        same_output_sources=sources,
        format=table_format,
        progress=row_progress(),
    )
    end_progress()
    if as_json:
        write_line(sys.stdout, json.dumps(summary.to_dict()))
    else:
        for line in _table(summary):
            write_line(sys.stdout, line)
    remark_skipped(source, summary.skipped)
    where = f"{escaped(out)}, rejected ones to {escaped(rejects)}" if rejects else escaped(out)
    write_line(sys.stderr, f"{summary.rows:,} rows written to {where}")


def _rules(without: tuple[str, ...], *, no_rules: bool) -> tuple[list[Rule], int]:
    from peyda.quality.filtering import SAME_OUTPUT_SOURCES
    from peyda.quality.rules import SAME_OUTPUT, default_rules

    known = [*(rule.reason for rule in default_rules()), SAME_OUTPUT]
    for reason in without:
        if reason not in known:
            raise click.BadParameter(f"there is no rule {reason!r}; rules: {', '.join(known)}", param_hint="--without")
    if no_rules:
        return [], 0
    sources = 0 if SAME_OUTPUT in without else SAME_OUTPUT_SOURCES
    return [rule for rule in default_rules() if rule.reason not in without], sources


def _table(summary: FilterSummary) -> list[str]:
    """Verdicts, then engines where there are several."""

    def share(count: int, of: int) -> str:
        return f"{count / of:.1%}" if of else "-"

    rows = [["verdict", "rows", "share"], ["kept", f"{summary.kept:,}", share(summary.kept, summary.rows)]]
    rows += [[reason, f"{count:,}", share(count, summary.rows)] for reason, count in summary.reasons.items()]
    lines = aligned(rows)
    if summary.by and summary.cut is not None:
        lines.append(f"cut: {summary.by} >= {summary.cut:g}")
    if len(summary.engines) > 1:
        engines = [["engine", "rows", "kept", "share"]]
        for name, (count, kept) in sorted(summary.engines.items()):
            engines.append([escaped(name) or "-", f"{count:,}", f"{kept:,}", share(kept, count)])
        lines += ["", *aligned(engines)]
    return lines


filter = filter_  # noqa: A001 - the verb's name, which `peyda.cli.main` looks for
