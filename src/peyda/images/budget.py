"""How many decoders may run at once, counted in bytes rather than in threads.

Every decode takes its estimate from one purse for the whole process, so that a folder of huge photographs peaks no
higher than a single one may, however many threads decode.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator

from peyda.images.limits import DEFAULT_LIMITS, HEAVY_FILE_BYTES


class MemoryBudget:
    """A purse of bytes. First come, first served, so that a large request is not starved by small ones."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._used = 0
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()

    @property
    def used(self) -> int:
        """Bytes taken now."""
        return self._used

    @contextlib.contextmanager
    def take(self, amount: int) -> Iterator[None]:
        """Wait for `amount` bytes and hold them; more than the capacity waits for all of it."""
        amount = min(amount, self.capacity)
        with self._changed:
            if self._queue or self._used + amount > self.capacity:
                ticket = object()
                self._queue.append(ticket)
                try:
                    self._changed.wait_for(lambda: self._queue[0] is ticket and self._used + amount <= self.capacity)
                finally:
                    self._queue.remove(ticket)
                    self._changed.notify_all()
            self._used += amount
        try:
            yield
        finally:
            with self._changed:
                self._used -= amount
                if self._queue:
                    self._changed.notify_all()


DECODING = MemoryBudget(DEFAULT_LIMITS.decode_bytes)

_HEAVY_FILE = threading.Lock()


def hold_file(size_bytes: int) -> contextlib.AbstractContextManager[object]:
    """Enter before reading a file: large ones are held in memory one at a time."""
    return _HEAVY_FILE if size_bytes > HEAVY_FILE_BYTES else contextlib.nullcontext()
