"""One file of a hub, fetched to the end: resumed where it broke off, tried again when a failure may pass, and checked.

A partial file is continued with a Range request, which a server that has another file by now answers with the whole
of that (If-Range with the entity tag it gave, kept in a file beside the partial one). A file whose checksum is wrong in
the end is fetched once more from its beginning. Source: RFC 9110, sections 13 and 14.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from peyda.captions.web.failures import WebFailure
from peyda.encoders.directory import sha256_of
from peyda.encoders.hub.layout import SourceFile
from peyda.encoders.hub.transport import HubFailure, Transport

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_ENOUGH_TO_GO_ON = 65_536


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a hub is asked.

    Args:
        tries: Tries in a row that may bring nothing new.
        backoff_s: Wait after the first of them; doubles each time.
        longest_wait_s: A hub that asks for a longer pause is given up.
    """

    tries: int = 6
    backoff_s: float = 1.0
    longest_wait_s: float = 300.0


def patiently(transport: Transport, patience: Patience, attempt: Callable[[], bool]) -> None:
    """Call `attempt` until it does not fail; it raises HubFailure, or returns whether all is done.

    False means that it ended early, but had brought something: that does not count as a failure.

    Raises:
        HubFailure: It failed for good, or too often in a row.
    """
    failures = 0
    while True:
        try:
            if attempt():
                return
            failures, wait_s = 0, 0.0
        except WebFailure as failure:
            failures += 1
            wait_s = max(patience.backoff_s * 2 ** (failures - 1), failure.wait_s)
            if not failure.is_passing or failures >= patience.tries or wait_s > patience.longest_wait_s:
                raise
        transport.pause(wait_s)


def fetch(
    transport: Transport, url: str, file: SourceFile, part: Path, patience: Patience, report: Callable[[int], None]
) -> None:
    """Bring a file to `part`, which may hold its beginning; it is whole, and as announced, when this returns.

    Raises:
        HubFailure: It cannot be had ("bad_checksum" where what comes is another file than announced).
        OSError: The disk is full, or gone.
    """

    def attempt() -> bool:
        before = _size(part)
        try:
            _continue(transport, url, file, part, report)
        except WebFailure as failure:
            if failure.is_passing and _size(part) - before >= _ENOUGH_TO_GO_ON:
                return False
            raise
        return True

    for is_last in (False, True):
        patiently(transport, patience, attempt)
        if is_as_announced(part, file):
            _tag_path(part).unlink(missing_ok=True)
            return
        _forget(part)
        report(0)
        if is_last:
            raise HubFailure("bad_checksum", file.origin)


def is_as_announced(path: Path, file: SourceFile) -> bool:
    """Whether a file has the length and the checksum that its source gave."""
    if _size(path) != file.size_bytes:
        return False
    if file.sha256:
        return sha256_of(path) == file.sha256
    return not file.git_sha1 or _git_sha1(path, file.size_bytes) == file.git_sha1


def _git_sha1(path: Path, size: int) -> str:
    digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _continue(transport: Transport, url: str, file: SourceFile, part: Path, report: Callable[[int], None]) -> None:
    """One request, from where `part` ends."""
    start, tag = _size(part), _read_tag(part)
    if start == file.size_bytes and part.exists():
        return
    # Without a tag, what is put together may be of two files; the checksum would tell, where there is one.
    if start > file.size_bytes or (start and not tag and not (file.sha256 or file.git_sha1)):
        _forget(part)
        start = 0
    resumed = start > 0
    headers = {"Range": f"bytes={start}-"} if resumed else {}
    headers |= {"If-Range": tag} if resumed and tag else {}
    try:
        with transport.open(url, headers) as response:
            start = _start_of(response.status, response.headers.get("Content-Range", ""), start, file)
            _write_tag(part, response.headers.get("ETag", ""))
            _append(part, start, transport.chunks(response), file.size_bytes, report)
    except HubFailure as failure:
        if resumed and failure.reason in ("http_416", "too_large"):
            _forget(part)
            raise HubFailure("bad_reply", "its parts do not fit together") from failure
        raise
    if _size(part) < file.size_bytes:
        raise HubFailure("cut_short")


def _append(part: Path, start: int, chunks: Iterator[bytes], size_bytes: int, report: Callable[[int], None]) -> None:
    with part.open("r+b" if start else "wb") as out:
        out.seek(start)
        out.truncate()
        report(start)
        for chunk in chunks:
            start += len(chunk)
            if start > size_bytes:
                raise HubFailure("too_large", "more than announced")
            out.write(chunk)
            report(start)
        out.flush()
        os.fsync(out.fileno())


def _start_of(status: int, content_range: str, asked: int, file: SourceFile) -> int:
    """Where the body of a reply begins in the file."""
    if status != 206:
        return 0  # the file has changed, or the server knows no ranges
    match = _CONTENT_RANGE.match(content_range)
    if not match or int(match[1]) != asked or match[2] not in ("*", str(file.size_bytes)):
        raise HubFailure("http_416", "another part than asked for")
    return asked


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _tag_path(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _read_tag(part: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return _tag_path(part).read_text(encoding="latin-1")
    return ""


def _write_tag(part: Path, tag: str) -> None:
    """Keep a strong tag; a weak one may not be used for ranges."""
    if tag.startswith('"') and tag.isprintable() and len(tag) <= 300:
        _tag_path(part).write_text(tag, encoding="latin-1")
    else:
        _tag_path(part).unlink(missing_ok=True)


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag_path(part).unlink(missing_ok=True)
