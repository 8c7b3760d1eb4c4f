"""`peyda search`: a sentence (or a photograph) → the best hits, on the terminal, as JSON, or as a contact sheet.

Hits go to standard output and nothing else does. This is the verb that people wait for, so it imports only what the
search at hand needs: `benchmarks/bench_search.py` measures its cold start.
"""

from __future__ import annotations

import contextlib
import gc
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from peyda.cli.options import gallery_option, json_option, model_option
from peyda.cli.terminal import isolated, write_line

if TYPE_CHECKING:
    from peyda.client import Gallery
    from peyda.types import Hit


@click.command()
@click.argument("query", nargs=-1)
@click.option("-k", "k", type=int, default=10, show_default=True, metavar="N", help="How many photographs to show.")
@click.option("--like", metavar="FILE", help="Find photographs that look like this one, instead of a sentence.")
@click.option("--folder", metavar="DIR", help="Only photographs below this folder.")
@click.option("--after", metavar="DATE", help="Only photographs taken then or later: YYYY-MM-DD, in any digits.")
@click.option("--before", metavar="DATE", help="Only photographs taken before that: YYYY-MM-DD, in any digits.")
@click.option("--min-score", type=float, metavar="S", help="Leave out photographs with a lower score.")
@click.option("--open", "is_opened", is_flag=True, help="Show the photographs in the browser.")
@json_option
@gallery_option
@model_option
def search(
    query: tuple[str, ...],
    k: int,
    like: str | None,
    folder: str | None,
    after: str | None,
    before: str | None,
    min_score: float | None,
    is_opened: bool,
    as_json: bool,
    gallery: str | None,
    model: str | None,
) -> None:
    """Find photographs by describing them.

    \b
    peyda search "سگ در برف"
    peyda search غروب کنار دریا -k 20 --after 2023
    peyda search --like photo.jpg --open

    QUERY is a plain sentence, in Persian or English; quotes around it are optional.
    """
    text = " ".join(query)
    _check_usage(text, query, like)
    with _without_collecting(), _opened(gallery, model) as opened:
        if like is None:
            hits = opened.search(text, k, min_score=min_score, folder=folder, after=after, before=before)
        else:
            hits = opened.search_like(like, k, min_score=min_score, folder=folder, after=after, before=before)
        _print_hits(hits, as_json=as_json)
        if not hits:
            _explain_nothing(opened)
    if is_opened and hits:
        _open_contact_sheet(text if like is None else like, hits)


@contextlib.contextmanager
def _without_collecting() -> Iterator[None]:
    """Spare a process that is about to end the passes of the garbage collector, 7 % of a cold start.

    What is frozen is left out of the passes at exit too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _check_usage(text: str, query: tuple[str, ...], like: str | None) -> None:
    if like is not None and query:
        raise click.UsageError(
            "A sentence and --like cannot be combined: search with the sentence, or with --like FILE alone."
        )
    if like is None and not query:
        raise click.UsageError('Nothing to search for. Describe a photograph, e.g. peyda search "سگ در برف"')


def _opened(gallery: str | None, model: str | None) -> Gallery:
    from peyda.client import Gallery
    from peyda.config import load_settings

    settings = load_settings(gallery=gallery, model=model)
    # The setting `model` is for new galleries; an existing one is searched with its own, unless the flag says so.
    return Gallery.open(settings.gallery, model=None if model is None else settings.model)


def _print_hits(hits: list[Hit], *, as_json: bool) -> None:
    for hit in hits:
        if as_json:  # ASCII-escaped, so that names that are not UTF-8 survive
            write_line(sys.stdout, json.dumps(hit.to_dict(), allow_nan=False))
        else:
            write_line(sys.stdout, f"{hit.rank:>3}  {hit.score:.4f}  {isolated(hit.path, sys.stdout)}")


def _explain_nothing(gallery: Gallery) -> None:
    if len(gallery) == 0:
        write_line(sys.stderr, "The gallery is empty. Fill it first: peyda index ~/Pictures")
    else:
        write_line(sys.stderr, "No photograph passes the filters. Widen --folder, --after, --before or --min-score.")


def _open_contact_sheet(title: str, hits: list[Hit]) -> None:
    from peyda.cli.contact_sheet import open_in_browser, write_contact_sheet
    from peyda.images import thumbnail_jpeg

    page = write_contact_sheet(title, hits, thumbnail_jpeg)
    write_line(sys.stderr, f"Contact sheet: {isolated(str(page), sys.stderr)}")
    if not open_in_browser(page):
        write_line(sys.stderr, "No browser could be started; open that file yourself.")
