"""The `peyda` command as a process: verbs load lazily, streams never break, statuses are what scripts read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from peyda import __version__
from peyda.cli.main import VERBS, main, root

HEAVY = {"onnxruntime", "torch", "numpy", "fastapi", "uvicorn", "PIL", "tokenizers", "qdrant_edge", "rich"}


def run(arguments: Sequence[str], **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "peyda", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PEYDA_CONFIG": ""} | environ,
        check=False,
    )


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_help_lists_every_verb_and_loads_none() -> None:
    done = run(["--help"])
    assert done.returncode == 0
    for verb in VERBS:
        assert f"\n  {verb} " in done.stdout
    assert "پیدا" in done.stdout
    loaded = modules_after("from peyda.cli.main import main; main(['--help'])")
    assert not loaded & HEAVY


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_help_needs_no_heavy_library(verb: str) -> None:
    loaded = modules_after(f"from peyda.cli.main import main; assert main(['{verb}', '--help']) == 0")
    assert not loaded & (HEAVY - {"rich", "numpy"})


def test_every_verb_is_a_command_of_its_own_name() -> None:
    import click

    for verb in VERBS:
        command = root.get_command(click.Context(root), verb)
        assert command is not None
        assert command.name == verb
        assert command.help, f"{verb} has no help"


def test_version() -> None:
    done = run(["--version"])
    assert (done.returncode, done.stdout) == (0, f"peyda {__version__}\n")


def test_no_verb_shows_the_help() -> None:
    done = run([])
    assert done.returncode == 2
    assert "search" in done.stderr


@pytest.mark.parametrize(("verb", "guess"), [("serch", "'search'"), ("idnex", "'index'"), ("xyzzy", "doctor")])
def test_a_mistyped_verb_gets_a_guess(verb: str, guess: str) -> None:
    done = run([verb])
    assert done.returncode == 2
    assert guess in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_flag_is_a_usage_error() -> None:
    done = run(["doctor", "--no-such-flag"])
    assert done.returncode == 2
    assert "--no-such-flag" in done.stderr


def test_errors_go_to_stderr_with_what_to_do() -> None:
    done = run(["models", "show", "no-such-model"])
    assert done.returncode == 7
    assert done.stdout == ""
    assert "no-such-model" in done.stderr
    assert "what to do:" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_where_an_error_came_from() -> None:
    done = run(["--debug", "models", "show", "no-such-model"])
    assert done.returncode == 7
    assert "Traceback" in done.stderr


def test_a_wrong_setting_has_a_status_of_its_own() -> None:
    done = run(["doctor"], PEYDA_PORT="http")
    assert done.returncode == 3
    assert "PEYDA_PORT" in done.stderr


def test_arguments_that_are_not_utf8_do_not_break_the_message() -> None:
    done = run(["models", "show", os.fsdecode(b"caf\xe9")])
    assert done.returncode == 7
    assert "caf" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_persian_output_never_breaks_whatever_the_locale(encoding: str) -> None:
    done = run(["--help"], PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


PRINT_WITHOUT_END = """
import sys
from peyda.cli import main as module
module._run = lambda arguments: [print("x" * 100) for _ in range(100_000)] and 0
sys.exit(module.main([]))
"""


def test_a_closed_pipe_is_quiet() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PRINT_WITHOUT_END], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_main_returns_a_status_and_leaves_exiting_to_its_caller(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert main(["serch"]) == 2
    assert __version__ in capsys.readouterr().out
