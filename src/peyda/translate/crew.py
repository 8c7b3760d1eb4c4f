"""The threads that ask an engine and store what it says, as a schedule hands out work.

A thread stores an answer before it takes the next batch: what a kill can lose is what was in flight, no more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peyda.translate.cache import TranslationCache
from peyda.translate.protocol import Engine, Failed, Outcome, Translated, TranslationStopped
from peyda.translate.schedule import Item, Schedule

_PROGRESS_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, in distinct texts; `total` is None while the table is still being looked through."""

    done: int
    total: int | None = None
    failed: int = 0
    rate: float = 0.0
    eta_s: float | None = None


class Crew:
    """See the module.

    Args:
        engine: Who translates.
        schedule: What comes next.
        cache: Where answers go.
        total: Texts in all.
        progress: Is told a few times a second.

    Attributes:
        translated: Texts that were translated so far.
        is_complete: Whether every text was decided.
    """

    def __init__(
        self,
        engine: Engine,
        schedule: Schedule,
        cache: TranslationCache,
        total: int,
        progress: Callable[[Progress], None],
    ) -> None:
        self._engine = engine
        self._schedule = schedule
        self._cache = cache
        self._total = total
        self._progress = progress
        self._lock = threading.Lock()
        self.translated = 0
        self._failed = 0
        self.is_complete = False

    def work(self, concurrency: int, should_stop: Callable[[], bool]) -> None:
        """Work until everything is decided or the run is stopped.

        Raises:
            Exception: What stopped the run, from whichever thread.
        """
        count = max(1, min(concurrency, self._total))
        # Daemons: a second Ctrl-C must not wait for a service that hangs.
        threads = [threading.Thread(target=self._serve, daemon=True, name=f"translate-{n}") for n in range(count)]
        begun_s = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(_PROGRESS_EVERY_S)
                self._report(begun_s)
                if should_stop():
                    self._schedule.stop()
        self._store(self._schedule.finish())
        self._report(begun_s)
        self.is_complete = not self._schedule.is_stopped

    def _serve(self) -> None:
        try:
            while (batch := self._schedule.take()) is not None:
                outcomes = self._ask([item.source for item in batch])
                self._store(self._schedule.settle(batch, outcomes))
        except BaseException as error:  # noqa: BLE001 - raised again by finish(), in the thread that waits for the run
            self._schedule.stop(error)

    def _ask(self, sources: Sequence[str]) -> list[Outcome]:
        try:
            outcomes = list(self._engine.translate(sources))
        except TranslationStopped:
            raise
        except Exception as error:  # noqa: BLE001 - a library that stumbles over one text must not end the run
            return [Failed("crashed", f"{type(error).__name__}: {str(error)[:200]}", may_pass=True) for _ in sources]
        if len(outcomes) != len(sources):
            return [Failed("wrong_count", may_pass=True) for _ in sources]
        return outcomes

    def _store(self, decided: Sequence[tuple[Item, Outcome]]) -> None:
        translations: dict[bytes, str] = {}
        failures: dict[bytes, Failed] = {}
        for item, outcome in decided:
            if isinstance(outcome, Translated):
                # Half a surrogate pair, which JSON can spell, is no text that a file could hold.
                translations[item.key] = outcome.text.encode(errors="ignore").decode()
            else:
                failures[item.key] = outcome
        self._cache.put(translations, failures)
        with self._lock:
            self.translated += len(translations)
            self._failed += len(failures)

    def _report(self, begun_s: float) -> None:
        with self._lock:
            done, failed = self.translated + self._failed, self._failed
        seconds = time.monotonic() - begun_s
        rate = done / seconds if seconds > 0 else 0.0
        self._progress(Progress(done, self._total, failed, rate, (self._total - done) / rate if rate else None))
