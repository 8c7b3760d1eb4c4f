"""Tables with image addresses to folders of verified photographs: concurrent, polite, resumable, nothing unaccounted.

Every address ends up in the folder's ledger: with its file, or with the reason why there is none. The next run asks
again only for what failed for a passing reason, or was never asked.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from peyda.captions.formats import ReadOptions
from peyda.captions.reading import open_reader
from peyda.captions.schema import URL_NAMES, ordered
from peyda.captions.web.address import parse_address
from peyda.captions.web.client import WebClient
from peyda.captions.web.failures import WebFailure
from peyda.captions.web.ledger import Entry, failure_line, is_settled, open_ledger, read_ledger
from peyda.captions.web.pictures import Picture, name_by_address, safe_name, verify_picture, write_file
from peyda.captions.web.schedule import Outcome, Politeness, Schedule
from peyda.captions.writing import TableWriter, check_writable, open_writer
from peyda.errors import DataError, StorageError

_IMAGE_KINDS = ("image/", "application/octet-stream", "binary/octet-stream")
"""Media types that are taken; what the bytes are is found out by decoding them."""


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """What is fetched, and how.

    Args:
        url_column: The column of addresses; "" takes the first known one.
        limit_bytes: Largest file that is taken.
        formats: Formats that are taken, as `peyda.images` names them; None takes all.
        min_side_px: Shorter side that a picture must have.
        plain_px: As `verify_picture`: write small JPEGs without metadata; None keeps the files as they came.
        retry_failed: Ask again for what failed for good.
        politeness: How hard hosts are asked.
    """

    url_column: str = ""
    limit_bytes: int = 20_000_000
    formats: frozenset[str] | None = None
    min_side_px: int = 1
    plain_px: int | None = None
    retry_failed: bool = False
    politeness: Politeness = field(default_factory=Politeness)


@dataclass(frozen=True, slots=True)
class FetchSummary:
    """The state of a fetch: addresses by what became of them. `reasons` counts this run's failures."""

    addresses: int = 0
    fetched: int = 0
    already_there: int = 0
    failed: int = 0
    failed_before: int = 0
    fetched_bytes: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Wanted:
    url: str
    image: str


def fetch_images(
    table: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word of the command line
    read: ReadOptions | None = None,
    options: FetchOptions | None = None,
    client: WebClient | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[FetchSummary], None] = lambda summary: None,
) -> FetchSummary:
    """Fetch the photographs of a table into a folder.

    Args:
        table: A caption table with a column of addresses.
        folder: Where files and `ledger.jsonl` go; made where it is missing.
        format: As for `open_reader`.
        read: As for `open_reader`.
        options: What is fetched, and how.
        client: Who asks; a test's way to allow a server on this machine.
        out: A table to write: the same rows, `image` the file's name in `folder`; a row without its photograph stays,
            with `kept` false and a reason.
        progress: Called after every address.

    Raises:
        DataError: The table cannot be read, or has no addresses.
        StorageError: The folder cannot be written.
    """
    options = options or FetchOptions()
    client = client or WebClient()
    place = os.fspath(folder)
    if out is not None:
        check_writable(os.fspath(out))
    column = _url_column(table, format, read, options.url_column)
    _make(place)
    with open_ledger(place) as (known, ledger):
        job = _Job(place, options, client, known, ledger, progress)
        summary = job.run(lambda: _wanted(table, format, read, column))
    if not summary.addresses:
        raise DataError(f"{table} has no addresses in {column}", hint="--url-column names another column")
    if out is not None:
        _write_table(table, format, read, column, place, os.fspath(out))
    return summary


class _Job:
    def __init__(
        self,
        folder: str,
        options: FetchOptions,
        client: WebClient,
        known: dict[str, Entry],
        ledger: TableWriter,
        progress: Callable[[FetchSummary], None],
    ) -> None:
        self._folder = folder
        self._options = options
        self._client = client
        self._known = known
        self._ledger = ledger
        self._progress = progress
        self._summary = FetchSummary()
        self._taken = {_mark(entry.image.casefold()): _mark(url) for url, entry in known.items() if entry.image}
        self._lock = threading.Lock()

    def run(self, wanted: Callable[[], Iterator[_Wanted]]) -> FetchSummary:
        schedule = Schedule(self._left(wanted()), _host_of, self._fetch, self._options.politeness)
        try:
            for outcome in schedule.outcomes():
                self._record(outcome)
                self._progress(self._summary)
        except BaseException:
            self._client.stop()
            raise
        return self._summary

    def _left(self, wanted: Iterator[_Wanted]) -> Iterator[_Wanted]:
        """Addresses that need a request, each once."""
        seen: set[int] = set()
        for one in wanted:
            mark = _mark(one.url)
            if mark in seen:
                continue
            seen.add(mark)
            self._count(addresses=1)
            entry = self._known.get(one.url)
            if entry is not None and is_settled(entry, self._folder, retry_failed=self._options.retry_failed):
                self._count(**{"already_there" if entry.image else "failed_before": 1})
                continue
            yield one

    def _fetch(self, wanted: _Wanted) -> tuple[str, Picture]:
        """In a worker thread: ask, verify, write."""
        options = self._options
        reply = self._client.get(wanted.url, limit_bytes=options.limit_bytes, kinds=_IMAGE_KINDS)
        picture = verify_picture(
            reply.body, formats=options.formats, min_side_px=options.min_side_px, plain_px=options.plain_px
        )
        name = self._name(wanted, picture)
        write_file(self._folder, name, picture.data)
        return name, picture

    def _name(self, wanted: _Wanted, picture: Picture) -> str:
        """The table's own name, where it is harmless and no other address has it; otherwise one by the address."""
        name = safe_name(wanted.image)
        if name is not None:
            with self._lock:
                # Two names that differ in case are one file on some disks.
                if self._taken.setdefault(_mark(name.casefold()), _mark(wanted.url)) == _mark(wanted.url):
                    return name
        return name_by_address(wanted.url, picture)

    def _record(self, outcome: Outcome[_Wanted, tuple[str, Picture]]) -> None:
        url = outcome.item.url
        if outcome.value is None:
            failure = outcome.failure or WebFailure("bad_reply")
            self._ledger.write(failure_line(url, failure.reason, failure.detail, outcome.tries))
            self._count(failed=1)
            self._summary.reasons[failure.reason] += 1
        else:
            name, picture = outcome.value
            self._ledger.write(
                {
                    "url": url,
                    "image": name,
                    "tries": outcome.tries,
                    "format": picture.format,
                    "width_px": picture.width_px,
                    "height_px": picture.height_px,
                    "size_bytes": len(picture.data),
                    "content_hash": picture.content_hash,
                }
            )
            self._count(fetched=1, fetched_bytes=len(picture.data))
        self._ledger.flush()

    def _count(self, **more: int) -> None:
        now = self._summary
        self._summary = replace(now, **{name: getattr(now, name) + count for name, count in more.items()})


def _mark(text: str) -> int:
    """64 bits of hash: a million addresses are remembered in some tens of megabytes."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _host_of(wanted: _Wanted) -> str:
    try:
        return parse_address(wanted.url).netloc
    except WebFailure:
        return ""  # fails at once when its turn comes


def _url_column(table: str | os.PathLike[str], table_format: str | None, read: ReadOptions | None, column: str) -> str:
    with open_reader(table, format=table_format, options=read, duplicates="keep") as reader:
        if column and column in reader.columns:
            return column
        found = next((name for name in URL_NAMES if name in reader.columns), None)
        if column or found is None:
            raise DataError(
                f"{reader.source} has no column {column or 'of addresses'}",
                hint=f"its columns: {', '.join(reader.columns)}; --url-column names the one to use",
            )
        return found


def _wanted(
    table: str | os.PathLike[str], table_format: str | None, read: ReadOptions | None, column: str
) -> Iterator[_Wanted]:
    with open_reader(table, format=table_format, options=read, duplicates="keep") as reader:
        for row in reader:
            if row[column].strip():
                yield _Wanted(row[column].strip(), row["image"])


def _write_table(
    table: str | os.PathLike[str],
    table_format: str | None,
    read: ReadOptions | None,
    column: str,
    folder: str,
    out: str,
) -> None:
    ledger = read_ledger(folder)
    none = Entry("", "no_address", 0)
    with open_reader(table, format=table_format, options=read) as reader:
        columns = ordered([*reader.columns, "kept", "reason"])
        with open_writer(out, columns) as writer:
            for row in reader:
                entry = ledger.get(row[column].strip(), none)
                if entry.image:
                    row["image"] = entry.image
                else:
                    row["kept"], row["reason"] = "false", f"image_{entry.reason}"
                writer.write(row)


def _make(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.strerror}", hint="choose another folder") from error
