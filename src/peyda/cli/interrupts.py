"""Ctrl-C during long runs: the first asks the run to end in good order, the second ends it at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    """Set `stop` at the first Ctrl-C (or polite kill) inside the block; a second Ctrl-C is a KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():  # where Python allows no signal handlers
        yield
        return
    signals = [signal.SIGINT, signal.SIGTERM]

    def ask(_number: int, _frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = [signal.signal(number, ask) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
