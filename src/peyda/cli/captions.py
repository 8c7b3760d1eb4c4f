"""`peyda captions convert|show|fetch|crawl`: caption tables from the field's formats, and photographs for them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from peyda.cli.captions_web import crawl, fetch
from peyda.cli.options import json_option
from peyda.cli.row_progress import aligned, end_progress, remark_skipped, row_progress
from peyda.cli.table_options import read_options, table_options
from peyda.cli.terminal import escaped, isolated, write_line

if TYPE_CHECKING:
    from peyda.captions import CaptionRow
    from peyda.captions.convert import ConvertSummary
    from peyda.captions.splits import SplitRule
    from peyda.captions.summary import TableSummary

_SHOWN_VALUES = 8
_SHOWN_CHARS = 160


@click.group()
def captions() -> None:
    """Caption tables: convert, show, fetch their photographs, crawl."""


captions.add_command(fetch)
captions.add_command(crawl)


def _pairs(_context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for value in values:
        name, separator, wanted = value.partition("=")
        if not separator or not name.strip():
            raise click.BadParameter(f"{value!r} is not {option.metavar}")
        found.setdefault(name.strip(), []).append(wanted)
    return found


@captions.command()
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT", type=click.Path(dir_okay=False))
@table_options
@click.option("--where", metavar="COLUMN=VALUE", multiple=True, callback=_pairs, help="Rows to take; may be repeated.")
@click.option("--split", metavar="RULE", help="hash, hash:0.8,0.1,0.1 (train, val, test), or a table image,split.")
@click.option(
    "--split-list", metavar="NAME=FILE", multiple=True, callback=_pairs, help="Images of a split, one name a line."
)
@click.option("--seed", default="", help="Another seed gives another hash split.")
@click.option("--images", metavar="DIR", help="Mark rows whose photograph is not in DIR: kept false, with a reason.")
@click.option("--save-images", metavar="DIR", default="", help="Where the photographs inside a hub data set go.")
@click.option(
    "--duplicates",
    type=click.Choice(["skip", "error", "keep"]),
    default="skip",
    show_default=True,
    help="Rows with the same image, caption_id and engine.",
)
@click.option("--limit", metavar="N", type=click.IntRange(1), help="Stop after N rows.")
@click.option("--skipped", "skipped_file", metavar="FILE", help="Write lines that are no rows here, with reasons.")
@json_option
def convert(source: str, out: str, as_json: bool, skipped_file: str | None, **chosen: Any) -> None:
    """Turn a caption file of any known format into a canonical table.

    IN: Flickr30k results.csv, Flickr8k token files and captions.txt, Karpathy or COCO or nocaps JSON, XM3600
    captions.jsonl, CSV, TSV, JSON lines, Parquet, or hf:OWNER/NAME. OUT: .csv, .tsv, .jsonl (.gz) or .parquet.

    \b
    Examples:
      peyda captions convert results.csv flickr30k.parquet --split hash
      peyda captions convert captions_val2014.json coco.csv --images val2014
    """
    from peyda.captions.convert import convert_table

    show = row_progress()
    summary = convert_table(
        source,
        out,
        format=chosen["table_format"],
        options=read_options(chosen, images_dir=chosen["save_images"]),
        duplicates=chosen["duplicates"],
        split=_split_rule(chosen["split"], chosen["split_list"], chosen["seed"]),
        where=chosen["where"],
        images=chosen["images"],
        limit=chosen["limit"],
        progress=lambda rows: show("Converting", rows) if show else None,
    )
    end_progress()
    if skipped_file:
        _write_skipped(skipped_file, summary)
    if as_json:
        write_line(sys.stdout, json.dumps(_convert_facts(summary)))
    else:
        _print_converted(summary, out)
    remark_skipped(source, summary.skipped)


def _split_rule(rule: str | None, lists: dict[str, list[str]], seed: str) -> SplitRule | None:
    from peyda.captions.splits import split_by_hash, split_by_lists, split_by_table

    if rule and lists:
        raise click.UsageError("--split and --split-list are two ways to say the same; choose one")
    if lists:
        return split_by_lists({name: files[-1] for name, files in lists.items()})
    if not rule:
        return None
    if rule != "hash" and not rule.startswith("hash:"):
        return split_by_table(rule)
    try:
        shares = [float(part) for part in rule[5:].split(",")] if rule[5:] else [0.8, 0.1, 0.1]
        return split_by_hash(dict(zip(("train", "val", "test"), shares, strict=True)), seed=seed)
    except ValueError as error:
        raise click.BadParameter(
            f"{rule!r} is not three shares that add up to 1, such as hash:0.8,0.1,0.1", param_hint="--split"
        ) from error


def _write_skipped(path: str, summary: ConvertSummary) -> None:
    from peyda.captions import open_writer

    with open_writer(path, ("line", "reason", "detail")) as writer:
        for one in summary.skipped:
            writer.write({"line": one.line, "reason": one.reason, "detail": one.detail})


def _convert_facts(summary: ConvertSummary) -> dict[str, object]:
    from collections import Counter

    return {
        "format": summary.format_name,
        "columns": list(summary.columns),
        "rows": summary.rows,
        "images": summary.images,
        "splits": dict(summary.splits),
        "without_image": dict(summary.without_image),
        "skipped": dict(Counter(one.reason for one in summary.skipped)),
    }


def _print_converted(summary: ConvertSummary, out: str) -> None:
    write_line(sys.stdout, f"{summary.rows:,} rows, {summary.images:,} images ({summary.format_name}) → {escaped(out)}")
    if summary.splits:
        write_line(sys.stdout, f"splits: {', '.join(f'{name} {count:,}' for name, count in summary.splits.items())}")
    for reason, count in summary.without_image.items():
        write_line(sys.stdout, f"{count:,} rows without a photograph ({reason}): kept is false in them")


@captions.command()
@click.argument("source", metavar="TABLE")
@table_options
@click.option("--rows", metavar="N", type=click.IntRange(0), default=5, show_default=True, help="Rows to show.")
@click.option("--sample", is_flag=True, help="Take them from all over the table, not from its start.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed gives another sample.")
@json_option
def show(source: str, rows: int, sample: bool, seed: int, as_json: bool, **chosen: Any) -> None:
    """Say what is in a caption table: counts, gaps, splits, scores, and some rows."""
    from peyda.captions.summary import summarise

    found = summarise(
        source,
        format=chosen["table_format"],
        options=read_options(chosen),
        rows=rows,
        seed=seed if sample else None,
    )
    if as_json:
        write_line(sys.stdout, json.dumps(_show_facts(found)))
    else:
        _print_summary(found)
    remark_skipped(source, found.skipped)


def _show_facts(found: TableSummary) -> dict[str, object]:
    from collections import Counter

    scores = {
        name: {"count": one.count, "min": one.low, "mean": one.mean, "max": one.high, "bad": one.bad}
        if one.count
        else {"count": 0, "bad": one.bad}
        for name, one in found.scores.items()
    }
    return {
        "source": found.source,
        "format": found.format_name,
        "columns": list(found.columns),
        "rows": found.rows,
        "images": found.images,
        "most_captions": found.most_captions,
        "filled": {name: found.filled[name] for name in found.columns},
        "longest": found.longest,
        "values": {name: dict(counter) for name, counter in found.values.items()},
        "scores": scores,
        "sample": found.sample,
        "skipped": dict(Counter(one.reason for one in found.skipped)),
    }


def _print_summary(found: TableSummary) -> None:
    each = f"{found.rows / found.images:.2g} captions each, {found.most_captions} at most" if found.images else ""
    write_line(sys.stdout, f"{escaped(found.source)} ({found.format_name})")
    write_line(sys.stdout, f"{found.rows:,} rows, {found.images:,} images{f' ({each})' if each else ''}\n")
    table = [["column", "filled", "longest", "what"]]
    table += [
        [
            escaped(name),
            f"{found.filled[name]:,}",
            f"{found.longest[name]:,}" if name in found.longest else "",
            escaped(_what(found, name)),
        ]
        for name in found.columns
    ]
    numbers = aligned([row[:3] for row in table])
    width = max(map(len, numbers))
    for line, row in zip(numbers, table, strict=True):
        write_line(sys.stdout, f"{line.ljust(width)}  {row[3]}".rstrip())
    for row_ in found.sample:
        _print_row(row_)


def _what(found: TableSummary, name: str) -> str:
    if name in found.scores and found.scores[name].count:
        score = found.scores[name]
        bad = f", {score.bad:,} are no numbers" if score.bad else ""
        return f"{score.low:.3f} … {score.high:.3f}, mean {score.mean:.3f}{bad}"
    if name not in found.values:
        return ""
    common = found.values[name].most_common(_SHOWN_VALUES)
    more = ", …" if len(found.values[name]) > _SHOWN_VALUES else ""
    return ", ".join(f"{value or '(empty)'} {count:,}" for value, count in common) + more


def _print_row(row: CaptionRow) -> None:
    write_line(sys.stdout, "")
    for name, value in row.items():
        if value:
            short = value if len(value) <= _SHOWN_CHARS else f"{value[:_SHOWN_CHARS]}… ({len(value):,} characters)"
            write_line(sys.stdout, f"  {escaped(name)}: {isolated(short, sys.stdout)}")
