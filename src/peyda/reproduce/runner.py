"""Goes through the stages of a plan: what is done is left alone, the rest runs, in order, until one fails."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peyda.errors import ConfigError, DataError, PeydaError, StorageError
from peyda.reproduce.ledger import BEGUN, DONE, FAILED, LEFT_OUT, Ledger, Standing
from peyda.reproduce.planning import Plan, PlannedStage, check_sources
from peyda.reproduce.running import Interrupts, run_logged

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK = ".lock"
LOGS = "logs"
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Choice:
    """Which stages to run: `from_stage` and all after it, again; or `only` one, again; or all that are not done."""

    from_stage: str = ""
    only: str = ""


def standings(plan: Plan, choice: Choice | None = None) -> list[tuple[PlannedStage, Standing]]:
    """Every stage and where it stands; with a choice, those that it has done again are to do.

    Raises:
        ConfigError: The directory holds another walk, or there is no such stage.
        DataError: Its ledger cannot be read.
    """
    ledger = Ledger(plan)
    again = _again(plan, choice or Choice())
    found: list[tuple[PlannedStage, Standing]] = []
    for stage in plan.stages:
        standing = ledger.standing(stage)
        if stage.name in again and standing.word == DONE:
            standing = Standing(BEGUN, "to be done again")
        maker = next((one.name for one, other in found if not other.is_done and _feeds(one, stage)), "")
        if maker and standing.word == DONE:
            standing = Standing(BEGUN, f"after {maker}")
        found.append((stage, standing))
    return found


def run_walk(
    plan: Plan,
    choice: Choice,
    *,
    say: Callable[[str], None],
    show: Callable[[bytes], None],
    is_watched: bool,
) -> None:
    """Run the stages that are not done.

    Args:
        plan: The walk.
        choice: Which stages.
        say: Called with a line about what happens.
        show: Called with what a stage's command says.
        is_watched: Whether that goes to a terminal.

    Raises:
        PeydaError: A stage failed.
        KeyboardInterrupt: Somebody stopped it; the same call goes on from there.
        ConfigError: The directory holds another walk, or there is no such stage.
        DataError: Something that the walk reads is not there, or another run is under way.
        StorageError: The directory cannot be written.
    """
    again = _again(plan, choice)
    check_sources(plan)
    with _alone(plan.out):
        ledger = Ledger(plan)
        ledger.forget(again)
        interrupts = Interrupts()
        with interrupts.watching():
            for number, stage in enumerate(plan.stages, start=1):
                if choice.only and stage.name != choice.only:
                    continue
                say(f"[{number}/{len(plan.stages)}] {stage.name}: {stage.stage.about}")
                standing = ledger.standing(stage)
                if standing.is_done:
                    say(f"  {standing.why}" if standing.word == LEFT_OUT else "  done before")
                    continue
                _run_stage(plan, stage, ledger, standing, interrupts, say, show, is_watched)


def command_line(arguments: Sequence[str]) -> str:
    """A command as one types it."""
    return "peyda " + shlex.join(arguments)


def log_of(plan: Plan, stage: PlannedStage) -> str:
    """The log of a stage."""
    number = plan.walk.stage_names().index(stage.name) + 1
    return os.path.join(plan.out, LOGS, f"{number:02}-{stage.name}.log")


def _again(plan: Plan, choice: Choice) -> tuple[str, ...]:
    names = plan.walk.stage_names()
    for name in (choice.from_stage, choice.only):
        if name and name not in names:
            raise ConfigError(f"the walk {plan.walk.name} has no stage {name}", hint=f"its stages: {', '.join(names)}")
    if choice.only:
        (stage,) = (one for one in plan.stages if one.name == choice.only)
        if stage.left_out:
            raise ConfigError(f"the stage {stage.name} takes no part: {stage.left_out}")
        return (choice.only,)
    return names[names.index(choice.from_stage) :] if choice.from_stage else ()


def _feeds(maker: PlannedStage, stage: PlannedStage) -> bool:
    return any(one == out or one.startswith(out + os.sep) for one in stage.inputs for out in maker.outputs)


def _run_stage(
    plan: Plan,
    stage: PlannedStage,
    ledger: Ledger,
    standing: Standing,
    interrupts: Interrupts,
    say: Callable[[str], None],
    show: Callable[[bytes], None],
    is_watched: bool,
) -> None:
    _check_made(plan, stage)
    log = log_of(plan, stage)
    if standing.why:
        say(f"  {standing.why}")
    say(f"  $ {command_line(stage.arguments)}")
    if not ledger.begin(stage):
        _clear(stage)
    _make_parents(stage)
    _head_log(log, stage)
    began = time.monotonic()
    status = run_logged(stage.arguments, log, show=show, is_watched=is_watched, interrupts=interrupts)
    seconds = time.monotonic() - began
    missing = [path for path in stage.outputs if not os.path.exists(path)]
    if status == 0 and not missing:
        ledger.end(stage, state=DONE, seconds=seconds)
        say(f"  done in {duration(seconds)}")
    if interrupts.count or status in {_INTERRUPTED, -2}:
        raise KeyboardInterrupt
    if status or missing:
        ledger.end(stage, state=FAILED, seconds=seconds)
        how = f"ended with exit status {status}" if status > 0 else f"was killed by signal {-status}"
        raise PeydaError(
            f"the stage {stage.name} {how if status else 'wrote no ' + missing[0]}",
            hint=f"its log is {log}; put that right, and run the same command again: it goes on with this stage",
        )


def _check_made(plan: Plan, stage: PlannedStage) -> None:
    """Whether what earlier stages should have written is there (with `only`, they may never have run)."""
    for path in stage.inputs:
        maker = next((one for one in plan.taking_part() if path in one.outputs), None)
        if maker is not None and not os.path.exists(path):
            raise DataError(
                f"the stage {stage.name} reads {path}, which is not there yet",
                hint=f"run the stage {maker.name} first, or all: without --only",
            )


def _clear(stage: PlannedStage) -> None:
    """What a stage kept of other work must not be taken for the beginning of this one."""
    for path in stage.scratch:
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageError(f"cannot remove {path}: {error.strerror or error}") from error


def _make_parents(stage: PlannedStage) -> None:
    for path in (*stage.outputs, *stage.scratch):
        try:
            os.makedirs(os.path.dirname(path) or os.curdir, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make the directory of {path}: {error.strerror or error}") from error


def _head_log(log: str, stage: PlannedStage) -> None:
    try:
        os.makedirs(os.path.dirname(log), exist_ok=True)
        with open(log, "a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} $ {command_line(stage.arguments)}\n")
    except OSError as error:
        raise StorageError(f"cannot write {log}: {error.strerror or error}") from error


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(7.31), duration(75), duration(7320)
    ('7.3 s', '1 min 15 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min {int(seconds % 60)} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def _alone(out: str) -> Iterator[None]:
    """Make the directory, and keep other runs out of it; the lock goes with the process, even a killed one."""
    from filelock import FileLock, Timeout

    try:
        os.makedirs(out, exist_ok=True)
        lock = FileLock(os.path.join(out, LOCK))
        lock.acquire(timeout=0)
    except Timeout:
        raise DataError(f"another run works in {out}", hint="wait for it, or give --out another directory") from None
    except OSError as error:
        raise StorageError(
            f"cannot write to {out}: {error.strerror or error}", hint="give --out a directory that can be written"
        ) from error
    try:
        yield
    finally:
        lock.release()
