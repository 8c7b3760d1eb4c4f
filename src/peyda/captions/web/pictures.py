"""From bytes of a stranger to a verified picture file: decoded once, named safely, written at once or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
from dataclasses import dataclass

from PIL import Image

from peyda.captions.web.failures import WebFailure
from peyda.errors import ImageRefused, StorageError
from peyda.images import DEFAULT_LIMITS, SUPPORTED_SUFFIXES, decode_bytes

_SUFFIX_OF = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "AVIF": ".avif",
    "HEIF": ".heic",
    "RAW": ".dng",
}
_PLAIN_QUALITY = 90
_CHECK_PX = 64
_NAME_BYTES = 180
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_ODD = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')


@dataclass(frozen=True, slots=True)
class Picture:
    """A verified picture. `data` is what to write; sides are those of `data`, upright."""

    data: bytes
    format: str
    width_px: int
    height_px: int
    content_hash: str


def verify_picture(
    data: bytes, *, formats: frozenset[str] | None = None, min_side_px: int = 1, plain_px: int | None = None
) -> Picture:
    """Decode a picture to see that it is one.

    Args:
        data: The file's bytes.
        formats: Formats that are wanted; None takes all that are read.
        min_side_px: Its shorter side must have as much.
        plain_px: Write it anew as a JPEG that fits into a square of so many pixels, upright and without any metadata
            (no place, no date, no camera); None keeps the bytes as they are.

    Raises:
        WebFailure: It is none, or not one that is wanted.
    """
    try:
        photo = decode_bytes(data, target_px=plain_px or _CHECK_PX, limits=DEFAULT_LIMITS)
    except ImageRefused as error:
        raise WebFailure(error.reason, error.message) from error
    facts = photo.facts
    if formats is not None and facts.format not in formats:
        raise WebFailure("unwanted_format", facts.format)
    if min(facts.width_px, facts.height_px) < min_side_px:
        raise WebFailure("too_small", f"{facts.width_px} × {facts.height_px}")
    if plain_px is None:
        return Picture(data, facts.format, facts.width_px, facts.height_px, photo.content_hash)
    image = photo.image
    image.thumbnail((plain_px, plain_px), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, format="JPEG", quality=_PLAIN_QUALITY)
    plain = out.getvalue()
    digest = hashlib.blake2b(plain, digest_size=16).hexdigest()
    return Picture(plain, "JPEG", image.width, image.height, digest)


def safe_name(image: str) -> str | None:
    """The relative path that an image name of a table may have in a folder of ours; None where it may have none.

    >>> safe_name("val2014/a.jpg"), safe_name("../a.jpg"), safe_name("https://x.org/a.jpg")
    ('val2014/a.jpg', None, None)
    """
    parts = image.replace("\\", "/").split("/")
    if not image or any(part in {"", ".", ".."} or part.startswith(".") or part.endswith((" ", ".")) for part in parts):
        return None
    if any(_ODD.search(part) or _RESERVED.match(part) for part in parts) or len(parts) > 4:
        return None
    if os.path.splitext(parts[-1])[1].lower() not in SUPPORTED_SUFFIXES:
        return None
    try:
        size = len(image.encode("utf-8"))
    except UnicodeEncodeError:
        return None
    return "/".join(parts) if size <= _NAME_BYTES else None


def name_by_address(url: str, picture: Picture) -> str:
    """A name for a picture that has none: a hash of its address, in one of 256 folders.

    The same address has the same name in every run, but for the ending, which says what it holds.
    """
    digest = hashlib.blake2b(url.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return f"{digest[:2]}/{digest}{_SUFFIX_OF[picture.format]}"


def write_file(folder: str, name: str, data: bytes) -> None:
    """Write a file of a folder, at once or not at all.

    Raises:
        StorageError: The disk does not take it.
    """
    path = os.path.join(folder, *name.split("/"))
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".", suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="free some space or make it writable, then run the same command again: it goes on where it stopped",
        ) from error
