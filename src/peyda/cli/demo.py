"""`peyda demo`: photographs, a gallery of them, a few Persian searches, and the web page; in one command."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from peyda.cli import exit_codes
from peyda.cli.options import port_option
from peyda.cli.terminal import escaped, is_terminal, isolated, write_line
from peyda.config import Settings, load_settings
from peyda.errors import DataError, GalleryNotFound

if TYPE_CHECKING:
    from peyda.client import Gallery
    from peyda.demo import Credit, FetchSummary
    from peyda.gallery.pipeline import Progress
    from peyda.types import IndexSummary

SERVICE_VARIABLE = "PEYDA_DEMO_SERVICE"
_HITS = 3


@click.command()
@click.option(
    "--photos",
    metavar="DIR|online|samples",
    default="samples",
    show_default=True,
    help="Your own folder, photographs fetched from a public service, or the samples that installed packages bring.",
)
@click.option("--gallery", metavar="DIR", default=None, help="Where to put the gallery; otherwise your data directory.")
@click.option("--no-serve", is_flag=True, help="Stop after the searches.")
@port_option
def demo(photos: str, gallery: str | None, no_serve: bool, port: int | None) -> None:
    """Try everything out: index some photographs, search them in Persian, and serve the web page.

    Nothing of your own is touched: the demo has galleries of its own, one for each source of photographs.
    """
    from peyda.demo import OWN_PHOTOS_TOUR, SAMPLE_TOUR, read_credits

    settings = load_settings(port=port)
    folder = _photos(photos, settings)
    place = os.path.abspath(os.path.expanduser(gallery)) if gallery else _gallery_for(photos, folder, settings)
    with _opened(place) as opened:
        _report_indexed(opened.index([folder], progress=_show_progress))
        queries = SAMPLE_TOUR if photos == "samples" else OWN_PHOTOS_TOUR
        _search_tour(opened, queries, folder, read_credits(folder))
    write_line(sys.stdout, "")
    shown = isolated(_quoted(_shortest(place)), sys.stdout)
    write_line(sys.stdout, f'Search for more:  {_own_command()} search "غروب" --gallery {shown}')
    if not no_serve:
        _serve(place, settings)


def _photos(photos: str, settings: Settings) -> str:
    """The folder of photographs to show, filled where it is ours to fill."""
    from peyda.demo import copy_samples

    ours = os.path.join(settings.home, "demo")
    if photos == "samples":
        folder = os.path.join(ours, "samples")
        found = copy_samples(folder)
        write_line(sys.stdout, f"{len(found)} sample photographs, from installed packages (licences: {_where(folder)})")
        return folder
    if photos == "online":
        folder = os.path.join(ours, "online")
        _fetch(folder)
        return folder
    folder = os.path.abspath(os.path.expanduser(photos))
    if not os.path.isdir(folder):
        raise DataError(
            f"there is no folder {folder}", hint="Name a folder of photographs, e.g. `peyda demo --photos ~/Pictures`."
        )
    return folder


def _fetch(folder: str) -> None:
    from peyda.demo import DEFAULT_LICENCE, DEFAULT_SERVICE, fetch_photos

    service = os.environ.get(SERVICE_VARIABLE) or DEFAULT_SERVICE
    write_line(
        sys.stdout, f"Fetching photographs from {escaped(service)}; licence unless said otherwise: {DEFAULT_LICENCE}"
    )

    def show(state: FetchSummary, total: int) -> None:
        _show(f"  {state.photos} of {total} photographs, {state.fetched_bytes / 1e6:.1f} MB")

    try:
        summary = fetch_photos(folder, service=service, progress=show)
    finally:
        _show("")
    if summary.is_offline:
        write_line(sys.stdout, f"The service is out of reach; {summary.photos} photographs are here from before.")
        return
    failed = "".join(f"; {number} failed: {reason}" for reason, number in summary.reasons.items())
    write_line(sys.stdout, f"{summary.photos} photographs, {summary.fetched} of them new{failed}")
    write_line(sys.stdout, f"Authors and licences: {_where(folder)}")


def _gallery_for(photos: str, folder: str, settings: Settings) -> str:
    """One gallery for each source, so that the samples never mix with a person's own photographs."""
    own = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return os.path.join(settings.home, "demo", f"gallery-{photos if photos in {'samples', 'online'} else own}")


def _opened(place: str) -> Gallery:
    from peyda.client import Gallery

    try:
        return Gallery.open(place)
    except GalleryNotFound:
        return Gallery.create(place)


def _show_progress(progress: Progress) -> None:
    of = f" of {progress.total}" if progress.total is not None else ""
    _show(f"  {progress.done}{of} photographs")


def _show(line: str) -> None:
    """Repaint one line of progress, on a terminal only."""
    if is_terminal(sys.stderr):
        sys.stderr.write(f"\r\x1b[2K{line}")
        sys.stderr.flush()


def _report_indexed(summary: IndexSummary) -> None:
    _show("")
    new = summary.added + summary.changed
    rate = f" ({summary.photos_per_second:.0f} a second)" if new else ""
    skipped = f", {summary.skipped} skipped" if summary.skipped else ""
    write_line(sys.stdout, f"Gallery: {summary.photos} photographs, {new} new{rate}{skipped}")


def _search_tour(opened: Gallery, queries: tuple[str, ...], folder: str, credit_of: Mapping[str, Credit]) -> None:
    for query in queries:
        write_line(sys.stdout, "")
        write_line(sys.stdout, isolated(f"«{query}»", sys.stdout))
        for hit in opened.search(query, k=_HITS):
            shown = _described(os.path.relpath(hit.path, folder), credit_of)
            write_line(sys.stdout, f"  {hit.rank}  {hit.score:.3f}  {shown}")


def _described(path: str, credit_of: Mapping[str, Credit]) -> str:
    credit = credit_of.get(path)
    if credit is None:
        return isolated(path, sys.stdout)
    parts = (isolated(part, sys.stdout) for part in (path, credit.title, credit.author, credit.licence))
    return "{}  {} ({}, {})".format(*parts)


def _serve(place: str, settings: Settings) -> None:
    from peyda.cli.checks import is_port_free
    from peyda.server import serve

    # Somebody's port 8000 is no reason for a demo to fail; a port that was asked for is taken seriously.
    is_chosen = settings.sources["port"] != "default"
    port = settings.port if is_chosen or is_port_free(settings.host, settings.port) else 0

    def announce(url: str) -> None:
        write_line(sys.stdout, f"The page is at {url}  (Ctrl-C ends it)")
        sys.stdout.flush()

    try:
        serve(place, settings.host, port, announce=announce, warn=lambda text: write_line(sys.stderr, escaped(text)))
    except KeyboardInterrupt:
        raise click.exceptions.Exit(exit_codes.OK) from None  # the way to end a demo, not a failure of it


def _where(folder: str) -> str:
    from peyda.demo import CREDITS_FILE

    return isolated(_shortest(os.path.join(folder, CREDITS_FILE)), sys.stdout)


def _own_command() -> str:
    """How to call `peyda` from here: by name where the shell finds it, otherwise where this Python keeps it."""
    import shutil

    beside = os.path.join(os.path.dirname(sys.executable), "peyda")
    return "peyda" if shutil.which("peyda") or not os.path.exists(beside) else _quoted(_shortest(beside))


def _shortest(path: str) -> str:
    """Relative to the working directory for what lies below it."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)
