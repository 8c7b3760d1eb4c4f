"""When to try again: exponential back-off with jitter, what a service asks for, and when enough is enough.

Source: "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), its "equal jitter".
"""

from __future__ import annotations

from dataclasses import dataclass

from peyda.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient a run is.

    Attributes:
        tries: Attempts for one text, in all.
        budget_s: Seconds for one text from its first attempt on; no attempt starts later.
        backoff_s: Wait before the second attempt, seconds; doubles with each further one.
        longest_wait_s: Longest wait of ours; a service that asks for more stops the run.
        patience: Texts in a row that the service failed to the end before the run stops; 0 never stops it.
    """

    tries: int = 5
    budget_s: float = 600.0
    backoff_s: float = 1.0
    longest_wait_s: float = 120.0
    patience: int = 10

    def __post_init__(self) -> None:
        if self.tries < 1 or min(self.budget_s, self.backoff_s, self.longest_wait_s, self.patience) < 0:
            raise ConfigError("a run needs at least one try, and no negative waits", hint="check --tries")

    def wait_s(self, tried: int, *, asked_s: float = 0.0, jitter: float = 1.0) -> float:
        """Seconds before the next attempt.

        Args:
            tried: Attempts made, at least 1.
            asked_s: What the service asked for; never undercut.
            jitter: From 0 to 1, drawn at random, so that many waits do not end at the same moment.

        >>> [RetryPolicy(backoff_s=1).wait_s(tried) for tried in (1, 2, 3)]
        [1.0, 2.0, 4.0]
        >>> RetryPolicy(backoff_s=1).wait_s(3, jitter=0), RetryPolicy(backoff_s=1).wait_s(1, asked_s=30.0)
        (2.0, 30.0)
        """
        own = min(self.backoff_s * 2.0 ** min(tried - 1, 60), self.longest_wait_s)
        return max(own * (0.5 + jitter / 2), asked_s)

    def batch_size(self, full: int, tried: int) -> int:
        """Texts in one call for those that were tried before: halves each time, so that a bad one ends up alone.

        >>> [RetryPolicy(tries=5).batch_size(16, tried) for tried in range(5)]
        [16, 8, 4, 2, 1]
        """
        return 1 if tried and tried >= self.tries - 1 else max(1, full >> tried)
