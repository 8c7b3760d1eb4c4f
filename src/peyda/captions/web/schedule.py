"""Many requests to many hosts, politely: so many at a time in all and to each host, with pauses, and patience.

A host that says 429 or 503 is left alone for as long as it asks. A request that failed for a passing reason is tried
again later; a host that fails again and again is given up, so that a dead one does not hold up the others.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from peyda.captions.web.failures import HOST_REASONS, WebFailure

_WINDOW = 20_000
"""Items read ahead, so that a slow host at the head of a list does not keep the others waiting."""

_Item = TypeVar("_Item")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Politeness:
    """How hard hosts may be asked.

    Args:
        concurrency: Requests at a time, in all.
        per_host: Requests at a time to one host.
        interval_s: Least time between the starts of two requests to one host.
        tries: Tries for each item, in all.
        backoff_s: Wait before the second try; doubles each time.
        longest_wait_s: A host that asks for a longer wait is given up for this run.
        give_up_after: So many failures in a row that speak of the host end its turn for this run.
    """

    concurrency: int = 16
    per_host: int = 4
    interval_s: float = 0.0
    tries: int = 3
    backoff_s: float = 1.0
    longest_wait_s: float = 300.0
    give_up_after: int = 10


@dataclass(frozen=True, slots=True)
class Outcome(Generic[_Item, _Value]):
    """What became of an item: a value, or a failure; `tries` is how many requests it took."""

    item: _Item
    value: _Value | None
    failure: WebFailure | None
    tries: int


@dataclass
class _Host(Generic[_Item]):
    waiting: deque[tuple[_Item, int]] = field(default_factory=deque)
    running: int = 0
    not_before: float = 0.0
    failures: int = 0
    down: WebFailure | None = None


@dataclass
class Schedule(Generic[_Item, _Value]):
    """Runs `work` on items; iterate over `outcomes` in the calling thread.

    Args:
        items: What to do; read as there is room.
        host_of: The host of an item.
        work: Does one item in a worker thread; raises WebFailure. Anything else ends the run.
        politeness: How hard hosts may be asked.
        clock: Seconds that only grow.
        sleep: Waits; a test's way not to.
    """

    items: Iterator[_Item]
    host_of: Callable[[_Item], str]
    work: Callable[[_Item], _Value]
    politeness: Politeness
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _hosts: dict[str, _Host[_Item]] = field(default_factory=dict)
    _ready: list[tuple[float, str]] = field(default_factory=list)
    _running: dict[Future[_Value], tuple[str, _Item, int]] = field(default_factory=dict)
    _retries: list[tuple[float, int, str, _Item, int]] = field(default_factory=list)
    _waiting: int = 0
    _count: int = 0
    _is_read: bool = False

    def outcomes(self) -> Iterator[Outcome[_Item, _Value]]:
        """One outcome for each item, as they come."""
        pool = ThreadPoolExecutor(self.politeness.concurrency, thread_name_prefix="peyda-web")
        try:
            while True:
                self._read()
                yield from self._start(pool)
                if not self._running and not self._waiting and not self._retries and self._is_read:
                    return
                for future in self._finished():
                    yield from self._after(future)
        finally:  # Ctrl-C or an end in the middle: ask for nothing more
            pool.shutdown(wait=False, cancel_futures=True)

    def _read(self) -> None:
        now = self.clock()
        while self._retries and self._retries[0][0] <= now:
            _, _, name, item, tries = heapq.heappop(self._retries)
            self._queue(name, item, tries)
        while not self._is_read and self._waiting + len(self._retries) < _WINDOW:
            try:
                fresh = next(self.items)
            except StopIteration:
                self._is_read = True
            else:
                self._queue(self.host_of(fresh), fresh, 0)

    def _queue(self, name: str, item: _Item, tries: int) -> None:
        host = self._hosts.setdefault(name, _Host())
        host.waiting.append((item, tries))
        self._waiting += 1
        heapq.heappush(self._ready, (host.not_before, name))

    def _start(self, pool: ThreadPoolExecutor) -> Iterator[Outcome[_Item, _Value]]:
        """Start what may start now. The heap may name a host more than once, and early: what it says is checked."""
        now = self.clock()
        while self._ready and len(self._running) < self.politeness.concurrency:
            due, name = self._ready[0]
            host = self._hosts[name]
            if host.down is not None:
                heapq.heappop(self._ready)
                yield from self._drop(host)
                continue
            if due > now:
                return
            heapq.heappop(self._ready)
            if not host.waiting or host.running >= self.politeness.per_host:
                continue  # the next one of its requests that ends puts it back
            if host.not_before > now:
                heapq.heappush(self._ready, (host.not_before, name))
                continue
            item, tries = host.waiting.popleft()
            self._waiting -= 1
            host.running += 1
            host.not_before = now + self.politeness.interval_s
            self._running[pool.submit(self.work, item)] = (name, item, tries + 1)
            if host.waiting:
                heapq.heappush(self._ready, (host.not_before, name))

    def _finished(self) -> list[Future[_Value]]:
        """Wait until something ends, or something else may start."""
        times = [self._ready[0][0]] if self._ready and len(self._running) < self.politeness.concurrency else []
        times += [self._retries[0][0]] if self._retries else []
        pause = max(0.0, min(times) - self.clock()) if times else None
        if not self._running:
            self.sleep(min(pause or 0.0, 1.0))
            return []
        return list(wait(self._running, timeout=pause, return_when=FIRST_COMPLETED).done)

    def _after(self, future: Future[_Value]) -> Iterator[Outcome[_Item, _Value]]:
        name, item, tries = self._running.pop(future)
        host = self._hosts[name]
        host.running -= 1
        if host.waiting:
            heapq.heappush(self._ready, (host.not_before, name))
        try:
            value = future.result()
        except WebFailure as failure:
            yield from self._failed(name, host, item, tries, failure)
            return
        host.failures = 0
        yield Outcome(item, value, None, tries)

    def _failed(
        self, name: str, host: _Host[_Item], item: _Item, tries: int, failure: WebFailure
    ) -> Iterator[Outcome[_Item, _Value]]:
        rules = self.politeness
        host.failures = host.failures + 1 if failure.reason in HOST_REASONS else 0
        wait_s = max(failure.wait_s, rules.backoff_s * 2 ** (tries - 1))
        now = self.clock()
        if failure.wait_s > rules.longest_wait_s:
            host.down = WebFailure("host_down", f"{failure.reason}: it asks for a pause of {failure.wait_s:,.0f} s")
        elif failure.wait_s:
            host.not_before = max(host.not_before, now + failure.wait_s)
        if host.failures >= rules.give_up_after:
            host.down = WebFailure("host_down", f"{host.failures} failures in a row, the last: {failure.reason}")
        if host.down is None and failure.is_passing and tries < rules.tries and wait_s <= rules.longest_wait_s:
            self._count += 1
            heapq.heappush(self._retries, (now + wait_s, self._count, name, item, tries))
            return
        yield Outcome(item, None, failure, tries)

    def _drop(self, host: _Host[_Item]) -> Iterator[Outcome[_Item, _Value]]:
        while host.waiting:
            item, tries = host.waiting.popleft()
            self._waiting -= 1
            yield Outcome(item, None, host.down, tries)
