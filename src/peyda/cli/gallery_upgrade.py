"""`peyda gallery upgrade`: bring a gallery over to another model, look how that stands, go back, give the old up.

Progress and notices go to stderr; stdout carries the result, as text or as one JSON object.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from peyda.cli.exit_codes import INTERRUPTED, OK
from peyda.cli.index import duration, progress_shown, size
from peyda.cli.interrupts import stopping
from peyda.cli.options import gallery_option, json_option, model_option
from peyda.cli.terminal import escaped, isolated, write_line
from peyda.config import load_settings

if TYPE_CHECKING:
    from peyda.encoders import Encoder
    from peyda.gallery.directory import GalleryDirectory
    from peyda.gallery.upgrade import UpgradeSummary
    from peyda.gallery.upgrade_status import GenerationStatus, UpgradeEstimate

_SERVER_TIMEOUT_S = 10.0
_EXAMPLES = 10


@click.command()
@gallery_option
@model_option
@click.option("--allow-missing", is_flag=True, help="Switch although some photos cannot be read now.")
@click.option("--estimate", is_flag=True, help="Measure on a sample and say what it would take; write nothing.")
@click.option("--status", is_flag=True, help="Say which vectors there are, and what an upgrade could not read.")
@click.option("--rollback", is_flag=True, help="Go back to the model before, at once.")
@click.option("--discard-old", is_flag=True, help="Delete all vectors but those in use, to free their space.")
@click.option(
    "--workers", metavar="N", type=click.IntRange(0, 1024), default=None, help="Threads.  [default: one a core]"
)
@json_option
def upgrade(
    gallery: str | None,
    model: str | None,
    allow_missing: bool,
    estimate: bool,
    status: bool,
    rollback: bool,
    discard_old: bool,
    workers: int | None,
    as_json: bool,
) -> int:
    """Bring the gallery over to another model, and lose nothing.

    \b
    peyda gallery upgrade --model NAME
    peyda gallery upgrade --rollback
    peyda gallery upgrade --discard-old

    Every photo is embedded again beside the old vectors. Searching, serving and indexing go on meanwhile with the
    model that the gallery has; when all is done, it switches at once. Ctrl-C keeps what is done; the same command goes
    on from there. The old vectors stay, to go back to, until they are discarded.
    """
    chosen = _checked_usage(model, status=status, rollback=rollback, discard_old=discard_old, estimate=estimate)
    from peyda.gallery.directory import GalleryDirectory

    settings = load_settings(gallery=gallery, workers=workers)
    directory = GalleryDirectory.open(settings.gallery)
    if chosen == "status":
        return _status(directory, as_json)
    if chosen == "discard":
        return _discard(directory, allow_missing, as_json)
    if chosen == "rollback":
        return _roll_back(directory, model, settings.workers, as_json)
    if chosen == "estimate":
        return _estimate(directory, str(model), settings.workers, as_json)
    return _upgrade(directory, str(model), allow_missing, settings.workers, as_json)


def _checked_usage(model: str | None, *, status: bool, rollback: bool, discard_old: bool, estimate: bool) -> str:
    """Which of the things this command does is meant."""
    asked = [
        name
        for name, is_asked in (
            ("status", status),
            ("rollback", rollback),
            ("discard", discard_old),
            ("estimate", estimate),
        )
        if is_asked
    ]
    if len(asked) > 1:
        raise click.UsageError("--estimate, --status, --rollback and --discard-old are different things: give one.")
    chosen = asked[0] if asked else "upgrade"
    if chosen in ("upgrade", "estimate") and model is None:
        raise click.UsageError("To which model? Name it: --model NAME (peyda models list shows those installed).")
    if chosen in ("status", "discard") and model is not None:
        raise click.UsageError("--model does not go with --status or --discard-old.")
    return chosen


def _upgrade(directory: GalleryDirectory, model: str, allow_missing: bool, workers: int, as_json: bool) -> int:
    from peyda.gallery.upgrade import upgrade_gallery

    encoder, name = _load(model)
    stop = threading.Event()
    _announce(directory, encoder, name)
    with stopping(stop), progress_shown("Comparing", "Embedding photos", "cannot be read") as show:
        summary = upgrade_gallery(
            directory,
            encoder,
            model=name,
            allow_missing=allow_missing,
            progress=show,
            notice=_notice,
            should_stop=stop.is_set,
            workers=workers,
        )
    return _finish(directory, summary, as_json)


def _roll_back(directory: GalleryDirectory, model: str | None, workers: int, as_json: bool) -> int:
    from peyda.gallery.upgrade import previous_generation, roll_back

    encoder, name = _load(model or previous_generation(directory).model)
    stop = threading.Event()
    with stopping(stop), progress_shown("Comparing", "Embedding photos", "cannot be read") as show:
        summary = roll_back(
            directory,
            encoder,
            model=name,
            progress=show,
            notice=_notice,
            should_stop=stop.is_set,
            workers=workers,
        )
    return _finish(directory, summary, as_json)


def _load(model: str) -> tuple[Encoder, str]:
    """The encoder, and what finds it again from any working directory."""
    from peyda.encoders import load_encoder
    from peyda.gallery.generations import lasting_name

    return load_encoder(model), lasting_name(model)


def _announce(directory: GalleryDirectory, encoder: Encoder, name: str) -> None:
    from peyda.gallery.generations import needed_bytes, store_for

    manifest = directory.manifest
    if store_for(manifest, encoder) == manifest.store:
        return
    with contextlib.closing(directory.catalog(readonly=True)) as catalog:
        photos = catalog.count()
    needed = size(needed_bytes(photos, photos, encoder.embed_dim))
    _notice(
        f"Bringing {photos:,} photos over from {manifest.model} to {name}: at most {needed} of disk. "
        "Searching and indexing go on meanwhile."
    )


def _notice(text: str) -> None:
    write_line(sys.stderr, escaped(text))


def _finish(directory: GalleryDirectory, summary: UpgradeSummary, as_json: bool) -> int:
    if as_json:
        write_line(sys.stdout, json.dumps(summary.to_dict()))
    else:
        for line in _summary_lines(summary):
            write_line(sys.stdout, line)
    sys.stdout.flush()
    if not summary.is_switched:
        _notice(
            f"Stopped; the gallery stays with {summary.previous_model}. What is done is kept; to go on, run the same "
            "command again."
        )
        return INTERRUPTED
    if summary.model != summary.previous_model:
        _tell_about_server(directory, summary.model)
    return OK


def _summary_lines(summary: UpgradeSummary) -> list[str]:
    counts = {
        "embedded": summary.embedded,
        "copied": summary.copied,
        "read from a thumbnail": summary.from_thumbnails,
        "without a vector": summary.missing,
    }
    done = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "no photo had to be read"
    rate = f", {summary.photos_per_second:,.0f} photos/s" if summary.photos_per_second else ""
    has_changed = summary.is_switched and summary.model != summary.previous_model
    now = "The gallery now uses" if has_changed else "The gallery uses"
    model = summary.model if summary.is_switched else summary.previous_model
    lines = [f"{now} {escaped(model)}: {summary.photos:,} photos, {done} ({duration(summary.seconds)}{rate})"]
    if summary.is_switched and summary.missing:
        lines.append("Photos without a vector are in the gallery, but no search finds them. To read them: peyda index")
    if has_changed:
        lines.append("To go back: peyda gallery upgrade --rollback. To free the old space: … --discard-old")
    return lines


def _tell_about_server(directory: GalleryDirectory, model: str) -> None:
    """A server that runs opens the gallery anew by itself within moments; one of an older Peyda must be restarted."""
    from peyda.client.remote import NotAnswered, RemoteGallery
    from peyda.gallery.locks import ServerPresence

    found, deadline = ServerPresence.find(directory.path), time.monotonic() + _SERVER_TIMEOUT_S
    if found is None:
        return
    with contextlib.suppress(NotAnswered):
        while time.monotonic() < deadline:
            with contextlib.closing(RemoteGallery(found.url, found.gallery_id)) as remote:
                if remote.model() == model:
                    _notice(f"The server at {found.url} uses it too.")
                    return
            time.sleep(0.2)
        _notice(f"The server at {found.url} goes on with the old model until you restart it.")


def _status(directory: GalleryDirectory, as_json: bool) -> int:
    from peyda.gallery.upgrade_status import upgrade_status

    found, is_running = upgrade_status(directory)
    if as_json:
        report = {"is_running": is_running, "generations": [one.to_dict() for one in found]}
        write_line(sys.stdout, json.dumps(report))
        return OK
    for one in found:
        _print_generation(one, is_running=is_running)
    return OK


def _print_generation(one: GenerationStatus, *, is_running: bool) -> None:
    unfinished = "being made now" if is_running else "not finished: run the same upgrade again to go on"
    words = {"current": "in use", "previous": "kept, to go back to", "unfinished": unfinished}
    left = f", {one.left:,} photos without one" if one.left else ""
    write_line(sys.stdout, f"{escaped(one.model)}: {words[one.state]}")
    write_line(sys.stdout, f"    {one.embedded:,} vectors{left}, {size(one.size_bytes)}")
    for photo in one.missing[:_EXAMPLES]:
        write_line(
            sys.stdout, f"    {isolated(photo.path, sys.stdout)}\n        {photo.reason}: {escaped(photo.detail)}"
        )
    if len(one.missing) > _EXAMPLES:
        write_line(sys.stdout, f"    and {len(one.missing) - _EXAMPLES:,} more; all of them: --status --json")


def _discard(directory: GalleryDirectory, allow_missing: bool, as_json: bool) -> int:
    from peyda.gallery.discard import discard_old

    freed = discard_old(directory, allow_missing=allow_missing)
    write_line(sys.stdout, json.dumps({"freed_bytes": freed}) if as_json else f"{size(freed)} freed.")
    return OK


def _estimate(directory: GalleryDirectory, model: str, workers: int, as_json: bool) -> int:
    from peyda.gallery.upgrade_status import estimate_upgrade

    encoder, name = _load(model)
    estimate = estimate_upgrade(directory, encoder, model=name, workers=workers)
    if as_json:
        write_line(sys.stdout, json.dumps(estimate.to_dict()))
        return OK
    for line in _estimate_lines(estimate):
        write_line(sys.stdout, line)
    return OK


def _estimate_lines(estimate: UpgradeEstimate) -> Sequence[str]:
    if estimate.is_immediate:
        return ["The vectors stay as they are, only the text tower is another: it would switch at once."]
    lines = [
        f"Photos             {estimate.photos:,}; still to embed: {estimate.left:,}",
        f"Measured rate      {estimate.photos_per_second:,.0f} photos/s, on {estimate.sampled} of them",
        f"Time               about {duration(estimate.seconds)}",
        f"Disk               about {size(estimate.disk_bytes)} more; {size(estimate.free_bytes)} are free",
    ]
    if estimate.unreadable:
        lines.append(f"Out of reach       {estimate.unreadable} of the {estimate.sampled} measured ones")
    return lines
