"""`peyda captions fetch` and `peyda captions crawl`: photographs from the web, politely."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from peyda.cli.options import json_option
from peyda.cli.row_progress import end_progress
from peyda.cli.table_options import read_options, table_options
from peyda.cli.terminal import escaped, is_terminal, write_line

if TYPE_CHECKING:
    from peyda.captions.crawl import CrawlSummary
    from peyda.captions.web import FetchSummary, Politeness

_EVERY_S = 0.2
_MB = 1_000_000


def _web_options(concurrency: int, per_host: int, interval_s: float) -> Callable[[Any], Any]:
    def add(command: Any) -> Any:
        for option in reversed(
            (
                click.option(
                    "--concurrency",
                    metavar="N",
                    type=click.IntRange(1, 256),
                    default=concurrency,
                    show_default=True,
                    help="Requests at a time, in all.",
                ),
                click.option(
                    "--per-host",
                    metavar="N",
                    type=click.IntRange(1, 64),
                    default=per_host,
                    show_default=True,
                    help="Requests at a time to one host.",
                ),
                click.option(
                    "--interval",
                    "interval_s",
                    metavar="SECONDS",
                    type=click.FloatRange(0),
                    default=interval_s,
                    show_default=True,
                    help="Pause between two requests to one host.",
                ),
                click.option(
                    "--tries",
                    metavar="N",
                    type=click.IntRange(1, 20),
                    default=3,
                    show_default=True,
                    help="Tries of each address in one run.",
                ),
                click.option(
                    "--timeout",
                    "timeout_s",
                    metavar="SECONDS",
                    type=click.FloatRange(0.1),
                    default=20.0,
                    show_default=True,
                    help="Longest silence of a host.",
                ),
                click.option(
                    "--allow-private", is_flag=True, help="Ask hosts of this machine and of private networks too."
                ),
                click.option(
                    "--contact", metavar="TEXT", default="", help="Said to the hosts: who asks, how to reach you."
                ),
            )
        ):
            command = option(command)
        return command

    return add


def _client(chosen: dict[str, Any]) -> Any:
    from peyda.captions.web.client import USER_AGENT, WebClient

    contact = " ".join(chosen["contact"].split())
    if not contact.isascii():
        raise click.BadParameter("plain ASCII only, such as an e-mail address", param_hint="--contact")
    return WebClient(
        timeout_s=chosen["timeout_s"],
        deadline_s=6 * chosen["timeout_s"],
        allow_private=chosen["allow_private"],
        user_agent=f"{USER_AGENT} {contact}".strip(),
    )


def _politeness(chosen: dict[str, Any]) -> Politeness:
    from peyda.captions.web import Politeness

    return Politeness(
        concurrency=chosen["concurrency"],
        per_host=chosen["per_host"],
        interval_s=chosen["interval_s"],
        tries=chosen["tries"],
    )


def _formats(_context: click.Context, _option: click.Parameter, value: str) -> frozenset[str] | None:
    known = {"JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "RAW"}
    names = frozenset(part.strip().upper().replace("JPG", "JPEG") for part in value.split(",") if part.strip())
    if unknown := sorted(names - known):
        raise click.BadParameter(f"what is {', '.join(unknown)}? Known: {', '.join(sorted(known)).lower()}")
    return names or None


@click.command()
@click.argument("table", metavar="TABLE")
@click.option("--out", "folder", metavar="DIR", required=True, help="Where photographs and ledger.jsonl go.")
@click.option("--table", "out_table", metavar="FILE", help="Also write the rows, image the fetched file's name.")
@click.option("--url-column", metavar="NAME", default="", help="Column of addresses.  [default: url, coco_url, …]")
@click.option(
    "--max-mb", metavar="N", type=click.FloatRange(0.001), default=20.0, show_default=True, help="Largest file taken."
)
@click.option(
    "--types", "formats", metavar="A,B,…", default="", callback=_formats, help="Formats taken.  [default: all]"
)
@click.option(
    "--min-side", "min_side_px", metavar="PX", type=click.IntRange(1), default=1, help="Smallest shorter side."
)
@click.option(
    "--resize",
    "plain_px",
    metavar="PX",
    type=click.IntRange(16),
    help="Write JPEGs of at most PX a side, without any metadata.  [default: files as they come]",
)
@click.option("--retry-failed", is_flag=True, help="Ask again for what failed for good.")
@table_options
@_web_options(16, 4, 0.0)
@json_option
def fetch(table: str, folder: str, out_table: str | None, as_json: bool, **chosen: Any) -> None:
    """Fetch the photographs of a table with image addresses (COCO, nocaps, any column of URLs).

    Every address ends up in DIR/ledger.jsonl, with its file or with the reason why there is none. The same command
    goes on where it was stopped, and asks again only for what may have passed: time-outs, 429, 5xx.

    \b
    Examples:
      peyda captions fetch nocaps_val_4500_captions.json --out nocaps --table nocaps.csv
      peyda captions fetch urls.tsv --columns caption_en,url --out photos --resize 512
    """
    from peyda.captions.web import FetchOptions, fetch_images

    options = FetchOptions(
        url_column=chosen["url_column"],
        limit_bytes=int(chosen["max_mb"] * _MB),
        formats=chosen["formats"],
        min_side_px=chosen["min_side_px"],
        plain_px=chosen["plain_px"],
        retry_failed=chosen["retry_failed"],
        politeness=_politeness(chosen),
    )
    summary = fetch_images(
        table,
        folder,
        format=chosen["table_format"],
        read=read_options(chosen),
        options=options,
        client=_client(chosen),
        out=out_table,
        progress=_progress(_fetch_line),
    )
    end_progress()
    if as_json:
        names = ("addresses", "fetched", "already_there", "failed", "failed_before", "fetched_bytes")
        facts = {name: getattr(summary, name) for name in names}
        write_line(sys.stdout, json.dumps(facts | {"reasons": dict(summary.reasons)}))
        return
    write_line(sys.stdout, f"{_fetch_line(summary)} → {escaped(folder)}")
    _print_reasons(summary.reasons)


def _fetch_line(summary: FetchSummary) -> str:
    parts = [
        f"{summary.addresses:,} addresses: {summary.fetched:,} fetched ({summary.fetched_bytes / _MB:,.1f} MB)",
        f"{summary.already_there:,} already there",
        f"{summary.failed:,} failed",
    ]
    if summary.failed_before:
        parts.append(f"{summary.failed_before:,} failed before for good")
    return ", ".join(parts)


@click.group()
def crawl() -> None:
    """Photographs with native Persian titles, from public advertisements."""


@crawl.command()
@click.option("--out", "folder", metavar="DIR", required=True, help="Where captions.jsonl, images/ and state go.")
@click.option("--city", metavar="N|SLUG", default="1", show_default=True, help="City; 1 is Tehran.")
@click.option(
    "--category",
    "categories",
    metavar="SLUG",
    multiple=True,
    default=("home-kitchen",),
    show_default=True,
    help="May be repeated.",
)
@click.option(
    "--limit", metavar="N", type=click.IntRange(1), default=1_000, show_default=True, help="Photographs in all."
)
@click.option("--pages", metavar="N", type=click.IntRange(1), help="Most pages of a category in this run.")
@click.option(
    "--photos-per-ad",
    metavar="N",
    type=click.IntRange(1, 20),
    default=1,
    show_default=True,
    help="Of one advertisement.",
)
@click.option(
    "--side",
    "side_px",
    metavar="PX",
    type=click.IntRange(64, 4096),
    default=768,
    show_default=True,
    help="Largest side.",
)
@click.option("--from-newest", is_flag=True, help="Begin with the newest again, not where the last run ended.")
@click.option("--ignore-robots", is_flag=True, help="Do not ask for robots.txt.")
@click.option(
    "--base", metavar="URL", default="https://api.divar.ir", show_default=True, help="Where the interface is."
)
@_web_options(2, 2, 1.0)
@json_option
def divar(folder: str, as_json: bool, **chosen: Any) -> None:
    """Crawl divar.ir: photographs of advertisements and their titles, as captions in everyday Persian.

    Titles and photographs only: no description, price, place, address or telephone number is kept, titles that hold
    anything like one are left out, photographs lose their metadata, and advertisements are known by a keyed hash
    (delete DIR/state.json before you pass DIR on). The same command goes on where it was stopped. Ask the site's
    owner, and your own law, whether you may.
    """
    from peyda.captions.crawl import CrawlOptions, crawl_divar

    names = ("city", "categories", "limit", "pages", "photos_per_ad", "side_px", "base", "from_newest")
    options = CrawlOptions(
        **{name: chosen[name] for name in names},
        politeness=_politeness(chosen),
        obey_robots=not chosen["ignore_robots"],
    )
    try:
        summary = crawl_divar(folder, options, client=_client(chosen), progress=_progress(_crawl_line))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    end_progress()
    if as_json:
        counts = ("pages", "ads", "known_ads", "photos", "fetched")
        facts = {name: getattr(summary, name) for name in counts}
        write_line(sys.stdout, json.dumps(facts | {"reasons": dict(summary.reasons)}))
        return
    write_line(sys.stdout, f"{_crawl_line(summary)} → {escaped(folder)}")
    _print_reasons(summary.reasons)


def _crawl_line(summary: CrawlSummary) -> str:
    return (
        f"{summary.pages:,} pages, {summary.ads:,} advertisements: {summary.fetched:,} photographs fetched, "
        f"{summary.photos:,} in all"
    )


def _progress(line: Callable[[Any], str]) -> Callable[[Any], None]:
    """One line on stderr that is written over and over; nothing where nobody watches."""
    if not is_terminal(sys.stderr):
        return lambda _: None
    shown_at = 0.0

    def show(summary: Any) -> None:
        nonlocal shown_at
        now = time.monotonic()
        if now - shown_at >= _EVERY_S:
            shown_at = now
            sys.stderr.write(f"\r\x1b[K{line(summary)}")
            sys.stderr.flush()

    return show


def _print_reasons(reasons: Counter[str]) -> None:
    from peyda.captions.crawl import CRAWL_REASONS
    from peyda.captions.web import WEB_REASONS
    from peyda.images import REASONS

    sentences = {**REASONS, **WEB_REASONS, **CRAWL_REASONS}
    for reason, count in reasons.most_common():
        sentence = sentences.get(reason, "")
        write_line(sys.stdout, f"  {count:,} {escaped(reason)}{f': {sentence}' if sentence else ''}")
