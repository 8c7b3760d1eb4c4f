"""Every error of the tree has an exit status of its own, and reaches the person with its hint."""

from __future__ import annotations

import inspect
import io
import re

import pytest

from peyda import errors
from peyda.cli import exit_codes
from peyda.cli.main import run_reporting

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.PeydaError)]
LEAVES = [kind for kind in TREE if not set(TREE) & set(kind.__subclasses__())]


def make(kind: type[errors.PeydaError]) -> errors.PeydaError:
    if kind is errors.ImageRefused:
        return errors.ImageRefused("truncated", "the photograph ends early", hint="copy it again")
    return kind("something happened", hint="run this")


def run_failing(error: BaseException, *, is_debug: bool = False) -> tuple[int, str]:
    def fail() -> int:
        raise error

    stderr = io.StringIO()
    return run_reporting(fail, stderr, is_debug=is_debug), stderr.getvalue()


def test_the_tree_is_what_its_docstring_draws() -> None:
    drawn = set(
        re.findall(r"[A-Z][A-Za-z]+(?:Error|Refused|NotFound|Mismatch|TooNew|Corrupt|Busy)", errors.__doc__ or "")
    )
    assert drawn - {"ValueError", "TypeError"} == {kind.__name__ for kind in TREE}


def test_there_are_leaves_to_check() -> None:
    assert len(LEAVES) >= 12


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_leaf_has_its_own_status(kind: type[errors.PeydaError]) -> None:
    assert kind in exit_codes.STATUSES, f"add {kind.__name__} to peyda.cli.exit_codes.STATUSES"
    others = [status for other, status in exit_codes.STATUSES.items() if other is not kind]
    assert exit_codes.STATUSES[kind] not in others


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_message_hint_and_status_reach_the_person(kind: type[errors.PeydaError]) -> None:
    error = make(kind)
    status, printed = run_failing(error)
    assert status == exit_codes.STATUSES[kind]
    assert error.message in printed
    assert error.hint in printed
    assert "Traceback" not in printed


def test_a_status_means_one_thing() -> None:
    fixed = {exit_codes.OK, exit_codes.USAGE, exit_codes.BUG, exit_codes.INTERRUPTED, exit_codes.BROKEN_PIPE}
    assert not fixed & set(exit_codes.STATUSES.values())
    assert all(0 < status < 126 for status in exit_codes.STATUSES.values()), "126 and up belong to the shell"


def test_statuses_are_documented() -> None:
    documented = {
        int(number)
        for row in re.findall(r"^\| ([\d, ]+) \|", exit_codes.__doc__ or "", re.MULTILINE)
        for number in row.split(",")
    }
    statuses = set(exit_codes.STATUSES.values())
    statuses |= {exit_codes.OK, exit_codes.USAGE, exit_codes.BUG, exit_codes.INTERRUPTED, exit_codes.BROKEN_PIPE}
    assert documented == statuses


def test_a_subclass_of_a_leaf_falls_back_to_it() -> None:
    class Narrower(errors.GalleryBusy):
        """An error that a later version may add."""

    assert exit_codes.status_of(Narrower("x")) == exit_codes.STATUSES[errors.GalleryBusy]


def test_hostile_text_in_a_message_cannot_drive_the_terminal() -> None:
    _, printed = run_failing(errors.DataError("no \x1b[2J\nfile caf\udce9", hint="look at\r\x07"))
    assert not set(printed) & {"\x1b", "\r", "\x07"}
    assert len(printed.splitlines()) == 2
    printed.encode()  # no lone surrogates


def test_a_full_disk_is_a_storage_error_whoever_met_it() -> None:
    status, printed = run_failing(OSError(28, "No space left on device", "/photos/x"))
    assert status == exit_codes.STATUSES[errors.StorageError]
    assert "/photos/x" in printed
    assert "Free some space" in printed


def test_a_bug_says_how_to_report_it_and_debug_shows_where() -> None:
    status, printed = run_failing(ZeroDivisionError("division by zero"))
    assert status == exit_codes.BUG
    assert "--debug" in printed
    assert "Traceback" not in printed
    status, printed = run_failing(ZeroDivisionError("division by zero"), is_debug=True)
    assert status == exit_codes.BUG
    assert "Traceback" in printed
    assert "run_failing" in printed or "fail" in printed


def test_interrupt_is_130() -> None:
    assert run_failing(KeyboardInterrupt())[0] == 130


def test_a_closed_pipe_is_not_reported_to_a_pipe() -> None:
    with pytest.raises(BrokenPipeError):
        run_failing(BrokenPipeError())
