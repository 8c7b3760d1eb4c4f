"""The `peyda` command itself: finds the verb, runs it, and turns errors into a message, a hint and an exit status.

Owns the list of verbs and what happens when one fails. A verb's module is imported only when that verb is called, so
that `peyda search` pays for nothing else; the one-line summaries are therefore kept here.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn, TextIO

import click

from peyda._version import __version__
from peyda.cli import exit_codes
from peyda.cli.terminal import escaped, write_line
from peyda.errors import PeydaError, StorageError

VERBS: Mapping[str, str] = MappingProxyType(
    {
        "index": "Put folders of photographs into the gallery, or bring it up to date.",
        "search": "Find photographs by describing them in Persian.",
        "serve": "Serve the web page and the HTTP interface on this machine.",
        "gallery": "Look into the gallery, or change its model: stats, verify, skipped, upgrade.",
        "models": "Models: list, show, pull, remove, export.",
        "doctor": "Say what works on this machine, and what to do about the rest.",
        "demo": "Try everything out on sample photographs.",
        "captions": "Caption tables: convert, show, fetch their photographs, crawl.",
        "translate": "Give the captions of a table Persian translations.",
        "evaluate": "Measure: retrieval, zeroshot, robustness, search, translation, scorer.",
        "score": "Score translated captions, each score in a column of its own.",
        "filter": "Keep or reject captions, each with its reason.",
        "report": "See scores, reasons and samples of a caption table, on a page.",
        "train": "Train a model: train clip, baseline, translator, scorer.",
        "reproduce": "Go a whole walk, from captions to curves: reproduce mini, original.",
    }
)
"""Verb → its line in `peyda --help`. Verb `x` is the attribute `x` of the module `peyda.cli.x`."""


class LazyVerbs(click.Group):
    """A group whose commands are modules of `peyda.cli`, imported when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order in which a newcomer needs them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's module; None when there is no such verb."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(f"peyda.cli.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, with a guess when the verb is mistyped."""
        if args[0] not in VERBS and not args[0].startswith("-"):
            _no_such_verb(ctx, args[0])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; keeps click from turning a closed pipe into its own exit status."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ReaderGone from error


class _ReaderGone(Exception):
    """Whoever read our output stopped reading (`peyda search … | head`)."""


def _no_such_verb(ctx: click.Context, verb: str) -> NoReturn:
    import difflib

    close = difflib.get_close_matches(verb, VERBS, n=1)
    guess = f" Did you mean '{close[0]}'?" if close else f" Known ones: {', '.join(VERBS)}."
    raise click.UsageError(f"No such command {verb!r}.{guess}", ctx)


@click.group(cls=LazyVerbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="peyda", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show where in the code an error came from.")
def root(debug: bool) -> None:
    """Peyda (پیدا): find photographs by describing them in Persian, on this machine, without a network.

    \b
    Begin with:
      peyda index ~/Pictures
      peyda search "سگ در برف"
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status (see `peyda.cli.exit_codes`).

    Args:
        argv: Arguments after the command's name; those of this process when None.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    _make_streams_total()
    try:
        status = run_reporting(lambda: _run(arguments), sys.stderr, is_debug=_is_debug(arguments))
        sys.stdout.flush()
        sys.stderr.flush()
    except (_ReaderGone, BrokenPipeError):
        _point_at_nothing(sys.stdout)
        _point_at_nothing(sys.stderr)
        return exit_codes.BROKEN_PIPE
    return status


def _run(arguments: list[str]) -> int:
    outcome = root.main(args=arguments, prog_name="peyda", standalone_mode=False)
    return outcome if isinstance(outcome, int) else exit_codes.OK


def run_reporting(run: Callable[[], int], stderr: TextIO, *, is_debug: bool) -> int:
    """Run `run`; when it fails, write why and what to do to `stderr`, and return the exit status for it.

    Args:
        run: Returns an exit status.
        stderr: Where messages go.
        is_debug: Write a traceback too.

    Raises:
        BrokenPipeError: The reader of the messages went away.
    """
    try:
        return run()
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        write_line(stderr, "peyda: interrupted")
        return exit_codes.INTERRUPTED
    except click.ClickException as error:
        error.show(file=stderr)
        return error.exit_code
    except PeydaError as error:
        return _report(error, stderr, is_debug=is_debug)
    except (_ReaderGone, BrokenPipeError):
        raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EROFS, errno.EDQUOT}:
            return _report(_storage_error(error), stderr, is_debug=is_debug)
        return _report_bug(error, stderr, is_debug=is_debug)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a person gets a sentence, not a traceback
        return _report_bug(error, stderr, is_debug=is_debug)


def _report(error: PeydaError, stderr: TextIO, *, is_debug: bool) -> int:
    if is_debug:
        _write_traceback(error, stderr)
    write_line(stderr, f"peyda: {escaped(error.message)}")
    if error.hint:
        write_line(stderr, f"  what to do: {escaped(error.hint)}")
    return exit_codes.status_of(error)


def _report_bug(error: BaseException, stderr: TextIO, *, is_debug: bool) -> int:
    if is_debug:
        _write_traceback(error, stderr)
    write_line(stderr, f"peyda: this should not happen: {type(error).__name__}: {escaped(str(error))}")
    if not is_debug:
        write_line(stderr, "  what to do: run the same command as `peyda --debug …` and report what it says.")
    return exit_codes.BUG


def _storage_error(error: OSError) -> StorageError:
    where = f": {os.fsdecode(error.filename)}" if error.filename else ""
    storage = StorageError(
        f"the disk cannot be written ({error.strerror}){where}",
        hint="Free some space or make it writable, then run the same command again: it goes on where it stopped.",
    )
    storage.__cause__ = error
    return storage


def _write_traceback(error: BaseException, stderr: TextIO) -> None:
    import traceback

    for line in "".join(traceback.format_exception(error)).rstrip().splitlines():
        write_line(stderr, line)


def _is_debug(arguments: Sequence[str]) -> bool:
    """`--debug` before the verb; read by hand because errors in parsing need it too."""
    for argument in arguments:
        if not argument.startswith("-"):
            return False
        if argument == "--debug":
            return True
    return False


def _make_streams_total() -> None:
    """Let every text be printed, whatever the locale: what cannot be encoded appears as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # absent when a test or a host program swapped the stream
            stream.reconfigure(errors="backslashreplace")


def _point_at_nothing(stream: TextIO) -> None:
    """Keep the interpreter from failing once more when it flushes at exit."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # swapped or closed: nothing to flush
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
