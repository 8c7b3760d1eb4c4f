"""Why a file is refused: stable codes, each with a sentence and a remedy.

The codes are written into galleries, so a code never changes its meaning and is never reused.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType

from PIL import Image

from peyda.errors import ImageRefused, StorageError

_SENTENCES: dict[str, tuple[str, str]] = {
    "empty": ("The file has no bytes.", "Copy it again from where it came from."),
    "file_too_large": ("The file is larger than the limit.", "Export the photograph as a smaller JPEG."),
    "not_a_file": ("This is a folder, pipe, socket or device, not a regular file.", "Leave it, or move it away."),
    "permission_denied": ("The file may not be read.", "Give yourself the right to read it, then index again."),
    "unreadable": ("The disk could not give the file.", "Check the disk and the file, then index again."),
    "vanished": ("The file was gone when its turn came.", "Index again if it is back."),
    "not_an_image": (
        "The bytes are in none of the image formats that are read.",
        "Convert it to JPEG if it is a photograph.",
    ),
    "too_many_pixels": ("The picture has more pixels than the limit.", "Export it smaller."),
    "needs_too_much_memory": (
        "Decoding would take more memory than the limit.",
        "Export it smaller, or as an ordinary (baseline) JPEG.",
    ),
    "out_of_memory": ("Memory ran out while decoding.", "Close other programs, then index again."),
    "too_complex": (
        "The file asks for far more work than any photograph needs.",
        "If you trust it, open it in an editor and save it again as JPEG.",
    ),
    "truncated": ("The file ends before its picture does.", "Copy or download it again."),
    "undecodable": (
        "The picture's data is damaged or of a kind that is not read.",
        "Open it in an editor and save it again as JPEG, or copy it again.",
    ),
    "raw_support_missing": (
        "Camera RAW files need an extra.",
        'Run: pip install "peyda[raw]" and index again.',
    ),
    "heif_support_missing": (
        "HEIC/HEIF files need the package pillow-heif, which could not be loaded.",
        "Run: pip install pillow-heif and index again.",
    ),
}

REASONS: Mapping[str, str] = MappingProxyType({code: " ".join(words) for code, words in _SENTENCES.items()})
"""Code → what happened and what to do about it."""

RETRY_REASONS: frozenset[str] = frozenset(
    {"permission_denied", "unreadable", "vanished", "out_of_memory", "raw_support_missing", "heif_support_missing"}
)
"""Codes that may go away although the file stays as it is: worth another try on the next run."""

_GONE = {errno.ENOENT, errno.ENOTDIR}
_DENIED = {errno.EACCES, errno.EPERM}
_PROCESS_OR_DEVICE_LOST = {
    getattr(errno, name, -1) for name in ("EMFILE", "ENFILE", "ESTALE", "ENOTCONN", "ENODEV", "ENXIO", "EHOSTDOWN")
}


def refuse(reason: str, detail: str = "") -> ImageRefused:
    """The refusal to raise: the sentence of `reason`, with `detail` (no full stop) after it."""
    sentence, remedy = _SENTENCES[reason]
    message = f"{sentence[:-1]}: {detail}." if detail else sentence
    return ImageRefused(reason, message, hint=remedy)


def refuse_unread(error: OSError) -> ImageRefused | StorageError:
    """What a failure to open or read a file means.

    A lost device or a lack of file handles is no fault of the one file: that is a `StorageError`, which stops the run
    so that it can be resumed, instead of skipping every photograph that is left.
    """
    words = error.strerror or type(error).__name__
    if error.errno in _GONE:
        return refuse("vanished")
    if error.errno in _DENIED:
        return refuse("permission_denied")
    if error.errno == errno.EISDIR:
        return refuse("not_a_file")
    if error.errno == errno.ENOMEM:
        return refuse("out_of_memory")
    if error.errno in _PROCESS_OR_DEVICE_LOST:
        return StorageError(
            f"Files cannot be read any more: {words}.",
            hint="Check that the disk or network folder is connected, and the limit of open files (ulimit -n).",
        )
    return refuse("unreadable", words)


def refuse_undecoded(error: Exception) -> ImageRefused:
    """What an exception of a decoder means; decoders raise all kinds of them on damaged bytes."""
    if isinstance(error, ImageRefused):
        return error
    if isinstance(error, MemoryError):
        return refuse("out_of_memory")
    if isinstance(error, Image.DecompressionBombError):
        return refuse("too_many_pixels")
    words = " ".join(str(error).split())[:200]
    lowered = words.lower()
    if isinstance(error, EOFError) or any(
        sign in lowered for sign in ("truncated", "end of file", "end-of-file", "not enough image data")
    ):
        return refuse("truncated")
    kind = type(error).__name__
    return refuse("undecodable", f"{kind} ({words.rstrip('.')})" if words else kind)
