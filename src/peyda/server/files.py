"""Whole photographs for the browser: what a file really is, by its first bytes, and how it is sent.

Formats that browsers show are sent as they are; all others (HEIC, TIFF, camera RAW) leave as JPEG. A file's name and
suffix decide nothing: a catalogue entry whose file was replaced by something that is no photograph is refused.
"""

from __future__ import annotations

import os
import stat

from peyda.server.thumbnails import ThumbnailCache, stat_of, thumbnail, vanished
from peyda.types import Photo

CONVERTED_SIZE_PX = 2560
_HEAD_BYTES = 32


def browser_media_type(head: bytes) -> str | None:
    r"""The media type of a file that starts with `head`, when browsers show it; None for everything else.

    >>> browser_media_type(b"\xff\xd8\xff\xe0"), browser_media_type(b"II*\x00")
    ('image/jpeg', None)
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp" and head[8:12] in {b"avif", b"avis"}:
        return "image/avif"
    if head.startswith(b"BM") and head[6:10] == b"\x00\x00\x00\x00":
        return "image/bmp"
    return None


def open_photo(photo: Photo) -> tuple[str, os.stat_result] | None:
    """The media type and status of a photograph that browsers show; None when it has to be converted.

    Raises:
        Problem: The file is gone (404).
    """
    status = stat_of(photo)
    if not stat.S_ISREG(status.st_mode):
        raise vanished(ValueError("not a regular file"))
    try:
        with open(photo.path, "rb") as file:
            media_type = browser_media_type(file.read(_HEAD_BYTES))
    except OSError as error:
        raise vanished(error) from error
    return None if media_type is None else (media_type, status)


def converted(cache: ThumbnailCache, photo: Photo) -> bytes:
    """A photograph of any readable format as a JPEG of at most `CONVERTED_SIZE_PX`.

    Raises:
        Problem: The file is gone (404).
        ImageRefused: It is not a photograph that Peyda reads.
    """
    return thumbnail(cache, photo, CONVERTED_SIZE_PX)
