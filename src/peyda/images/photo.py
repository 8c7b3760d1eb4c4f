"""The room's front door: a path, or bytes, to a decoded photograph with its facts.

Reading is done once: the same bytes are hashed, sniffed and decoded.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from dataclasses import dataclass
from datetime import datetime

from PIL import Image

from peyda.images.budget import hold_file
from peyda.images.decoding import Decoded, decode
from peyda.images.limits import DEFAULT_LIMITS, MIB, Limits
from peyda.images.refusals import refuse, refuse_unread

# Without O_NONBLOCK, opening a pipe that took a file's place since `stat` would wait for ever.
_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_THUMBNAIL_QUALITY = 82


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """What a photograph says about itself.

    `format` is one of JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, HEIF, RAW. `width_px`/`height_px` are of the whole
    picture, upright. `taken_at` is local wall-clock time, ISO 8601 to the second without a zone; `taken_from` says
    whence: "exif", "file" (modification time) or "none" (bytes without either; then `taken_at` is ""). Degrees are
    WGS 84.
    """

    format: str
    width_px: int
    height_px: int
    taken_at: str
    taken_from: str
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True, slots=True)
class DecodedPhoto:
    """A photograph ready for an encoder.

    `image` is upright RGB, at least `target_px` on its shorter side (unless the picture itself is smaller) and of a
    bounded number of pixels. `content_hash` is BLAKE2b-128 of the file's bytes, in hex. `size_bytes` and `mtime_ns`
    are those of the moment the file was opened.
    """

    image: Image.Image
    facts: PhotoFacts
    content_hash: str
    size_bytes: int
    mtime_ns: int


def read_photo(path: str, *, target_px: int, limits: Limits = DEFAULT_LIMITS) -> DecodedPhoto:
    """Read and decode one photograph. Symbolic links are followed.

    Args:
        path: The file.
        target_px: Shorter side that the encoder needs; decoding to no more than some twice of it is faster.
        limits: What the file may ask for.

    Raises:
        ImageRefused: The file is no photograph that can be read; `reason` is a key of `REASONS`.
        StorageError: Not this file but the disk, or the process's file handles, are at an end.
        ValueError: `target_px` is below 1.
    """
    status = _stat(path, limits)
    with hold_file(status.st_size):
        data, status = _read(path, limits)
        decoded = decode(data, target_px=target_px, limits=limits)
        return _photo(data, decoded, status.st_mtime_ns)


def hash_photo(path: str, *, limits: Limits = DEFAULT_LIMITS) -> str:
    """`DecodedPhoto.content_hash` of a file, without decoding it: enough to recognise a photograph that moved.

    Raises:
        ImageRefused: The file cannot be read; what is in it is not looked at.
        StorageError: As `read_photo`.
    """
    status = _stat(path, limits)
    with hold_file(status.st_size):
        data, _ = _read(path, limits)
        return _hash(data)


def decode_bytes(data: bytes, *, target_px: int, limits: Limits = DEFAULT_LIMITS) -> DecodedPhoto:
    """Decode a photograph that is no file, such as an upload; `mtime_ns` is 0.

    Raises:
        ImageRefused: As `read_photo`.
        ValueError: `target_px` is below 1.
    """
    if len(data) > limits.file_bytes:
        raise refuse("file_too_large", _sizes(len(data), limits.file_bytes))
    return _photo(data, decode(data, target_px=target_px, limits=limits), None)


def thumbnail_jpeg(path: str, size_px: int, *, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """A small JPEG of a photograph that fits into a square of `size_px`, never enlarged.

    Upright, in sRGB, and without any metadata: no place, no date, no camera.

    Raises:
        ImageRefused: As `read_photo`.
        StorageError: As `read_photo`.
        ValueError: `size_px` is below 1.
    """
    status = _stat(path, limits)
    with hold_file(status.st_size):
        data, _ = _read(path, limits)
        image = decode(data, target_px=size_px, limits=limits, with_colour_profile=True).image
    image.thumbnail((size_px, size_px), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, format="JPEG", quality=_THUMBNAIL_QUALITY)
    return out.getvalue()


def _photo(data: bytes, decoded: Decoded, mtime_ns: int | None) -> DecodedPhoto:
    exif = decoded.exif
    taken_at, taken_from = exif.taken_at, "exif"
    if taken_at is None:
        taken_at, taken_from = ("", "none") if mtime_ns is None else (_local_time(mtime_ns), "file")
    facts = PhotoFacts(
        decoded.format, decoded.width, decoded.height, taken_at, taken_from, exif.latitude, exif.longitude
    )
    return DecodedPhoto(decoded.image, facts, _hash(data), len(data), mtime_ns or 0)


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _local_time(mtime_ns: int) -> str:
    try:
        return datetime.fromtimestamp(mtime_ns // 1_000_000_000).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00"


def _stat(path: str, limits: Limits) -> os.stat_result:
    """Look before opening: opening a device can have effects of its own."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise refuse_unread(error) from error
    except ValueError as error:
        raise refuse("unreadable", str(error)) from error
    return _check_file(status, limits)


def _check_file(status: os.stat_result, limits: Limits) -> os.stat_result:
    if not stat.S_ISREG(status.st_mode):
        raise refuse("not_a_file")
    if status.st_size == 0:
        raise refuse("empty")
    if status.st_size > limits.file_bytes:
        raise refuse("file_too_large", _sizes(status.st_size, limits.file_bytes))
    if status.st_size > limits.decode_bytes:
        raise refuse("needs_too_much_memory", _sizes(status.st_size, limits.decode_bytes))
    return status


def _sizes(size: int, limit: int) -> str:
    return f"{size // MIB:,} MiB, more than {limit // MIB:,}"


def _read(path: str, limits: Limits) -> tuple[bytes, os.stat_result]:
    """All bytes of a regular file, and its status when it was opened.

    A file that grows meanwhile is read up to the size it had: its new modification time brings it back next time.
    """
    try:
        handle = os.open(path, _OPEN_FLAGS)
        try:
            status = _check_file(os.fstat(handle), limits)
            data = os.read(handle, status.st_size)
            while len(data) < status.st_size and (more := os.read(handle, status.st_size - len(data))):
                data += more
        finally:
            os.close(handle)
    except OSError as error:
        raise refuse_unread(error) from error
    except MemoryError as error:
        raise refuse("out_of_memory") from error
    return data, status
