"""The resumable job: a caption table in, the same table with Persian captions out.

The table is read as a stream, twice or three times, so its size does not matter. Every answer is in the cache before
the next call is made: a run that was killed goes on from there, and nothing that was answered is asked again. The new
table appears at the end, at once. How patient the job is, is `peyda.translate.pace`; what a row becomes, `rows`.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from filelock import FileLock, Timeout

from peyda.captions.formats import ReadOptions, SkippedRow
from peyda.captions.reading import CaptionReader, open_reader
from peyda.captions.writing import check_writable, open_writer
from peyda.errors import DataError, StorageError
from peyda.translate.cache import TranslationCache
from peyda.translate.crew import Crew, Progress
from peyda.translate.pace import RetryPolicy
from peyda.translate.protocol import Engine, Failed, TranslationStopped
from peyda.translate.rows import Counts, Existing, RowPlan
from peyda.translate.schedule import Item, Schedule
from peyda.translate.source import source_key

_LOOKUP_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class TranslationSummary:
    """What a run did.

    Attributes:
        engine: `Engine.label`.
        rows: Rows written; 0 when the run was interrupted.
        translated: Rows of them with a translation by this engine.
        passed: Rows that had a Persian caption and went through unchanged.
        failed: Rows without a translation; their error column says why.
        duplicates: Rows whose key was there before.
        reasons: Code → failed rows.
        skipped: Lines of the table that are no rows, at most the first thousand.
        skipped_count: How many there are.
        texts_sent: Distinct texts that the engine translated in this run.
        texts_cached: Distinct texts that an earlier run had translated.
        seconds: How long it took.
        is_complete: False when it was interrupted: what is done is kept, and no table is written.
    """

    engine: str
    rows: int = 0
    translated: int = 0
    passed: int = 0
    failed: int = 0
    duplicates: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    skipped: tuple[SkippedRow, ...] = ()
    skipped_count: int = 0
    texts_sent: int = 0
    texts_cached: int = 0
    seconds: float = 0.0
    is_complete: bool = True

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


_SKIPPED_SHOWN = 1_000


def translate_table(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    engine: Engine,
    *,
    cache: str | os.PathLike[str],
    column: str = "caption_en",
    existing: Existing = "both",
    format: str | None = None,  # noqa: A002 - the word of the command line
    options: ReadOptions | None = None,
    policy: RetryPolicy | None = None,
    concurrency: int | None = None,
    calls_per_s: float | None = None,
    progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TranslationSummary:
    """Translate a column of a caption table.

    Args:
        source: The table, in any known format.
        out: The new table; its ending names the format. It may be `source` itself.
        engine: Who translates.
        cache: File of translations of all runs (`TranslationCache`).
        column: The column with English text.
        existing: What happens to rows that have a Persian caption of another origin.
        format: Format of `source`; None guesses.
        options: Encoding and such of `source`.
        policy: Tries, waits, patience.
        concurrency: Calls at a time; the engine's own when None, and 1 for an engine that takes no more.
        calls_per_s: Rate of calls; the engine's own when None, no limit when 0.
        progress: Is told a few times a second.
        should_stop: Is asked a few times a second; True ends the run in good order.

    Returns:
        What was done. A text that fails keeps its error in the row; it never ends the run.

    Raises:
        DataError: The table cannot be read, lacks `column`, or changed during the run; or the cache is damaged.
        StorageError: `out` or the cache cannot be written, or another run is writing `out`.
        TranslationStopped: The engine refuses to go on; what is done is kept, `out` is untouched.
    """
    job = _Job(os.fspath(source), os.fspath(out), engine, column, existing, format, options)
    with _sole_writer(job.out), TranslationCache(cache, engine.identity, job.id) as opened:
        return job.run(
            opened,
            policy or RetryPolicy(),
            1 if engine.concurrency == 1 else concurrency or engine.concurrency,
            engine.calls_per_s if calls_per_s is None else calls_per_s or None,
            progress or (lambda _: None),
            should_stop or (lambda: False),
        )


@contextmanager
def _sole_writer(out: str) -> Iterator[None]:
    """Two runs for one table would translate everything twice."""
    check_writable(out)
    path = out + ".lock"
    lock = FileLock(path, timeout=0)
    try:
        os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
        lock.acquire()
    except Timeout:
        raise StorageError(f"another run is writing {out}", hint="wait for it, or choose another --out") from None
    except OSError as error:
        raise StorageError(
            f"{out} cannot be written: {error.strerror}", hint="check the folder and its rights"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(path)
        lock.release()


class _Job:
    def __init__(
        self,
        source: str,
        out: str,
        engine: Engine,
        column: str,
        existing: Existing,
        table_format: str | None,
        options: ReadOptions | None,
    ) -> None:
        self.source = source
        self.out = out
        self._engine = engine
        self._column = column
        self._format = table_format
        self._options = options
        self.id = hashlib.blake2b(
            f"{engine.identity}\0{os.path.abspath(out)}".encode("utf-8", "surrogateescape")
        ).digest()
        self._stamp = _stamp(source)
        self._begun_s = time.monotonic()
        with self._open() as reader:
            self._plan = RowPlan(reader.columns, column, engine.label, engine.longest_text, existing)

    def _open(self) -> CaptionReader:
        # Rows that repeat a key are translated and marked rather than dropped.
        return open_reader(
            self.source, format=self._format, options=self._options, duplicates="keep", required=(self._column,)
        )

    def run(
        self,
        cache: TranslationCache,
        policy: RetryPolicy,
        concurrency: int,
        calls_per_s: float | None,
        progress: Callable[[Progress], None],
        should_stop: Callable[[], bool],
    ) -> TranslationSummary:
        """Look through the table, translate what is missing, write."""
        if self._plan.needs_own_keys:
            with self._open() as reader:
                self._plan.collect_own_keys(reader)
        wanted, cached = self._wanted(cache, progress, should_stop)
        if wanted is None:
            return TranslationSummary(self._engine.label, is_complete=False, seconds=self._seconds())
        batch_size = max(1, self._engine.batch_size)
        schedule = Schedule(self._fresh(wanted), batch_size=batch_size, policy=policy, calls_per_s=calls_per_s)
        crew = Crew(self._engine, schedule, cache, len(wanted), progress)
        try:
            crew.work(concurrency, should_stop)
        except TranslationStopped as error:
            raise TranslationStopped(
                f"{error.message} ({crew.translated:,} texts were translated in this run)", hint=error.hint
            ) from error
        if not crew.is_complete:
            return TranslationSummary(
                self._engine.label,
                texts_sent=crew.translated,
                texts_cached=cached,
                seconds=self._seconds(),
                is_complete=False,
            )
        return self._write(cache, crew.translated, cached)

    def _wanted(
        self, cache: TranslationCache, progress: Callable[[Progress], None], should_stop: Callable[[], bool]
    ) -> tuple[set[bytes] | None, int]:
        """Keys of the distinct texts that are still to be translated, and how many are not; None when stopped."""
        seen: set[bytes] = set()
        wanted: set[bytes] = set()
        pending: list[bytes] = []

        def look_up() -> None:
            failures = cache.failures(pending)
            translations = cache.translations(pending)
            wanted.update(key for key in pending if key not in translations and key not in failures)
            pending.clear()

        with self._open() as reader:
            for row in reader:
                source = self._plan.source(row)
                if source is not None and (key := source_key(source)) not in seen:
                    seen.add(key)
                    pending.append(key)
                    if len(pending) == _LOOKUP_ROWS:
                        look_up()
                        progress(Progress(len(seen)))
                        if should_stop():
                            return None, 0
        look_up()
        return wanted, len(seen) - len(wanted)

    def _fresh(self, wanted: set[bytes]) -> Iterator[Item]:
        """The wanted texts, each once, read as the schedule asks for them. Empties `wanted`."""
        if not wanted:
            return
        with self._open() as reader:
            for row in reader:
                source = self._plan.source(row)
                if source is not None and (key := source_key(source)) in wanted:
                    wanted.remove(key)
                    yield Item(key, source)

    def _write(self, cache: TranslationCache, sent: int, cached: int) -> TranslationSummary:
        if _stamp(self.source) != self._stamp:
            raise DataError(
                f"{self.source} changed while it was translated",
                hint="run the same command again: what was translated is kept",
            )
        counts = Counts()
        seen: set[int] = set()
        with self._open() as reader, open_writer(self.out, self._plan.columns) as writer:
            for rows in _chunks(reader):
                sources = [self._plan.source(row) for row in rows]
                keys = [None if source is None else source_key(source) for source in sources]
                known: dict[bytes, str | Failed] = {}
                known.update(cache.failures([key for key in keys if key is not None]))
                known.update(cache.translations([key for key in keys if key is not None]))
                for row, key in zip(rows, keys, strict=True):
                    found = None if key is None else known.get(key)
                    for new in self._plan.written(row, found, counts, seen):
                        writer.write(new)
            skipped = reader.skipped
        cache.forget_failures()
        return TranslationSummary(
            engine=self._engine.label,
            rows=counts.rows,
            translated=counts.translated,
            passed=counts.passed,
            failed=sum(counts.reasons.values()),
            duplicates=counts.duplicates,
            reasons=dict(sorted(counts.reasons.items(), key=lambda one: (-one[1], one[0]))),
            skipped=tuple(skipped[:_SKIPPED_SHOWN]),
            skipped_count=len(skipped),
            texts_sent=sent,
            texts_cached=cached,
            seconds=self._seconds(),
        )

    def _seconds(self) -> float:
        return time.monotonic() - self._begun_s


def _chunks(reader: CaptionReader) -> Iterator[list[dict[str, str]]]:
    rows: list[dict[str, str]] = []
    for row in reader:
        rows.append(row)
        if len(rows) == _LOOKUP_ROWS:
            yield rows
            rows = []
    yield rows


def _stamp(path: str) -> tuple[int, int] | None:
    """Size and time of a file; None for what is no file (a dataset by its id)."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns
