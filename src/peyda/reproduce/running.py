"""Runs one command line of `peyda` in a process of its own: what it says is shown as it comes, and kept in a log.

A process of its own gives memory back, and a crash of it is not a crash of the walk. It is a group of its own, so that
Ctrl-C reaches it once, through here; and it ends when this process does, however that happens (`attached`). Where
people watch, it writes to a terminal that we hold, so that its progress shows.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from peyda.errors import StorageError

_CHUNK = 1 << 16
_PATIENCE_S = 0.2
_KILL_AT = 3
"""At which Ctrl-C a stage is killed that does not end."""


class Interrupts:
    """Ctrl-C (or a polite kill) while stages run: told to the stage that runs, and remembered."""

    def __init__(self) -> None:
        self.count = 0
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Take the signals over inside the block."""
        if threading.current_thread() is not threading.main_thread():  # where Python allows no handlers
            yield
            return
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def reaching(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """Tell this process of interrupts inside the block."""
        self._process = process
        if self.count:  # it came while the process was being started
            _signal_group(process, signal.SIGINT)
        try:
            yield
        finally:
            self._process = None

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self._process is not None:
            _signal_group(self._process, signal.SIGKILL if self.count >= _KILL_AT else signal.SIGINT)


def run_logged(
    arguments: Sequence[str],
    log: str,
    *,
    show: Callable[[bytes], None],
    is_watched: bool,
    interrupts: Interrupts,
) -> int:
    """Run `peyda ARGUMENTS` until it ends.

    Args:
        arguments: Of `peyda`.
        log: File that what it says is added to.
        show: Called with what it says, as it comes.
        is_watched: Whether what is shown goes to a terminal.
        interrupts: Who is told of Ctrl-C.

    Returns:
        Its exit status; negative where a signal ended it.

    Raises:
        StorageError: The log cannot be written.
    """
    try:
        os.makedirs(os.path.dirname(log), exist_ok=True)
        with open(log, "ab") as file:
            return _run(arguments, _Log(file.write), show, is_watched, interrupts)
    except OSError as error:
        raise StorageError(f"cannot write {log}: {error.strerror or error}") from error


def _run(
    arguments: Sequence[str],
    log: _Log,
    show: Callable[[bytes], None],
    is_watched: bool,
    interrupts: Interrupts,
) -> int:
    ours, theirs = _terminal() if is_watched else os.pipe()
    lifeline, held = os.pipe()  # `held` is open as long as this process lives, and in no other
    # -P: what lies in the directory that the user stands in must not be imported for a package
    command = [sys.executable, "-P", "-m", "peyda.reproduce.attached", str(lifeline), *arguments]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            pass_fds=(lifeline,),
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        os.close(theirs)
        with interrupts.reaching(process):
            for text in _said(ours, process):
                show(text)
                log.write(text)
            status = process.wait()
        log.end()
        _signal_group(process, signal.SIGKILL)  # whatever it left behind
        return status
    finally:
        for descriptor in (ours, lifeline, held):
            os.close(descriptor)


def _said(descriptor: int, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """What comes, until nobody can say more: all have closed it, or the process is gone and it is quiet."""
    quiet_since: float | None = None
    while True:
        if select.select([descriptor], [], [], _PATIENCE_S)[0]:
            try:
                text = os.read(descriptor, _CHUNK)
            except OSError:  # the way in which Linux says that a terminal has no other end any more
                return
            if not text:
                return
            quiet_since = None
            yield text
        elif process.poll() is not None:  # something that it started may hold the other end for ever
            quiet_since = quiet_since or time.monotonic()
            if time.monotonic() - quiet_since > 1:
                return


def _terminal() -> tuple[int, int]:
    """A terminal: our end, their end. It is as wide as the one that we write to, and leaves the ends of lines alone."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    mode = termios.tcgetattr(theirs)
    mode[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, mode)
    with contextlib.suppress(OSError, ValueError):  # where stderr is none after all
        size = fcntl.ioctl(sys.stderr.fileno(), termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    return ours, theirs


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it is gone
        os.killpg(process.pid, number)


class _Log:
    """Writes whole lines, of a line that was written over and over (a progress) only how it ended."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._line = b""

    def write(self, text: bytes) -> None:
        *lines, self._line = (self._line + text).split(b"\n")
        for line in lines:
            self._write(_last(line) + b"\n")
        self._line = _last(self._line, keep_open=True)

    def end(self) -> None:
        if self._line:
            self._write(_last(self._line) + b"\n")
        self._line = b""


def _last(line: bytes, *, keep_open: bool = False) -> bytes:
    """What stands in a line after its carriage returns; with `keep_open`, a return at its end stays."""
    is_open = keep_open and line.endswith(b"\r")
    shown = line.rstrip(b"\r").rsplit(b"\r", 1)[-1]
    return shown + (b"\r" if is_open else b"")
