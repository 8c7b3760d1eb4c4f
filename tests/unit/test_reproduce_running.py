"""Running a stage's command: what is shown, what the log keeps, and that no child outlives its runner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from peyda.reproduce.running import Interrupts, _Log, run_logged


def logged(*pieces: bytes) -> bytes:
    kept: list[bytes] = []
    log = _Log(kept.append)
    for piece in pieces:
        log.write(piece)
    log.end()
    return b"".join(kept)


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        ([b"one\ntw", b"o\n"], b"one\ntwo\n"),
        ([b"\r1 of 3", b"\r2 of 3", b"\r3 of 3\n", b"done\n"], b"3 of 3\ndone\n"),
        ([b"1 of 3\r", b"2 of 3\r", b"3 of 3\r\n"], b"3 of 3\n"),
        ([b"no end"], b"no end\n"),
        ([], b""),
    ],
)
def test_a_progress_leaves_one_line_in_the_log(pieces: list[bytes], kept: bytes) -> None:
    assert logged(*pieces) == kept


@pytest.mark.parametrize("is_watched", [False, True])
def test_what_a_command_says_is_shown_and_logged(tmp_path: Path, is_watched: bool) -> None:
    shown: list[bytes] = []
    log = tmp_path / "logs" / "one.log"
    status = run_logged(["--version"], str(log), show=shown.append, is_watched=is_watched, interrupts=Interrupts())
    assert status == 0
    assert b"".join(shown).startswith(b"peyda ")
    assert log.read_bytes() == b"".join(shown)
    status = run_logged(["no-such"], str(log), show=shown.append, is_watched=is_watched, interrupts=Interrupts())
    assert status == 2
    assert b"No such command" in log.read_bytes(), "the log goes on"


def test_a_child_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """The runner is killed; the child and a grandchild that it started are gone."""
    code = """
import os, subprocess, sys, time
lifeline, held = os.pipe()
child = subprocess.Popen(
    [sys.executable, "-m", "peyda.reproduce.attached", str(lifeline)], pass_fds=(lifeline,), start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""
    runner = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(_stubbed(tmp_path))},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert runner.stdout is not None
        child = int(runner.stdout.readline())
        group = _wait_for_group(child, 2)
    finally:
        runner.send_signal(signal.SIGKILL)
        runner.communicate()
    end = time.monotonic() + 30
    while any(_is_running(one) for one in group):
        assert time.monotonic() < end, "they live on"
        time.sleep(0.05)


def _stubbed(tmp_path: Path) -> Path:
    """A package of our name whose command starts a process that sleeps, and sleeps too."""
    package = tmp_path / "site" / "peyda"
    (package / "reproduce").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "reproduce" / "__init__.py").write_text("")
    own = Path(__file__).parents[2] / "src" / "peyda" / "reproduce" / "attached.py"
    (package / "reproduce" / "attached.py").write_bytes(own.read_bytes())
    (package / "__main__.py").write_text(
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "time.sleep(600)\n"
    )
    return tmp_path / "site"


def _wait_for_group(leader: int, size: int) -> list[int]:
    end = time.monotonic() + 30
    while True:
        group = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _group_of(pid) == leader]
        if len(group) >= size:
            return group
        assert time.monotonic() < end, "it never started"
        time.sleep(0.05)


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"  # dead, and nobody has asked how yet
