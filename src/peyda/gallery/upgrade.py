"""Changing the model of a gallery without losing it: upgrade and roll back. See
`docs/decisions/0004-a-model-changes-beside-the-old-vectors.md`.

`upgrade_gallery` makes a new generation of vectors beside the one that answers searches. Searching, serving and
indexing go on meanwhile; what is indexed is embedded too. When nothing is left to do, one rename of the manifest
switches. What a kill leaves at any moment is the old gallery and a part of the new vectors, with which the next run
goes on.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from peyda.errors import (
    EngineError,
    GalleryBusy,
    GalleryCorrupt,
    GalleryError,
    GalleryMismatch,
    ModelError,
    StorageError,
)
from peyda.gallery.contents import CONTENTS_NAME, Contents
from peyda.gallery.generations import Generation, needed_bytes, store_for, sweep_trash
from peyda.gallery.locks import UpgradeLock, WriterLock
from peyda.gallery.pipeline import Progress
from peyda.gallery.reembed import Reembedding
from peyda.gallery.scan import holds_something
from peyda.gallery.store import open_store
from peyda.persian import NORMALIZER_VERSION

if TYPE_CHECKING:
    from peyda.encoders import Encoder
    from peyda.gallery.directory import GalleryDirectory
    from peyda.gallery.store.auto import AutoStore

_POLL_S = 0.2
_FEW = 256  # left to embed: so few that an indexer may be kept waiting for them
_EXAMPLES = 3
_PROBE = "سلام"


@dataclass(frozen=True, slots=True)
class UpgradeSummary:
    """What one upgrade or rollback did.

    `model` is what the gallery was to be brought to and `previous_model` what it had. It has the new one when
    `is_switched`; otherwise the run was stopped, and the next one goes on. `embedded` photographs were read (of those,
    `from_thumbnails` from a stored thumbnail), `copied` ones have the content of another one. `missing` ones have no
    vector of the new model, for `reasons`; they stay in the gallery and cannot be found by it until `peyda index` can
    read them.
    """

    model: str
    previous_model: str
    photos: int = 0
    embedded: int = 0
    copied: int = 0
    from_thumbnails: int = 0
    missing: int = 0
    seconds: float = 0.0
    photos_per_second: float = 0.0
    is_switched: bool = True
    reasons: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping with the field names above."""
        return asdict(self)


def upgrade_gallery(
    directory: GalleryDirectory,
    encoder: Encoder,
    *,
    model: str | None = None,
    allow_missing: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    notice: Callable[[str], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
    workers: int = 0,
) -> UpgradeSummary:
    """Bring a gallery over to another model; searches go on with the old one until all is done.

    With the image tower that made the vectors (only the text tower is new), it switches at once.

    Args:
        directory: The gallery.
        encoder: The encoder to bring it over to.
        model: What `load_encoder` takes to find that encoder again; by default its name.
        allow_missing: Switch although photographs cannot be embedded.
        progress: Called in this thread, some ten times a second.
        notice: Called with sentences that a person should read meanwhile.
        should_stop: Asked often; when it says yes, the run commits what is done and ends without a switch.
        workers: Threads; 0 means one for each core.

    Raises:
        GalleryBusy: Another process is changing the model.
        GalleryError: Photographs cannot be embedded: says how many and why; what is done is kept, nothing has changed.
        ModelError: The encoder does not work.
        StorageError: The disk is or would be full, is read-only or gone; what is done is kept, nothing has changed.
        KeyboardInterrupt: Handed on, after what is done was committed.
    """
    with UpgradeLock(directory.path):
        directory.refresh()
        sweep_trash(directory.path)
        before = directory.manifest.model
        target = _target(directory, encoder, model or encoder.name)
        run = _Upgrade(directory, encoder, target, progress, notice, should_stop, workers)
        if target.store == directory.manifest.store:
            is_switched = target == directory.manifest.current or run.switch_without_vectors()
        else:
            check_encoder(encoder)
            is_switched = run.make_and_switch(allow_missing=allow_missing)
        return run.summary(before, is_switched=is_switched)


def roll_back(
    directory: GalleryDirectory,
    encoder: Encoder,
    *,
    model: str | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    notice: Callable[[str], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
    workers: int = 0,
) -> UpgradeSummary:
    """Go back to the previous generation at once; then embed what was indexed since with its model.

    Rolling back twice is going forward again.

    Args:
        directory: The gallery.
        encoder: The encoder of `directory.manifest.previous[0]`.
        model: What `load_encoder` takes to find it now; by default what it took before.
        progress: As in `upgrade_gallery`; only what was indexed since counts.
        notice: As in `upgrade_gallery`.
        should_stop: Leaves the rest to the next `peyda index`; the gallery has gone back all the same.
        workers: As in `upgrade_gallery`.

    Raises:
        GalleryError: There is nothing to go back to.
        GalleryCorrupt: The old vectors were deleted by other means.
        GalleryMismatch: The encoder did not make those vectors.
        GalleryBusy, ModelError, StorageError, KeyboardInterrupt: As for `upgrade_gallery`.
    """
    with UpgradeLock(directory.path):
        directory.refresh()
        before = directory.manifest.model
        target = previous_generation(directory)
        if not target.is_of(encoder):
            raise GalleryMismatch(
                f"the model {encoder.name!r} is not the one that made the vectors to go back to: it has changed since",
                hint=f"Name where the old one is: peyda gallery upgrade --rollback --model DIR ({target.model})",
            )
        target = replace(target, model=model or target.model)
        run = _Upgrade(directory, encoder, target, progress, notice, should_stop, workers)
        if target.store == directory.manifest.store:
            is_switched = run.switch_without_vectors()
        elif (directory.path / target.store / CONTENTS_NAME).exists():
            is_switched = run.switch_and_mend()
        else:
            raise GalleryCorrupt(
                f"the vectors of {target.model} are gone from {directory.path / target.store}",
                hint=f"Make them anew: peyda gallery upgrade --model {target.model}",
            )
        return run.summary(before, is_switched=is_switched)


def previous_generation(directory: GalleryDirectory) -> Generation:
    """What a rollback would go back to. Raises GalleryError when there is nothing."""
    if not directory.manifest.previous:
        raise GalleryError(
            f"{directory.path} has no earlier vectors to go back to",
            hint="Bring it over to any model: peyda gallery upgrade --model NAME",
        )
    return directory.manifest.previous[0]


def check_encoder(encoder: Encoder) -> None:
    """Try both towers once: better now than after hours. Raises ModelError when they do not fit each other."""
    size = encoder.image_size_px
    shapes = {
        "image": encoder.encode_pixels(np.zeros((1, 3, size, size), np.float32)).shape,
        "text": encoder.encode_texts([_PROBE]).shape,
    }
    for tower, shape in shapes.items():
        if shape != (1, encoder.embed_dim):
            raise ModelError(
                f"the {tower} tower of {encoder.name!r} gives {shape[-1]} numbers, its config.json says "
                f"{encoder.embed_dim}",
                hint="pull or export the model again",
            )


def open_generation(directory: GalleryDirectory, generation: Generation) -> AutoStore:
    """The vectors of any generation, open to write. For the holder of the `UpgradeLock`."""
    return open_store(directory.path / generation.store, generation.embed_dim)


def _target(directory: GalleryDirectory, encoder: Encoder, model: str) -> Generation:
    store = store_for(directory.manifest, encoder)
    return Generation(model, encoder.visual_fingerprint, encoder.embed_dim, NORMALIZER_VERSION, store)


class _Upgrade:
    """One change of model, by the holder of the `UpgradeLock`."""

    def __init__(
        self,
        directory: GalleryDirectory,
        encoder: Encoder,
        target: Generation,
        progress: Callable[[Progress], None],
        notice: Callable[[str], None],
        should_stop: Callable[[], bool],
        workers: int,
    ) -> None:
        self._directory = directory
        self._encoder = encoder
        self._target = target
        self._progress = progress
        self._notice = notice
        self._should_stop = should_stop
        self._workers = workers
        self._started = time.monotonic()
        self._work: Reembedding | None = None
        self._photos = self._missing = 0

    def switch_without_vectors(self) -> bool:
        """Same vectors, another text tower (or name of it). False when stopped while waiting for an indexer."""
        with self._as_writer() as is_writer:
            if is_writer:
                self._directory.switch_to(self._target)
            return is_writer

    def make_and_switch(self, *, allow_missing: bool) -> bool:
        """Embed everything, then switch; whether it came to that."""
        with self._opened() as (contents, store, work):
            contents.describe(**{name: str(value) for name, value in self._target.to_dict().items()})
            contents.clear_missing()
            self._refuse_full_disk(contents)
            self._warn_of_missing_disks()
            while True:
                if not (work.run() and self._index(store)):
                    return False
                self._refuse_missing(contents, allow_missing=allow_missing)
                with self._as_writer() as is_writer:
                    if not is_writer:
                        return False
                    # An indexer may have added thousands while this waited: those are embedded without keeping it out.
                    if contents.counts()[2] <= _FEW:
                        if not work.run():
                            return False
                        self._refuse_missing(contents, allow_missing=allow_missing)
                        self._switch()
                        return True

    def switch_and_mend(self) -> bool:
        """Go back: what needs no photograph first, then the switch, then the photographs indexed since."""
        with self._as_writer() as is_writer:
            if not is_writer:
                return False
            with self._opened() as (contents, store, work):
                contents.clear_missing()
                work.bring_in_line()
                self._photos, self._missing, _ = contents.counts()
                self._switch()
                if self._missing:
                    self._notice(
                        f"The gallery is back at {self._target.model}. Photographs that were indexed or changed since: "
                        f"{self._missing:,}; reading them now."
                    )
                    if work.run():
                        self._index(store)
                return True

    def summary(self, before: str, *, is_switched: bool) -> UpgradeSummary:
        work, seconds = self._work, time.monotonic() - self._started
        if work is None:
            with self._directory.catalog(readonly=True) as catalog:
                return UpgradeSummary(
                    self._target.model, before, catalog.count(), seconds=round(seconds, 3), is_switched=is_switched
                )
        return UpgradeSummary(
            model=self._target.model,
            previous_model=before,
            photos=self._photos,
            embedded=work.embedded,
            copied=work.copied,
            from_thumbnails=work.from_thumbnails,
            missing=self._missing,
            seconds=round(seconds, 3),
            photos_per_second=round(work.embedded / work.reading_s, 1) if work.reading_s > 0 else 0.0,
            is_switched=is_switched,
            reasons=dict(work.reasons.most_common()),
        )

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[Contents, AutoStore, Reembedding]]:
        directory = self._directory
        with (
            Contents(directory.path / self._target.store, directory.path) as contents,
            contextlib.closing(open_generation(directory, self._target)) as store,
        ):
            store.delete(contents.reconcile(store.ids()))
            self._work = Reembedding(
                directory,
                contents,
                store,
                self._encoder,
                progress=self._progress,
                should_stop=self._should_stop,
                workers=self._workers,
            )
            yield contents, store, self._work
            self._photos, self._missing, _ = contents.counts()

    def _refuse_full_disk(self, contents: Contents) -> None:
        photos, to_do, _ = contents.counts()
        needed = needed_bytes(to_do, photos, self._target.embed_dim)
        free = shutil.disk_usage(self._directory.path).free
        if needed > free:
            raise StorageError(
                f"the new vectors need about {needed / 1e6:,.0f} MB; the disk that holds {self._directory.path} has "
                f"{free / 1e6:,.0f} MB free",
                hint="Free some disk space and run the same command again. Vectors of earlier models can be given up "
                "with: peyda gallery upgrade --discard-old",
            )

    def _warn_of_missing_disks(self) -> None:
        """Hours before it matters, and so in time to plug them in."""
        for root in self._directory.manifest.roots:
            if not holds_something(root):
                self._notice(f"{root} is not there or is empty. Plug its disk in before the upgrade comes to its end.")

    def _refuse_missing(self, contents: Contents, *, allow_missing: bool) -> None:
        self._photos, self._missing, to_read = contents.counts()
        count = self._missing - to_read
        if not count or allow_missing:
            return
        named = ", ".join(one.path for one in contents.missing(_EXAMPLES))
        raise GalleryError(
            f"{count:,} photographs cannot be read for the new model, e.g. {named}; the gallery stays with "
            f"{self._directory.manifest.model}",
            hint="Plug in their disk (or, for files that were deleted, run: peyda index), then run the same command "
            "again: what is done is kept. All of them, and why: peyda gallery upgrade --status. To switch without "
            "them, add --allow-missing: they stay in the gallery, and `peyda index` reads them when it can.",
        )

    def _index(self, store: AutoStore) -> bool:
        """Build the graph of a big gallery before anybody searches it; False when stopped."""
        with contextlib.suppress(EngineError):  # searches are exact without it, only slower
            store.optimize(should_stop=self._should_stop)
        return not self._should_stop()

    def _switch(self) -> None:
        """Note what the old vectors are of, then let the new ones answer. As the writer."""
        directory = self._directory
        old = directory.path / directory.manifest.store
        with contextlib.closing(directory.store(readonly=True)) as store, Contents(old, directory.path) as contents:
            contents.retire(store.ids())
        directory.switch_to(self._target)

    @contextlib.contextmanager
    def _as_writer(self) -> Iterator[bool]:
        """Hold the `WriterLock`, once an indexer that has it is done; yields False when stopped before."""
        with contextlib.ExitStack() as stack:
            yield self._take_writer_lock(stack)

    def _take_writer_lock(self, stack: contextlib.ExitStack) -> bool:
        is_told = False
        while not self._should_stop():
            try:
                stack.enter_context(WriterLock(self._directory.path))
            except GalleryBusy:
                if not is_told:
                    self._notice("Waiting for the running `peyda index` to end before the switch.")
                is_told = True
                time.sleep(_POLL_S)
                continue
            self._directory.refresh()
            return True
        return False
