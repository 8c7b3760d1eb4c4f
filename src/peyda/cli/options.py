"""Options that several verbs share, so that they read, look and behave the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def gallery_option(command: _Command) -> _Command:
    """`--gallery DIR`; the parameter `gallery` is None when it is not given (`load_settings` knows the default)."""
    return click.option(
        "--gallery",
        metavar="DIR",
        type=click.Path(file_okay=False),
        default=None,
        help="Gallery to use; otherwise the setting `gallery`, otherwise one in your data directory.",
    )(command)


def model_option(command: _Command) -> _Command:
    """`--model NAME|DIR`; the parameter `model` is None when it is not given."""
    return click.option(
        "--model",
        metavar="NAME|DIR",
        default=None,
        help="Model to use: a name of `peyda models list`, or a model directory.",
    )(command)


def json_option(command: _Command) -> _Command:
    """`--json`; the parameter is `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead of text for people.")(
        command
    )


def host_option(command: _Command) -> _Command:
    """`--host ADDRESS`; None when it is not given."""
    return click.option(
        "--host", metavar="ADDRESS", default=None, help="Address to listen on.  [default: 127.0.0.1, this machine only]"
    )(command)


def port_option(command: _Command) -> _Command:
    """`--port N`; None when it is not given."""
    return click.option(
        "--port",
        metavar="N",
        type=click.IntRange(0, 65_535),
        default=None,
        help="Port to listen on; 0 takes any free one.  [default: 8000]",
    )(command)
