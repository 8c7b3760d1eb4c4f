"""Small JPEGs of photographs, kept in the gallery's `thumbnails/` folder by content hash and size.

The cache is a convenience: when its disk is full or read-only, pictures are made anew each time and nothing fails.
Owns the files under `thumbnails/`; how a picture is made is `peyda.images`' business.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile

from peyda.images import thumbnail_jpeg
from peyda.server.problems import Problem
from peyda.types import Photo

THUMBNAIL_SIZES_PX = (160, 320, 640, 1280, 2560)
"""The only sizes that are made, so that nobody can fill the disk with ones in between."""

_HASH = re.compile(r"[0-9a-f]{8,128}")
_log = logging.getLogger(__name__)


class ThumbnailCache:
    """Files `thumbnails/ab/abcdef…-320.jpg`, written atomically.

    Args:
        directory: The `thumbnails` folder; made when first needed.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._has_warned = False

    def _path(self, content_hash: str, size_px: int) -> str:
        if not _HASH.fullmatch(content_hash):
            raise ValueError(f"not a content hash: {content_hash!r}")
        return os.path.join(self.directory, content_hash[:2], f"{content_hash}-{size_px}.jpg")

    def get(self, content_hash: str, size_px: int) -> bytes | None:
        """The cached JPEG, or None when it is not there or cannot be read."""
        try:
            with open(self._path(content_hash, size_px), "rb") as file:
                return file.read() or None
        except OSError:
            return None

    def put(self, content_hash: str, size_px: int, jpeg: bytes) -> bool:
        """Keep a JPEG; False when the disk would not (that is logged once and is not an error)."""
        path = self._path(content_hash, size_px)
        temporary = ""
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), suffix=".part")
            with os.fdopen(handle, "wb") as file:
                file.write(jpeg)
            os.replace(temporary, path)
        except OSError as error:
            if temporary:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
            if not self._has_warned:
                self._has_warned = True
                _log.warning("Thumbnails are not kept (%s); pages with many photographs will load slower.", error)
            return False
        return True


def thumbnail(cache: ThumbnailCache, photo: Photo, size_px: int) -> bytes:
    """The photograph as a JPEG of at most `size_px` on its longer side, from the cache or made now.

    Raises:
        Problem: The file is gone (404).
        ImageRefused: The file is there but can no longer be decoded.
    """
    cached = cache.get(photo.content_hash, size_px)
    if cached is not None:
        return cached
    status = stat_of(photo)
    jpeg = thumbnail_jpeg(photo.path, size_px)
    # A file that changed since it was indexed must not be kept under its old content's name.
    if (status.st_size, status.st_mtime_ns) == (photo.size_bytes, photo.mtime_ns):
        cache.put(photo.content_hash, size_px, jpeg)
    return jpeg


def stat_of(photo: Photo) -> os.stat_result:
    """`os.stat` of a photograph's file.

    Raises:
        Problem: It is gone or cannot be reached (404).
    """
    try:
        return os.stat(photo.path)
    except (OSError, ValueError) as error:
        raise vanished(error) from error


def vanished(error: Exception) -> Problem:
    """The refusal for a photograph whose file cannot be opened any more."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else "it cannot be opened"
    return Problem(
        "PhotoVanished",
        404,
        f"The file of this photograph is no longer where it was indexed: {reason}.",
        hint="Plug its disk in again, or run `peyda index` on its folder so that the gallery forgets it.",
    )
