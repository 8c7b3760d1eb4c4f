"""Who translates what next: fresh texts, texts to try again, pauses, the rate, and the decision to stop.

A monitor that worker threads share. It makes no calls itself and stores nothing. While the service is failing, no fresh
text is begun: only those that failed are tried again, so that an outage meets few requests instead of all.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from peyda.translate.pace import RetryPolicy
from peyda.translate.protocol import Failed, Outcome, Translated, TranslationStopped


@dataclass(slots=True)
class Item:
    """One text on its way. `begun_s` is the time of its first attempt on the schedule's clock."""

    key: bytes
    source: str
    tried: int = 0
    begun_s: float = 0.0


Settled = tuple[Item, Outcome]


@dataclass(order=True, slots=True)
class _Waiting:
    due_s: float
    order: int
    item: Item = field(compare=False)


class Schedule:
    """Hands out batches and takes back outcomes; every method is thread-safe.

    Args:
        fresh: The texts, read as needed; an error in it ends the run and is raised by `finish`.
        batch_size: Texts in one call.
        policy: When to try again.
        calls_per_s: Rate of calls, None for no limit.
        jitter: Gives a number from 0 to 1 for each wait.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        fresh: Iterator[Item],
        *,
        batch_size: int,
        policy: RetryPolicy,
        calls_per_s: float | None = None,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fresh: Iterator[Item] | None = fresh
        self._ahead: list[Item] = []
        self._batch_size = batch_size
        self._policy = policy
        self._interval_s = 1 / calls_per_s if calls_per_s else 0.0
        self._jitter = jitter
        self._clock = clock
        self._changed = threading.Condition()
        self._order = itertools.count()
        self._waiting: list[_Waiting] = []
        self._suspects: list[Settled] = []
        self._in_flight = 0
        self._next_call_s = 0.0
        self._is_ailing = False
        self._has_ever_succeeded = False
        self._is_stopped = False
        self._error: BaseException | None = None

    def take(self) -> list[Item] | None:
        """The next batch, as soon as one may be sent; None when the run is over.

        Every batch that is taken must be given to `settle`.
        """
        with self._changed:
            while not self._is_stopped:
                if not self._waiting and not self._has_fresh() and not self._in_flight:
                    self._changed.notify_all()
                    return None
                now = self._clock()
                wait_s: float | None = self._next_call_s - now
                if wait_s is not None and wait_s <= 0:
                    batch, wait_s = self._next_batch(now)
                    if batch:
                        return self._sent(batch, now)
                if not self._is_stopped:
                    self._wait(wait_s)
            return None

    def _wait(self, seconds: float | None) -> None:
        """Wait for another thread's news, or until the time has come."""
        self._changed.wait(seconds)

    def _sent(self, batch: list[Item], now: float) -> list[Item]:
        self._in_flight += 1
        self._next_call_s = now + self._interval_s
        for item in batch:
            item.begun_s = item.begun_s if item.tried else now
        return batch

    def _next_batch(self, now: float) -> tuple[list[Item], float | None]:
        """A batch, or how long to wait for one; (nothing, None) when only a running call can bring more."""
        if self._waiting and self._waiting[0].due_s <= now:
            return self._due_batch(now), 0.0
        if not (self._is_ailing and (self._waiting or self._in_flight)) and (batch := self._fresh_batch()):
            return batch, 0.0
        return [], self._waiting[0].due_s - now if self._waiting else None

    def _due_batch(self, now: float) -> list[Item]:
        """Texts that are due, as many tries behind them as the first one has; the others keep their place."""
        tried = self._waiting[0].item.tried
        size = self._policy.batch_size(self._batch_size, tried)
        batch: list[Item] = []
        others: list[_Waiting] = []
        while self._waiting and self._waiting[0].due_s <= now and len(batch) < size and len(others) < self._batch_size:
            one = heapq.heappop(self._waiting)
            if one.item.tried == tried:
                batch.append(one.item)
            else:
                others.append(one)
        for one in others:
            heapq.heappush(self._waiting, one)
        return batch

    def _has_fresh(self) -> bool:
        """Whether a fresh text is left; reads one ahead."""
        if not self._ahead and self._fresh is not None:
            self._ahead = self._read(1)
        return bool(self._ahead)

    def _fresh_batch(self) -> list[Item]:
        if not self._has_fresh():
            return []
        batch, self._ahead = self._ahead, []
        return batch + self._read(self._batch_size - len(batch))

    def _read(self, count: int) -> list[Item]:
        if self._fresh is None:
            return []
        try:
            batch = list(itertools.islice(self._fresh, count))
        except Exception as error:  # noqa: BLE001 - raised again by finish(), in the thread that waits for the run
            self._stop(error)
            return []
        if len(batch) < count:
            self._fresh = None
        return batch

    def settle(self, batch: Sequence[Item], outcomes: Sequence[Outcome]) -> list[Settled]:
        """Take back what became of a batch.

        Returns:
            What is decided: translations, and failures that will not be tried again. Failures of the service are held
            back until it is clear that the service, not the text, was not to blame: until anything succeeds.
        """
        with self._changed:
            self._in_flight -= 1
            decided: list[Settled] = []
            now = self._clock()
            has_succeeded = any(isinstance(outcome, Translated) for outcome in outcomes)
            if has_succeeded:
                self._is_ailing, self._has_ever_succeeded = False, True
                decided += self._suspects
                self._suspects = []
            for item, outcome in zip(batch, outcomes, strict=True):
                item.tried += 1
                if isinstance(outcome, Translated):
                    decided.append((item, outcome))
                else:
                    decided += self._settle_failure(item, outcome, len(batch), now, has_succeeded)
            self._changed.notify_all()
            return decided

    def _settle_failure(
        self, item: Item, failed: Failed, batch_length: int, now: float, has_succeeded: bool
    ) -> list[Settled]:
        if failed.is_service and not has_succeeded:
            self._is_ailing = True
        if failed.wait_s:
            self._pause(failed, now)
        wait_s = self._policy.wait_s(item.tried, asked_s=failed.wait_s, jitter=self._jitter())
        if not failed.is_service and batch_length > 1 and not failed.wait_s:
            wait_s = 0.0  # the answer was wrong, not the service unwell: a smaller batch at once
        within_budget = now + wait_s <= item.begun_s + self._policy.budget_s
        if failed.may_pass and item.tried < self._policy.tries and within_budget:
            heapq.heappush(self._waiting, _Waiting(now + wait_s, next(self._order), item))
            return []
        if not failed.is_service or has_succeeded:
            return [(item, failed)]
        self._suspects.append((item, failed))
        if self._policy.patience and len(self._suspects) >= self._policy.patience:
            self._stop(self._outage())
        return []

    def _outage(self) -> TranslationStopped:
        (_, last), count = self._suspects[-1], len(self._suspects)
        return TranslationStopped(
            f"the service failed for {count} texts in a row and for none in between, last with {last}",
            hint="what is done is kept: run the same command again when the service is well "
            "(--patience 0 marks such texts as failed instead)",
        )

    def _pause(self, failed: Failed, now: float) -> None:
        """The service asked to be left alone: all threads do."""
        if failed.wait_s > self._policy.longest_wait_s:
            self._stop(
                TranslationStopped(
                    f"the service asks to wait {failed.wait_s:,.0f} seconds ({failed})",
                    hint="what is done is kept: run the same command again after that time",
                )
            )
        self._next_call_s = max(self._next_call_s, now + failed.wait_s)

    def stop(self, error: BaseException | None = None) -> None:
        """Hand out nothing more. The first error is what `finish` raises."""
        with self._changed:
            self._stop(error)

    def _stop(self, error: BaseException | None) -> None:
        self._error = self._error or error
        self._is_stopped = True
        self._changed.notify_all()

    @property
    def is_stopped(self) -> bool:
        """Whether the run was ended before its end."""
        with self._changed:
            return self._is_stopped

    def finish(self) -> list[Settled]:
        """After the last `settle`: the failures that were held back; none of them when the run was stopped.

        A run in which the service took no text at all, and failed for some, counts as stopped by it.

        Raises:
            Exception: What stopped the run.
        """
        with self._changed:
            if self._policy.patience and self._suspects and not self._has_ever_succeeded:
                self._stop(self._outage())  # few texts, and the service took none of them
            if self._error is not None:
                raise self._error
            suspects, self._suspects = self._suspects, []
            return [] if self._is_stopped else suspects
