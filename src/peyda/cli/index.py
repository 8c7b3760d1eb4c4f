"""`peyda index`: put folders of photographs into a gallery, and keep them there.

Owns what a person sees of a run. Progress goes to stderr; stdout carries the summary, as text or, with `--json`, as
objects of which the last one is the summary.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from peyda.cli.exit_codes import INTERRUPTED
from peyda.cli.interrupts import stopping
from peyda.cli.options import gallery_option, json_option, model_option
from peyda.cli.terminal import escaped, is_terminal, isolated, write_line
from peyda.config import load_settings
from peyda.errors import GalleryNotFound, PeydaError

if TYPE_CHECKING:
    from peyda.encoders import Encoder
    from peyda.gallery.directory import GalleryDirectory
    from peyda.gallery.estimate import Estimate
    from peyda.gallery.pipeline import Progress
    from peyda.types import IndexSummary

_TOP_REASONS = 5


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path())
@gallery_option
@model_option
@click.option("--watch", is_flag=True, help="Stay, and index again whatever changes in the folders.")
@click.option("--estimate", is_flag=True, help="Measure on a sample and say what indexing would take; write nothing.")
@click.option("--retry-skipped", is_flag=True, help="Try files again that were skipped before.")
@click.option("--no-remove", is_flag=True, help="Keep photographs in the gallery whose files are gone.")
@click.option(
    "--workers", metavar="N", type=click.IntRange(0, 1024), default=None, help="Threads.  [default: one a core]"
)
@json_option
def index(
    paths: tuple[str, ...],
    gallery: str | None,
    model: str | None,
    watch: bool,
    estimate: bool,
    retry_skipped: bool,
    no_remove: bool,
    workers: int | None,
    as_json: bool,
) -> int:
    """Put folders of photographs into the gallery, or bring it up to date.

    Only what is new or has changed is read. Without a PATH, all folders that the gallery knows are looked at again.
    Ctrl-C keeps what is done; the same command goes on from there.
    """
    settings = load_settings(gallery=gallery, workers=workers)
    roots = [os.fsdecode(path) for path in paths]
    if estimate:
        return _estimate(roots, settings.gallery, model, settings.workers, as_json)
    directory, encoder = _open(settings.gallery, model, roots)
    stop = threading.Event()
    with stopping(stop):
        summary = _run(
            directory,
            encoder,
            roots,
            stop,
            as_json=as_json,
            retry_skipped=retry_skipped,
            remove=not no_remove,
            workers=settings.workers,
        )
        if watch and summary.is_complete:
            _watch(directory, encoder, stop, as_json=as_json, remove=not no_remove, workers=settings.workers)
            return 0
    if not summary.is_complete:
        write_line(sys.stderr, "Stopped. What is done is kept; to go on, run the same command again.")
        return INTERRUPTED
    return 0


def _open(gallery: str, model: str | None, roots: Sequence[str]) -> tuple[GalleryDirectory, Encoder]:
    """The gallery, made if there is none yet, and the encoder it belongs to."""
    from peyda.encoders import load_encoder
    from peyda.gallery.directory import GalleryDirectory
    from peyda.gallery.generations import lasting_name

    try:
        directory = GalleryDirectory.open(gallery)
    except GalleryNotFound as error:
        if not roots:
            raise GalleryNotFound(error.message, hint="Name a folder of photographs: peyda index ~/Pictures") from None
        _refuse_missing(roots)
        name = load_settings(model=model).model
        encoder = load_encoder(name)
        return GalleryDirectory.open_or_create(gallery, encoder, model=lasting_name(name)), encoder
    encoder = load_encoder(model or directory.manifest.model)
    directory.check(encoder)
    return directory, encoder


def _refuse_missing(roots: Sequence[str]) -> None:
    """A slip in the first path must not leave an empty gallery behind."""
    from peyda.errors import DataError

    for root in roots:
        if not os.path.exists(root):
            raise DataError(
                f"there is no file or folder {root!r}", hint="Check the spelling, and that its disk is there."
            )


def _run(
    directory: GalleryDirectory,
    encoder: Encoder,
    roots: Sequence[str],
    stop: threading.Event,
    *,
    as_json: bool,
    retry_skipped: bool,
    remove: bool,
    workers: int,
) -> IndexSummary:
    from peyda.gallery.pipeline import index_photos

    with progress_shown() as show:
        summary = index_photos(
            directory,
            encoder,
            roots,
            progress=show,
            should_stop=stop.is_set,
            retry_skipped=retry_skipped,
            remove=remove,
            workers=workers,
        )
    _print_summary(summary, directory, as_json=as_json)
    return summary


def _watch(
    directory: GalleryDirectory,
    encoder: Encoder,
    stop: threading.Event,
    *,
    as_json: bool,
    remove: bool,
    workers: int,
) -> None:
    from peyda.gallery.watch import watch_photos

    def report(error: PeydaError) -> None:
        write_line(sys.stderr, f"peyda: {escaped(error.message)} (will be tried again)")

    write_line(sys.stderr, "Watching the folders for changes; Ctrl-C ends.")
    watch_photos(
        directory,
        encoder,
        stop=stop,
        on_summary=lambda summary: _print_summary(summary, directory, as_json=as_json),
        on_error=report,
        remove=remove,
        workers=workers,
    )


@contextlib.contextmanager
def progress_shown(
    counting: str = "Looking for photos", doing: str = "Reading photos", left_out: str = "skipped"
) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, nothing elsewhere: a log file wants no bars."""
    if not is_terminal(sys.stderr):
        yield lambda _: None
        return
    from peyda.cli.run_progress import progress_bar

    def speed(progress: Progress) -> str:
        skipped = f", {progress.skipped:,} {left_out}" if progress.skipped else ""
        return f"{progress.rate:,.0f}/s{skipped}"

    with progress_bar(counting, doing, speed) as show:
        yield show


def _print_summary(summary: IndexSummary, directory: GalleryDirectory, *, as_json: bool) -> None:
    if as_json:
        write_line(sys.stdout, json.dumps(summary.to_dict()))
        sys.stdout.flush()
        return
    write_line(sys.stdout, summary_line(summary))
    if summary.reasons:
        top = list(summary.reasons.items())[:_TOP_REASONS]
        write_line(sys.stdout, "Newly skipped: " + ", ".join(f"{count} × {reason}" for reason, count in top))
    if summary.skipped:
        write_line(
            sys.stdout,
            f"Why, file by file: peyda gallery skipped --gallery {isolated(str(directory.path), sys.stdout)}",
        )
    sys.stdout.flush()


def summary_line(summary: IndexSummary) -> str:
    """One run in one sentence; only what happened is named."""
    counts = {name: getattr(summary, name) for name in ("added", "changed", "moved", "removed", "unchanged", "skipped")}
    done = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "nothing to do"
    rate = f", {summary.photos_per_second:,.0f} photos/s" if summary.photos_per_second else ""
    return f"{summary.photos:,} photos in the gallery: {done} ({duration(summary.seconds)}{rate})"


def _estimate(roots: Sequence[str], gallery: str, model: str | None, workers: int, as_json: bool) -> int:
    from peyda.encoders import load_encoder
    from peyda.gallery.directory import GalleryDirectory
    from peyda.gallery.estimate import estimate_index

    directory: GalleryDirectory | None = None
    with contextlib.suppress(GalleryNotFound):
        directory = GalleryDirectory.open(gallery)
    encoder = load_encoder(model or (directory.manifest.model if directory else load_settings().model))
    if directory is not None:
        directory.check(encoder)
    estimate = estimate_index(encoder, roots, directory=directory, workers=workers)
    if as_json:
        write_line(sys.stdout, json.dumps(estimate.to_dict()))
    else:
        for line in _estimate_lines(estimate):
            write_line(sys.stdout, line)
    return 0


def _estimate_lines(estimate: Estimate) -> list[str]:
    lines = [
        f"Files found        {estimate.photos:,}; new or changed: {estimate.to_read:,} ({size(estimate.size_bytes)})",
        f"Measured rate      {estimate.photos_per_second:,.0f} photos/s, on {estimate.sampled} of them",
        f"Time               about {duration(estimate.seconds)}",
        f"Memory             about {size(estimate.ram_bytes)}",
        f"Disk               about {size(estimate.disk_bytes)} more",
    ]
    if estimate.skipped:
        lines.append(f"Skipped            {estimate.skipped} of the {estimate.sampled} measured ones cannot be read")
    if estimate.unreadable:
        lines.append(f"Out of reach       {estimate.unreadable:,} files or folders cannot be looked at")
    return lines


def duration(seconds: float) -> str:
    """Seconds for people: "0.4 s", "12 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours:,} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def size(count: float) -> str:
    """Bytes for people, in powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
