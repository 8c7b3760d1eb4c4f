"""A few hundred openly licensed photographs from a public service, by stable ids: polite, resumable, distrustful.

Speaks the protocol of Lorem Picsum (`GET /v2/list?page=&limit=`, `GET /id/ID/WIDTH/HEIGHT`), whose photographs come
from Unsplash. What the service says is data to check: ids become file names, so only harmless ones are taken; a reply
that is too long, too slow, of another type, cut short or no image at all is a failure of that photograph alone.
"""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any

from peyda.demo.fetcher import Fetcher, Refused, is_web_address
from peyda.demo.tour import Credit, make_folder, read_credits, write_credits, write_photo
from peyda.errors import DataError

DEFAULT_SERVICE = "https://picsum.photos"
DEFAULT_COUNT = 300
DEFAULT_LICENCE = "Unsplash License (https://unsplash.com/license)"

_PAGE = 100
_LIST_LIMIT_BYTES = 4_000_000
_PHOTO_LIMIT_BYTES = 8_000_000
_LONGEST_SIDE_PX = 640
_GIVE_UP_AFTER = 12
"""Failures in a row that mean the service is down, not the photograph bad."""

_HARMLESS_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FORMATS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}


@dataclass(frozen=True, slots=True)
class FetchSummary:
    """What one fetch did. `reasons` counts failures by their sentence; `is_offline` when only old files were found."""

    fetched: int = 0
    already_there: int = 0
    failed: int = 0
    fetched_bytes: int = 0
    is_offline: bool = False
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def photos(self) -> int:
        """Photographs that are in the folder now."""
        return self.fetched + self.already_there


@dataclass(frozen=True, slots=True)
class _Listed:
    id: str
    width_px: int
    height_px: int
    credit: Credit

    def address(self, service: str) -> str:
        scale = min(1.0, _LONGEST_SIDE_PX / max(self.width_px, self.height_px))
        width, height = (max(1, round(side * scale)) for side in (self.width_px, self.height_px))
        return f"{service}/id/{self.id}/{width}/{height}"


def fetch_photos(
    folder: str,
    *,
    count: int = DEFAULT_COUNT,
    service: str = DEFAULT_SERVICE,
    concurrency: int = 4,
    fetcher: Fetcher | None = None,
    progress: Callable[[FetchSummary, int], None] = lambda summary, total: None,
) -> FetchSummary:
    """Fetch up to `count` photographs into `folder`; those already there are not asked for again.

    `LICENSES.csv` names author, licence and source of every photograph, and is written before the first one arrives.

    Args:
        folder: Made where it is missing.
        count: How many photographs of the service's list to have, in its order.
        service: Base address, http or https.
        concurrency: Requests at a time.
        fetcher: How to fetch; a test's way to shorten its patience.
        progress: Called after each photograph with the state so far and the number wanted.

    Raises:
        DataError: The service cannot be reached, or its list cannot be read, and no earlier photographs are there.
        StorageError: The folder cannot be written.
    """
    service = service.rstrip("/")
    if not is_web_address(service):
        raise DataError(f"{service!r} is no address of a photo service", hint=f"Use one like {DEFAULT_SERVICE}.")
    make_folder(folder)
    fetcher = fetcher or Fetcher()
    present = _present(folder)
    try:
        listed = _list(fetcher, service, count)
    except Refused as error:
        return _only_old(service, len(present), error)
    _write_all_credits(folder, listed, present)
    summary = FetchSummary(already_there=sum(item.id in present for item in listed))
    missing = [item for item in listed if item.id not in present]
    progress(summary, len(listed))
    try:
        summary = _fetch_all(
            missing,
            lambda item: _fetch_one(folder, item, service, fetcher),
            concurrency,
            summary,
            lambda state: progress(state, len(listed)),
        )
    except BaseException:
        fetcher.stop()
        raise
    _write_all_credits(folder, listed, _present(folder))
    if not summary.photos:
        raise DataError(
            f"{service} gave no photograph: {'; '.join(summary.reasons) or 'its list is empty'}",
            hint="Try again later, or run `make demo` (`peyda demo`), which needs no network.",
        )
    return summary


def _only_old(service: str, present: int, error: Refused) -> FetchSummary:
    if present:
        return FetchSummary(already_there=present, is_offline=True, reasons={str(error): 1})
    raise DataError(
        f"cannot fetch photographs from {service}: {error}",
        hint="Check the network, or run `make demo` (`peyda demo`), which needs none.",
    ) from error


def _list(fetcher: Fetcher, service: str, count: int) -> list[_Listed]:
    """The first `count` usable entries, without duplicates. An error after the first page ends the list early."""
    listed: dict[str, _Listed] = {}
    for page in range(1, -(-count // _PAGE) + 2):  # one page more than needed: some entries may be unusable
        try:
            entries = fetcher.get_json(f"{service}/v2/list?page={page}&limit={_PAGE}", limit_bytes=_LIST_LIMIT_BYTES)
        except Refused:
            if not listed:
                raise
            break
        if not isinstance(entries, list):
            raise Refused("its list is not a list")
        for item in filter(None, map(_listed, entries)):
            listed.setdefault(item.id, item)
        if not entries or len(listed) >= count:
            break
    return list(listed.values())[:count]


def _listed(entry: Any) -> _Listed | None:
    if not isinstance(entry, dict):
        return None
    name, width, height = str(entry.get("id", "")), entry.get("width"), entry.get("height")
    if not _HARMLESS_ID.fullmatch(name):
        return None
    if not all(type(side) is int and 0 < side <= 100_000 for side in (width, height)):
        return None
    source = _line(entry.get("url"))
    credit = Credit(
        file="",
        title=f"photograph {name}",
        author=_line(entry.get("author")) or "unknown",
        licence=_line(entry.get("license")) or DEFAULT_LICENCE,
        source=source if is_web_address(source) else "",
    )
    return _Listed(name, int(width), int(height), credit)  # type: ignore[arg-type]  # checked above


def _line(value: Any) -> str:
    """Text of the service as one short printable line."""
    text = value if isinstance(value, str) else ""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:200]


def _present(folder: str) -> dict[str, str]:
    """Photographs of earlier runs: id → file name."""
    suffixes = set(_FORMATS.values())
    names = (os.path.splitext(name) for name in os.listdir(folder) if not name.startswith("."))
    return {stem: stem + suffix for stem, suffix in names if suffix in suffixes and _HARMLESS_ID.fullmatch(stem)}


def _write_all_credits(folder: str, listed: list[_Listed], present: Mapping[str, str]) -> None:
    credit_of = {file: credit for file, credit in read_credits(folder).items() if file in set(present.values())}
    for item in listed:
        file = present.get(item.id, f"{item.id}.jpg")
        credit_of[file] = replace(item.credit, file=file)
    write_credits(folder, credit_of.values())


def _fetch_all(
    missing: Iterable[_Listed],
    fetch_one: Callable[[_Listed], int],
    concurrency: int,
    summary: FetchSummary,
    progress: Callable[[FetchSummary], None],
) -> FetchSummary:
    """Fetch everything in `missing`, `concurrency` at a time, until too many failures come in a row."""
    failures_in_a_row = 0
    waiting: set[Future[int]] = set()
    items = iter(missing)
    with ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="peyda-fetch") as pool:
        try:
            while True:
                while len(waiting) < concurrency and failures_in_a_row < _GIVE_UP_AFTER and (item := next(items, None)):
                    waiting.add(pool.submit(fetch_one, item))
                if not waiting:
                    return summary
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    summary, is_failure = _after(future, summary)
                    failures_in_a_row = failures_in_a_row + 1 if is_failure else 0
                    progress(summary)
        except BaseException:  # Ctrl-C, a full disk: ask for nothing more, keep what has arrived
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _after(future: Future[int], summary: FetchSummary) -> tuple[FetchSummary, bool]:
    try:
        size = future.result()
    except Refused as error:
        reasons = Counter(summary.reasons)
        reasons[str(error)] += 1
        return replace(summary, failed=summary.failed + 1, reasons=dict(reasons)), True
    return replace(summary, fetched=summary.fetched + 1, fetched_bytes=summary.fetched_bytes + size), False


def _fetch_one(folder: str, item: _Listed, service: str, fetcher: Fetcher) -> int:
    data = fetcher.get_bytes(item.address(service), limit_bytes=_PHOTO_LIMIT_BYTES, kind="image/")
    write_photo(folder, item.id + _suffix(data), data)
    return len(data)


def _suffix(data: bytes) -> str:
    """The suffix for the format that the bytes are in, whatever the service called them."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=tuple(_FORMATS)) as image:
            if max(image.size) > 2 * _LONGEST_SIDE_PX:
                raise Refused("a photograph has another size than asked for")
            image.load()
            return _FORMATS[str(image.format)]
    except Refused:
        raise
    except Exception as error:
        raise Refused("a photograph cannot be decoded") from error
