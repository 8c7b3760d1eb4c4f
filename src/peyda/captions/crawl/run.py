"""A crawl: page after page, advertisement after advertisement, until there is enough; a kill costs one page's work.

The folder holds `captions.jsonl` (the table), `images/`, `ledger.jsonl` (what was left out, and why) and `state.json`
(how far each search is). Advertisements are known by a keyed hash of their token alone, photographs are written anew
without their metadata, titles that hold anything like a telephone number are left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from peyda.captions.appending import append_writer
from peyda.captions.crawl.divar import DEFAULT_BASE, Ad, DivarApi, Page
from peyda.captions.crawl.titles import cleaned, refusal
from peyda.captions.reading import open_reader
from peyda.captions.splits import split_by_hash
from peyda.captions.web.client import WebClient
from peyda.captions.web.failures import PASSING_REASONS, WebFailure
from peyda.captions.web.pictures import Picture, verify_picture, write_file
from peyda.captions.web.robots import Robots
from peyda.captions.web.schedule import Outcome, Politeness, Schedule
from peyda.captions.writing import TableWriter
from peyda.errors import DataError, StorageError

TABLE_FILE = "captions.jsonl"
LEDGER_FILE = "ledger.jsonl"
STATE_FILE = "state.json"
IMAGES = "images"
ENGINE = "divar"
STATE_VERSION = 1

CRAWL_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "not_persian": "The title has no Persian words, or too many.",
        "personal_data": "The title holds something like a telephone number, an address or an account.",
        "no_photograph": "The advertisement has no photograph.",
        "same_picture": "The photograph was there before.",
    }
)
"""Why an advertisement is left out; besides these there are those of `peyda.captions.web.WEB_REASONS`."""

_STOP_REASONS = frozenset({"host_down", "http_429"})
"""The host wants to be left alone: the crawl ends, and the page is not counted as done."""

_COLUMNS = ("image", "caption_id", "caption_fa", "engine", "split", "category", "width_px", "height_px", "content_hash")
_LEDGER_COLUMNS = ("image", "reason", "detail")
_PHOTO_LIMIT_BYTES = 15_000_000


@dataclass(frozen=True, slots=True)
class CrawlOptions:
    """What is crawled, and how.

    Args:
        city: Number or slug of a city.
        categories: Slugs of categories.
        limit: Photographs to have in the table, in all.
        pages: Most pages of a category in one run; None takes them as long as there are any.
        photos_per_ad: Photographs of one advertisement; its title fits the first one best.
        side_px: Photographs are written to fit into a square of so many pixels.
        base: Where the interface is.
        politeness: How hard its hosts are asked; one advertisement is one request and its photographs.
        obey_robots: Keep to the hosts' robots.txt.
        from_newest: Begin each search with its newest advertisements, not where the last run ended.
    """

    city: str = "1"
    categories: Sequence[str] = ("home-kitchen",)
    limit: int = 1_000
    pages: int | None = None
    photos_per_ad: int = 1
    side_px: int = 768
    base: str = DEFAULT_BASE
    politeness: Politeness = field(default_factory=lambda: Politeness(concurrency=2, per_host=2, interval_s=1.0))
    obey_robots: bool = True
    from_newest: bool = False


@dataclass
class CrawlSummary:
    """The state of a crawl: `photos` are in the table, `fetched` of them from this run."""

    pages: int = 0
    ads: int = 0
    known_ads: int = 0
    photos: int = 0
    fetched: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def crawl_divar(
    folder: str | os.PathLike[str],
    options: CrawlOptions | None = None,
    *,
    client: WebClient | None = None,
    progress: Callable[[CrawlSummary], None] = lambda summary: None,
) -> CrawlSummary:
    """Crawl advertisements into a folder, or go on where an earlier run ended.

    Raises:
        DataError: The interface cannot be asked, forbids it, or answers in an unknown shape, before anything was had.
        StorageError: The folder cannot be written.
        ValueError: A city or category is no slug.
    """
    options = options or CrawlOptions()
    client = client or WebClient()
    place = os.fspath(folder)
    try:
        os.makedirs(os.path.join(place, IMAGES), exist_ok=True)
    except OSError as error:
        raise StorageError(f"{place} cannot be made: {error.strerror}", hint="choose another folder") from error
    with ExitStack() as stack:
        table = stack.enter_context(append_writer(os.path.join(place, TABLE_FILE), _COLUMNS))
        ledger = stack.enter_context(append_writer(os.path.join(place, LEDGER_FILE), _LEDGER_COLUMNS))
        crawl = _Crawl(place, options, client, table, ledger, progress)
        try:
            return crawl.run()
        except BaseException:
            client.stop()
            raise


@dataclass(frozen=True, slots=True)
class _Job:
    name: str
    ad: Ad


class _Crawl:
    def __init__(
        self,
        folder: str,
        options: CrawlOptions,
        client: WebClient,
        table: TableWriter,
        ledger: TableWriter,
        progress: Callable[[CrawlSummary], None],
    ) -> None:
        self._folder = folder
        self._options = options
        self._client = client
        self._api = DivarApi(client, options.base)
        self._robots = Robots(client) if options.obey_robots else None
        self._table = table
        self._ledger = ledger
        self._progress = progress
        self._summary = CrawlSummary()
        self._state = _State(os.path.join(folder, STATE_FILE))
        self._split = split_by_hash()
        self._done: set[str] = set()
        self._pictures: set[str] = set()
        self._read_folder()

    def _read_folder(self) -> None:
        """What earlier runs have; files without a row in the table are overwritten when their turn comes."""
        for row in _rows(os.path.join(self._folder, TABLE_FILE)):
            self._done.add(_ad_of(row["image"]))
            self._pictures.add(row.get("content_hash", ""))
            self._summary.photos += 1
        for row in _rows(os.path.join(self._folder, LEDGER_FILE)):
            if row.get("reason", "") not in PASSING_REASONS:
                self._done.add(_ad_of(row["image"]))

    def run(self) -> CrawlSummary:
        """Category after category; each goes on where it was left."""
        for category in self._options.categories:
            url = self._api.search_url(self._options.city, category)
            pause_s = self._allowed(url)
            self._crawl_category(category, pause_s)
        return self._summary

    def _allowed(self, url: str) -> float:
        if self._robots is None:
            return 0.0
        try:
            return self._robots.check(url)
        except WebFailure as failure:
            raise _refused(self._options.base, failure) from failure

    def _crawl_category(self, category: str, pause_s: float) -> None:
        options = self._options
        key = f"{options.city}/{category}"
        mark = 0 if options.from_newest else self._state.marks.get(key, 0)
        pages = 0
        while self._summary.photos < options.limit and (options.pages is None or pages < options.pages):
            page = self._page(category, mark, pause_s)
            pages += 1
            self._summary.pages += 1
            self._crawl_page(category, page, pause_s)
            self._progress(self._summary)
            is_enough = self._summary.photos >= options.limit
            if is_enough or not page.ads or page.mark is None or page.mark == mark:
                break  # the page in hand may have more to give: it is asked for again next time
            mark = page.mark
            self._state.marks[key] = mark
            self._state.save()

    def _page(self, category: str, mark: int, pause_s: float) -> Page:
        rules = self._polite(pause_s)
        schedule: Schedule[int, Page] = Schedule(
            iter([mark]), lambda _: "api", lambda one: self._api.search(self._options.city, category, one), rules
        )
        outcome = next(iter(schedule.outcomes()))
        if outcome.value is None:
            failure = outcome.failure or WebFailure("bad_reply")
            raise _refused(self._options.base, failure) from failure
        return outcome.value

    def _polite(self, pause_s: float) -> Politeness:
        rules = self._options.politeness
        return rules if pause_s <= rules.interval_s else replace(rules, interval_s=pause_s, per_host=1)

    def _crawl_page(self, category: str, page: Page, pause_s: float) -> None:
        schedule: Schedule[_Job, list[Picture]] = Schedule(
            self._jobs(page), lambda _: "api", lambda job: self._photographs(job.ad), self._polite(pause_s)
        )
        down: WebFailure | None = None
        for outcome in schedule.outcomes():
            self._record(category, outcome)
            self._progress(self._summary)
            if outcome.failure is not None and outcome.failure.reason in _STOP_REASONS:
                down = outcome.failure
        if down is not None:  # the page is asked for again next time, for what is missing of it
            raise _refused(self._options.base, down)

    def _jobs(self, page: Page) -> Iterator[_Job]:
        for ad in page.ads:
            name = self._state.name_of(ad.token)
            self._summary.ads += 1
            if name in self._done:
                self._summary.known_ads += 1
            elif reason := refusal(cleaned(ad.title)) or ("" if ad.has_photographs else "no_photograph"):
                self._leave_out(name, reason)
            elif self._summary.photos < self._options.limit:
                yield _Job(name, ad)

    def _photographs(self, ad: Ad) -> list[Picture]:
        """In a worker thread: the photographs of one advertisement; its small cover where there is nothing else."""
        if self._robots is not None:
            self._robots.check(self._api.ad_url(ad.token))
        urls = self._api.photographs(ad.token) or [one for one in [ad.cover] if one]
        found: list[Picture] = []
        failure: WebFailure | None = None
        for url in urls[: self._options.photos_per_ad]:
            try:
                found.append(self._photograph(url))
            except WebFailure as error:
                failure = error
                if error.is_passing:
                    break
        if failure is not None and (failure.is_passing or not found):
            raise failure
        return found

    def _photograph(self, url: str) -> Picture:
        if self._robots is not None:
            self._robots.check(url)
        reply = self._client.get(url, limit_bytes=_PHOTO_LIMIT_BYTES, kinds=("image/", "application/octet-stream"))
        return verify_picture(reply.body, plain_px=self._options.side_px)

    def _record(self, category: str, outcome: Outcome[_Job, list[Picture]]) -> None:
        job = outcome.item
        if outcome.value is None:
            failure = outcome.failure or WebFailure("bad_reply")
            self._leave_out(job.name, failure.reason, failure.detail)
            return
        fresh = [one for one in outcome.value if one.content_hash not in self._pictures]
        if not fresh:
            self._leave_out(job.name, "same_picture" if outcome.value else "no_photograph")
            return
        for at, picture in enumerate(fresh, start=1):
            image = f"{job.name}_{at}.jpg"
            write_file(os.path.join(self._folder, IMAGES), image, picture.data)
            self._pictures.add(picture.content_hash)
            self._table.write(self._row(category, job, image, picture))
            self._summary.photos += 1
            self._summary.fetched += 1
        self._table.flush()
        self._done.add(job.name)

    def _row(self, category: str, job: _Job, image: str, picture: Picture) -> Mapping[str, object]:
        return {
            "image": image,
            "caption_id": "0",
            "caption_fa": cleaned(job.ad.title),
            "engine": ENGINE,
            # By advertisement: its photographs share a title, and must be on one side.
            "split": self._split(job.name),
            "category": category,
            "width_px": picture.width_px,
            "height_px": picture.height_px,
            "content_hash": picture.content_hash,
        }

    def _leave_out(self, name: str, reason: str, detail: str = "") -> None:
        """Count it and write it down: never with the title, which may be why."""
        self._ledger.write({"image": f"{name}_1.jpg", "reason": reason, "detail": detail})
        self._ledger.flush()
        self._summary.reasons[reason] += 1
        if reason not in PASSING_REASONS:
            self._done.add(name)


class _State:
    """How far each search is, and the key of the hashes: the only thing that ties a row to an advertisement."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.key = secrets.token_hex(16)
        self.marks: dict[str, int] = {}
        if not os.path.exists(path):
            self.save()
            return
        try:
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
            version, self.key = int(found["version"]), str(found["key"])
            self.marks = {str(name): int(mark) for name, mark in found["marks"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} cannot be read", hint="delete it to begin the crawl anew") from error
        if version > STATE_VERSION:
            raise DataError(f"{path} was written by a newer Peyda", hint="pip install --upgrade peyda")

    def name_of(self, token: str) -> str:
        """The name of an advertisement in this folder; without the key, no way leads back from it."""
        return hashlib.blake2b(token.encode("utf-8"), digest_size=10, key=self.key.encode("ascii")).hexdigest()

    def save(self) -> None:
        """Write it, at once or not at all."""
        try:
            folder = os.path.dirname(self._path)
            with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".", delete=False, encoding="utf-8") as file:
                json.dump({"version": STATE_VERSION, "key": self.key, "marks": self.marks}, file, indent=1)
            os.replace(file.name, self._path)
        except OSError as error:
            raise StorageError(f"{self._path} cannot be written: {error.strerror}", hint="free some space") from error


def _ad_of(image: str) -> str:
    return image.rsplit("_", 1)[0]


def _rows(path: str) -> Iterator[Mapping[str, str]]:
    if os.path.exists(path) and os.path.getsize(path):
        with open_reader(path, duplicates="keep") as reader:
            yield from reader


def _refused(base: str, failure: WebFailure) -> DataError:
    hint = "check the network and the address, and try again later: the same command goes on where it stopped"
    if failure.reason == "disallowed":
        hint = "the host asks crawlers to stay away; ask its owner, or for a data set"
    detail = f" ({failure.detail})" if failure.detail else ""
    return DataError(f"{base} cannot be crawled: {failure.reason}{detail}", hint=hint)
