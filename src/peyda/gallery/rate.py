"""How fast a long run is at the moment."""

from __future__ import annotations

import time
from collections import deque

_WINDOW_S = 15.0


class RateMeter:
    """Things a second over the last seconds, from the count that was reached so far."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def after(self, done: int) -> float:
        """The rate, now that `done` things are done; never negative."""
        now = time.monotonic()
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW_S:
            self._samples.popleft()
        then, before = self._samples[0]
        return max(0.0, (done - before) / (now - then)) if now > then else 0.0
