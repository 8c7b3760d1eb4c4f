"""`peyda.Gallery`: one gallery for programs, whether a server holds it or not.

Owns the choice between the two ways to an answer. A server that holds the gallery has everything warm, so searches go
through it; without one, with one that does not answer, or for what does not travel over HTTP (a PIL image, a very long
query), the search runs here. Either way the hits are the same.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from peyda.config import load_settings
from peyda.errors import ImageRefused
from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.following import Following
from peyda.gallery.locks import ServerPresence
from peyda.search import DateLike, Searcher, check_k, check_min_score, parse_where, prepare_query
from peyda.types import Hit, IndexSummary, Photo, Skipped, Where

if TYPE_CHECKING:
    from PIL import Image

    from peyda.client.remote import RemoteGallery
    from peyda.gallery.locks import ServerInfo
    from peyda.gallery.pipeline import Progress
    from peyda.gallery.upgrade import UpgradeSummary
    from peyda.gallery.verify import Verification

_RETRY_AFTER_S = 30.0
"""A server that did not answer is left alone for so long."""


class Gallery:
    """One gallery: search it, look into it, bring it up to date. Thread-safe. Make one with `open` or `create`.

    ```python
    with peyda.Gallery.open() as gallery:
        hits = gallery.search("سگ در برف", k=5)
    ```

    Args:
        directory: The gallery on disk.
        model: Name or directory of a model to search with instead of the gallery's own.
        via_server: Search through the server that holds the gallery, when there is one.
    """

    def __init__(self, directory: GalleryDirectory, *, model: str | None = None, via_server: bool = True) -> None:
        self.directory = directory
        self._model = model
        self._via_server = via_server
        self._lock = threading.RLock()
        self._searchers = Following(directory, lambda one: Searcher(one, model=self._model), Searcher.close)
        self._remote: tuple[ServerInfo, RemoteGallery] | None = None
        self._retry_at = 0.0
        self._is_closed = False

    @classmethod
    def open(
        cls, path: str | os.PathLike[str] | None = None, *, model: str | None = None, via_server: bool = True
    ) -> Self:
        """Open a gallery that exists.

        Args:
            path: Its directory; when None, the one that the settings name, or else the one in the user's data
                directory.
            model: Name or directory of a model to search with instead of the gallery's own.
            via_server: Search through the server that holds the gallery, when there is one.

        Raises:
            GalleryNotFound: There is no gallery there.
            GalleryTooNew, GalleryCorrupt: Its manifest cannot be used.
        """
        return cls(GalleryDirectory.open(_path(path)), model=model, via_server=via_server)

    @classmethod
    def create(cls, path: str | os.PathLike[str] | None = None, *, model: str | None = None) -> Self:
        """Make an empty gallery.

        Args:
            path: A directory that is empty or does not exist; None as in `open`.
            model: Name or directory of the model that will embed its photographs; when None, the one that the settings
                name.

        Raises:
            GalleryError: There is a gallery already, or other files.
            ModelError: There is no such model.
            StorageError: The directory cannot be made.
        """
        from peyda.encoders import model_info
        from peyda.gallery.generations import lasting_name

        name = model or load_settings().model
        return cls(GalleryDirectory.create(_path(path), model_info(name), model=lasting_name(name)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        with self._local() as searcher:
            return searcher.count()

    def __repr__(self) -> str:
        return f"Gallery({str(self.directory.path)!r})"

    def close(self) -> None:
        """Release files and connections; idempotent. A closed gallery cannot be used again."""
        with self._lock:
            remote, self._remote = self._remote, None
            self._is_closed = True
        self._searchers.close()
        if remote is not None:
            remote[1].close()

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        min_score: float | None = None,
        folder: str | os.PathLike[str] | None = None,
        after: DateLike | None = None,
        before: DateLike | None = None,
    ) -> list[Hit]:
        """The photographs that a sentence describes best.

        Args:
            query: A plain sentence, in any spelling and of any length; nothing in it is an operator.
            k: At most so many hits; exactly min(k, photographs that satisfy the filters) without `min_score`.
            min_score: Leave out hits whose score is lower.
            folder: Only photographs below this directory.
            after: Only photographs taken at this moment or later: "2024", "2024-03-20", "۲۰۲۴-۰۳-۲۰", a `date`, ….
            before: Only photographs taken before this moment.

        Returns:
            Hits ordered by (score descending, photo_id ascending); ranks start at 1. Empty for an empty gallery.

        Raises:
            QueryError: An empty query, or an argument that cannot be read.
            ModelError, GalleryMismatch: The model cannot be used with this gallery.
        """
        normalized, wanted, floor = prepare_query(query), check_k(k), check_min_score(min_score)
        where = parse_where(folder, after, before)
        params = _params(wanted, floor, where)
        hits = self._ask_server(lambda remote: remote.search(normalized, params))
        if hits is None:
            with self._local() as searcher:
                hits = searcher.search(normalized, wanted, min_score=floor, where=where)
        return hits

    def search_like(
        self,
        photo: str | os.PathLike[str] | bytes | Image.Image,
        k: int = 10,
        *,
        min_score: float | None = None,
        folder: str | os.PathLike[str] | None = None,
        after: DateLike | None = None,
        before: DateLike | None = None,
    ) -> list[Hit]:
        """The photographs that look like a given one; other arguments, order and errors as in `search`.

        `photo` is the path of an image file, its bytes, or a PIL image. It need not be in the gallery.

        Raises:
            ImageRefused: The file cannot be used; says why.
        """
        wanted, floor = check_k(k), check_min_score(min_score)
        where = parse_where(folder, after, before)
        if not isinstance(photo, str | bytes | os.PathLike):
            with self._local() as searcher:
                return searcher.search_like(photo, wanted, min_score=floor, where=where)
        params = _params(wanted, floor, where)
        try:
            hits = self._ask_server(lambda remote: remote.search_like(_bytes_to_send(photo), params))
            if hits is None:
                with self._local() as searcher:
                    image = _decoded(photo, searcher.encoder.image_size_px)
                    hits = searcher.search_like(image, wanted, min_score=floor, where=where)
        except ImageRefused as error:
            if isinstance(photo, bytes):
                raise
            named = f"{os.fspath(photo)}: {error.message}"
            raise ImageRefused(error.reason, named, hint=error.hint) from error
        return hits

    def similar(
        self,
        photo_id: int,
        k: int = 10,
        *,
        min_score: float | None = None,
        folder: str | os.PathLike[str] | None = None,
        after: DateLike | None = None,
        before: DateLike | None = None,
    ) -> list[Hit]:
        """The photographs that look like one of the gallery, without that one; other arguments as in `search`.

        Raises:
            QueryError: The gallery has no photograph with that id.
        """
        where = parse_where(folder, after, before)
        # Needs vectors alone and no model, so a server would not be faster.
        with self._local() as searcher:
            return searcher.similar(photo_id, k, min_score=min_score, where=where)

    def photo(self, photo_id: int) -> Photo | None:
        """What the catalogue knows of one photograph; None when there is no such."""
        with self._local() as searcher:
            return searcher.photo(photo_id)

    def stats(self) -> dict[str, Any]:
        """The gallery at a glance, JSON-ready."""
        with self._local() as searcher:
            return searcher.stats()

    def skipped(self) -> list[Skipped]:
        """The files that the indexer left out, and why; by path."""
        with self.directory.catalog(readonly=True) as catalog:
            return catalog.skipped()

    def index(
        self,
        paths: Iterable[str | os.PathLike[str]] = (),
        *,
        progress: Callable[[Progress], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        workers: int = 0,
    ) -> IndexSummary:
        """Bring the gallery up to date with folders of photographs: what is new, changed, moved or gone.

        Args:
            paths: Folders or files; none of them means the folders that were indexed before.
            progress: Called now and then with how far it is.
            should_stop: Asked often; True ends the run early and cleanly (`is_complete` is False; the next resumes).
            workers: Threads that decode and embed; 0 means one for each core.

        Raises:
            DataError: A path that does not exist.
            GalleryBusy: Another process is indexing into this gallery.
            StorageError: The disk is full or gone; what was done so far is kept.
        """
        from peyda.gallery.pipeline import index_photos

        roots = [os.fspath(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
        with self._local() as searcher:
            encoder = searcher.encoder
        return index_photos(
            self.directory,
            encoder,
            roots,
            progress=progress or (lambda _: None),
            should_stop=should_stop or (lambda: False),
            workers=workers,
        )

    def upgrade(
        self,
        model: str | os.PathLike[str],
        *,
        allow_missing: bool = False,
        progress: Callable[[Progress], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        workers: int = 0,
    ) -> UpgradeSummary:
        """Bring the gallery over to another model. Searches go on with the old one until all is done.

        The old vectors stay for `rollback`. With the same image tower (another text tower) it is done at once.

        Args:
            model: Name or directory of the model.
            allow_missing: Switch although photographs cannot be read; `index` adds them when it can.
            progress: Called now and then with how far it is.
            should_stop: Asked often; True ends the run early and cleanly (`is_switched` is False; the next goes on).
            workers: Threads that decode and embed; 0 means one for each core.

        Raises:
            GalleryBusy: Another process is changing the model.
            GalleryError: Photographs cannot be read; nothing has changed.
            ModelError: There is no such model, or it does not work.
            StorageError: The disk is or would be full, or is gone; what was done so far is kept.
        """
        from peyda.encoders import load_encoder
        from peyda.gallery.generations import lasting_name
        from peyda.gallery.upgrade import upgrade_gallery

        summary = upgrade_gallery(
            self.directory,
            load_encoder(model),
            model=lasting_name(model),
            allow_missing=allow_missing,
            progress=progress or (lambda _: None),
            should_stop=should_stop or (lambda: False),
            workers=workers,
        )
        self._forget_model(summary)
        return summary

    def rollback(
        self,
        *,
        progress: Callable[[Progress], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        workers: int = 0,
    ) -> UpgradeSummary:
        """Go back to the model before the last `upgrade`, at once; then embed what was indexed since.

        Arguments and result are those of `upgrade`.

        Raises:
            GalleryError: There is nothing to go back to.
            GalleryMismatch, ModelError: The old model is not there any more.
            GalleryBusy, StorageError: As for `upgrade`.
        """
        from peyda.encoders import load_encoder
        from peyda.gallery.upgrade import previous_generation, roll_back

        self.directory.refresh()
        summary = roll_back(
            self.directory,
            load_encoder(previous_generation(self.directory).model),
            progress=progress or (lambda _: None),
            should_stop=should_stop or (lambda: False),
            workers=workers,
        )
        self._forget_model(summary)
        return summary

    def verify(self, *, is_deep: bool = False) -> Verification:
        """Does the gallery agree with itself and with the disk? Changes nothing.

        Args:
            is_deep: Read every file and compare its content with what was indexed.
        """
        from peyda.gallery.verify import verify

        return verify(self.directory, is_deep=is_deep)

    # Inside

    @property
    def _searcher(self) -> Searcher | None:
        """The searcher of this process; None as long as a server has answered everything."""
        return self._searchers.current

    def _forget_model(self, summary: UpgradeSummary) -> None:
        """A model that was named for the old vectors says nothing about the new ones."""
        if summary.is_switched:
            self._model = None

    @contextlib.contextmanager
    def _local(self) -> Iterator[Searcher]:
        """A searcher of the model that the gallery has now; it stays open while the block lasts."""
        self._searchers.follow()
        with self._searchers.lease() as searcher:
            yield searcher

    def _check_open(self) -> None:
        if self._is_closed:
            raise ValueError("this gallery is closed")

    def _ask_server(self, ask: Callable[[RemoteGallery], list[Hit]]) -> list[Hit] | None:
        """The server's hits; None when there is no server, or it does not answer this: search locally."""
        found = self._find_server()
        if found is None:
            return None
        from peyda.client.remote import NotAnswered  # with all of http.client, which a local search does without

        try:
            remote = self._connection(found)
            if self._model is not None and remote.model() != self._model:
                return None
            return ask(remote)
        except NotAnswered as error:
            if error.is_gone:
                self._retry_at = time.monotonic() + _RETRY_AFTER_S
            return None

    def _find_server(self) -> ServerInfo | None:
        if not self._via_server or time.monotonic() < self._retry_at:
            return None
        found = ServerPresence.find(self.directory.path)
        return found if found is not None and found.gallery_id == self.directory.manifest.gallery_id else None

    def _connection(self, found: ServerInfo) -> RemoteGallery:
        from peyda.client.remote import RemoteGallery

        with self._lock:
            self._check_open()
            if self._remote is None or self._remote[0] != found:
                if self._remote is not None:
                    self._remote[1].close()
                self._remote = (found, RemoteGallery(found.url, found.gallery_id))
            return self._remote[1]


def _path(path: str | os.PathLike[str] | None) -> str:
    return load_settings().gallery if path is None else os.path.expanduser(os.fspath(path))


def _decoded(photo: str | os.PathLike[str] | bytes, target_px: int) -> Image.Image:
    from peyda.images import decode_bytes, read_photo

    if isinstance(photo, bytes):
        return decode_bytes(photo, target_px=target_px).image
    return read_photo(os.fspath(photo), target_px=target_px).image


def _bytes_to_send(photo: str | os.PathLike[str] | bytes) -> bytes:
    """A file's bytes for the server; whatever is odd about the file is left to the local search to judge."""
    from peyda.client.remote import BODY_LIMIT_BYTES, NotAnswered

    if isinstance(photo, bytes):
        return photo
    try:
        status = os.stat(photo)
        if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= BODY_LIMIT_BYTES:
            with open(photo, "rb") as file:
                return file.read(BODY_LIMIT_BYTES + 1)
    except (OSError, ValueError) as error:
        raise NotAnswered("the file cannot be sent") from error
    raise NotAnswered("the file cannot be sent")


def _params(k: int, min_score: float | None, where: Where) -> dict[str, str]:
    """The arguments of a search as an address carries them; the server reads back the very same values."""
    params = {"k": str(k)}
    if min_score is not None:
        params["min_score"] = repr(min_score)
    if where.folder is not None:
        params["folder"] = where.folder
    for name, moment in (("after", where.after), ("before", where.before)):
        if moment is not None:
            params[name] = datetime.fromtimestamp(moment, UTC).replace(tzinfo=None).isoformat()
    return params
