"""Keep a gallery in agreement with its folders: index again whatever the operating system says has changed.

Only the folders that changed are walked again. Nothing ends the watch but its caller: an error is reported and the same
folders are tried again with the next change or after a while.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from peyda.encoders import Encoder
from peyda.errors import GalleryMismatch, PeydaError
from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.pipeline import Progress, index_photos
from peyda.gallery.scan import Scope, is_left_out
from peyda.types import IndexSummary

DEBOUNCE_MS = 1500
RETRY_S = 10.0
_MANY_FOLDERS = 64


def watch_photos(
    directory: GalleryDirectory,
    encoder: Encoder,
    *,
    stop: threading.Event,
    on_summary: Callable[[IndexSummary], None],
    on_error: Callable[[PeydaError], None],
    progress: Callable[[Progress], None] = lambda _: None,
    workers: int = 0,
    remove: bool = True,
    debounce_ms: int = DEBOUNCE_MS,
    retry_s: float = RETRY_S,
) -> None:
    """Index changed folders again until `stop` is set. Call `index_photos` once before.

    Args:
        directory: The gallery; its roots are watched.
        encoder: The encoder it was made with.
        stop: Ends the watch, and a run that is going on.
        on_summary: Called after each run that changed something.
        on_error: Called when a run failed; it is tried again.
        progress: As in `index_photos`.
        workers: As in `index_photos`.
        remove: As in `index_photos`.
        debounce_ms: How long to wait for a burst of changes to end.
        retry_s: How long to wait before what failed is tried again, and before a missing root is looked for again.
    """
    pending: set[str] = set()
    for changed in _changes(directory, stop, debounce_ms, retry_s):
        pending |= changed
        if not pending or stop.is_set():
            continue
        try:
            encoder = _encoder_now(directory, encoder)
            summary = index_photos(
                directory,
                encoder,
                sorted(pending),
                progress=progress,
                should_stop=stop.is_set,
                workers=workers,
                remove=remove,
            )
        except PeydaError as error:
            on_error(error)
            pending = {folder for folder in pending if os.path.exists(folder)}
            continue
        pending.clear()
        if summary.added or summary.changed or summary.moved or summary.removed or summary.reasons:
            on_summary(summary)


def _encoder_now(directory: GalleryDirectory, encoder: Encoder) -> Encoder:
    """The encoder, or the one of the model that the gallery was brought over to since."""
    directory.refresh()
    try:
        directory.check(encoder)
    except GalleryMismatch:
        from peyda.encoders import load_encoder

        return load_encoder(directory.manifest.model)
    return encoder


def _changes(
    directory: GalleryDirectory, stop: threading.Event, debounce_ms: int, retry_s: float
) -> Iterator[set[str]]:
    """Folders to walk again, as they change; an empty set now and then, so that failures can be tried again."""
    from watchfiles import watch

    while not stop.is_set():
        roots = _present_roots(directory)
        if not roots:
            stop.wait(retry_s)
            continue
        is_first = True
        try:
            for changes in watch(
                *sorted(roots),
                watch_filter=None,
                debounce=debounce_ms,
                stop_event=stop,
                rust_timeout=int(retry_s * 1000),
                yield_on_timeout=True,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                # Whatever changed before this watch was in place was not reported: look everywhere once.
                yield roots if is_first else affected_folders((path for _, path in changes), directory)
                is_first = False
                if _present_roots(directory) != roots:
                    break  # the watch of a folder that went away stays silent when it comes back
        except (OSError, RuntimeError):  # more folders than the system can watch, or one that went away meanwhile
            stop.wait(retry_s)
            yield _present_roots(directory)


def _present_roots(directory: GalleryDirectory) -> set[str]:
    return {root for root in directory.manifest.roots if os.path.isdir(root)}


def affected_folders(paths: Iterable[str], directory: GalleryDirectory) -> set[str]:
    """The folders to walk again after changes at `paths`: the nearest ones that still exist, within the roots."""
    roots = Scope(directory.manifest.roots)
    folders: set[str] = set()
    for path in paths:
        root = roots.root_of(path)
        if root is None or Path(path).is_relative_to(directory.path):
            continue
        if any(map(is_left_out, os.path.relpath(path, root).split(os.sep))) and path != root:
            continue
        folder = path if path == root else os.path.dirname(path)
        while folder != root and not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        folders.add(folder)
    return folders if len(folders) <= _MANY_FOLDERS else {root for root in map(roots.root_of, folders) if root}
