"""`peyda gallery stats|verify|skipped`: look into a gallery. Reading only, unless `verify --repair` is asked for.

`peyda gallery upgrade` is in `gallery_upgrade`.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from peyda.cli.exit_codes import FAILED, OK
from peyda.cli.gallery_upgrade import upgrade
from peyda.cli.index import duration, size
from peyda.cli.options import gallery_option, json_option
from peyda.cli.terminal import escaped, is_terminal, isolated, write_line
from peyda.config import load_settings

if TYPE_CHECKING:
    from peyda.gallery.directory import GalleryDirectory
    from peyda.gallery.verify import Verification

_KINDS = {
    "missing_vectors": "photos without a vector",
    "bad_vectors": "photos with a damaged vector",
    "orphans": "vectors without a photo",
    "gone": "photos whose file is gone",
    "unreachable": "photos whose folder is not there",
    "changed": "photos whose file has changed",
}


@click.group()
def gallery() -> None:
    """Look into the gallery, or change its model: stats, verify, skipped, upgrade."""


gallery.add_command(upgrade)


@gallery.command()
@gallery_option
@json_option
def stats(gallery: str | None, as_json: bool) -> int:
    """Say what the gallery holds."""
    from peyda.gallery.verify import gallery_size_bytes

    directory = _open(gallery)
    with contextlib.closing(directory.catalog(readonly=True)) as catalog:
        numbers = catalog.stats()
    manifest = directory.manifest
    about = {
        "gallery": str(directory.path),
        "gallery_id": manifest.gallery_id,
        "model": manifest.model,
        "embed_dim": manifest.embed_dim,
        "created_at": manifest.created_at,
        "roots": list(manifest.roots),
        "disk_bytes": gallery_size_bytes(directory.path),
        **numbers,
    }
    if as_json:
        write_line(sys.stdout, json.dumps(about))
        return OK
    rows = [
        ("Gallery", about["gallery"]),
        ("Photos", f"{about['photos']:,} ({size(about['size_bytes'])})"),
        ("Formats", ", ".join(f"{name} {count:,}" for name, count in about["formats"].items()) or "–"),
        ("Taken", f"{about['taken_first'] or '–'} … {about['taken_last'] or '–'}"),
        ("With a place", f"{about['located']:,}"),
        ("Skipped files", f"{about['skipped']:,}"),
        ("Model", f"{about['model']} ({about['embed_dim']} numbers a photo)"),
        *(("Model before", f"{one.model} (peyda gallery upgrade --rollback)") for one in manifest.previous[:1]),
        ("On disk", size(about["disk_bytes"])),
        *(("Folder", root) for root in about["roots"]),
        ("Last run", _last_run(about["last_run"])),
    ]
    for label, text in rows:
        write_line(sys.stdout, f"{label:<14} {isolated(text, sys.stdout)}")
    return OK


def _last_run(run: dict[str, object] | None) -> str:
    if run is None:
        return "none yet"
    how = "complete" if run["is_complete"] else "stopped before its end"
    return f"{run['finished_at']}, {how}, {duration(float(str(run['seconds'])))}"


@gallery.command()
@gallery_option
@click.option("--deep", is_flag=True, help="Read every photo and compare its content.")
@click.option("--repair", is_flag=True, help="Forget photos that are gone, have damaged ones read again.")
@click.option("--forget-missing", is_flag=True, help="With --repair: forget photos whose folder is not there.")
@json_option
def verify(gallery: str | None, deep: bool, repair: bool, forget_missing: bool, as_json: bool) -> int:
    """Check the gallery against itself and the disk.

    Exit status 1 when photos cannot be found as they should; files that changed or went away since the last
    `peyda index` are reported, and leave it 0.
    """
    from peyda.gallery.verify import verify as run_verify

    if forget_missing and not repair:
        raise click.UsageError("--forget-missing needs --repair")
    directory = _open(gallery)
    with _progress_shown(is_deep=deep) as show:
        found = run_verify(directory, is_deep=deep, repair=repair, forget_missing=forget_missing, progress=show)
    if as_json:
        write_line(sys.stdout, json.dumps(found.to_dict()))
    else:
        _print_verification(found, is_repairing=repair)
    return OK if found.is_sound or repair else FAILED


def _print_verification(found: Verification, *, is_repairing: bool) -> None:
    write_line(sys.stdout, f"{found.photos:,} photos, {found.vectors:,} vectors")
    for kind, words in _KINDS.items():
        count = getattr(found, kind)
        if not count:
            continue
        write_line(sys.stdout, f"{count:,} {words}")
        for path in found.examples.get(kind, ())[:3]:
            write_line(sys.stdout, f"    {isolated(path, sys.stdout)}")
    if found.is_sound and found.is_current:
        write_line(sys.stdout, "All is well.")
    elif is_repairing:
        write_line(sys.stdout, f"{found.repaired:,} mended; now run: peyda index")
    else:
        write_line(sys.stdout, "To bring it up to date: peyda index. To mend the rest: peyda gallery verify --repair")


@contextlib.contextmanager
def _progress_shown(*, is_deep: bool) -> Iterator[Callable[[int, int], None]]:
    if not (is_deep and is_terminal(sys.stderr)):
        yield lambda _done, _total: None
        return
    yield lambda done, total: print(f"\r{done:,} / {total:,}", end="", file=sys.stderr, flush=True)
    write_line(sys.stderr, "")


@gallery.command()
@gallery_option
@click.option("--reason", metavar="CODE", default=None, help="Only files that were skipped for this reason.")
@click.option("--limit", metavar="N", type=click.IntRange(0), default=None, help="At most that many.")
@json_option
def skipped(gallery: str | None, reason: str | None, limit: int | None, as_json: bool) -> int:
    """List the files that were not indexed, and why.

    With --json, one object a line.
    """
    from peyda.gallery.reasons import REASONS

    directory = _open(gallery)
    with contextlib.closing(directory.catalog(readonly=True)) as catalog:
        files = catalog.skipped(limit=-1 if limit is None else limit, reason=reason)
        counts = catalog.skipped_reasons()
    if as_json:
        for one in files:
            write_line(sys.stdout, json.dumps(one.to_dict()))
        return OK
    if not files:
        write_line(sys.stdout, "No file was skipped.")
        return OK
    for one in files:
        write_line(sys.stdout, f"{isolated(one.path, sys.stdout)}\n    {one.reason}: {escaped(one.detail)}")
    write_line(sys.stdout, "")
    for code, count in counts.items():
        if reason in (None, code):
            write_line(sys.stdout, f"{count:>8,} {code}: {REASONS.get(code, '')}")
    return OK


def _open(gallery: str | None) -> GalleryDirectory:
    from peyda.gallery.directory import GalleryDirectory

    return GalleryDirectory.open(load_settings(gallery=gallery).gallery)
