"""`peyda models pull` and `peyda models remove`: models of others, brought here when a person asks, and taken away."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from peyda.cli.options import json_option
from peyda.cli.terminal import escaped, is_terminal, isolated, write_line
from peyda.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from peyda.encoders import ModelInfo
    from peyda.encoders.hub.install import PullProgress
    from peyda.encoders.hub.pull import PullRequest
    from peyda.encoders.hub.source import Source


@click.command()
@click.argument("what", metavar="NAME|OWNER/NAME|DIR|ARCHIVE")
@click.option("--name", metavar="NAME", default=None, help="What to call it here.  [default: its own name]")
@click.option("--revision", metavar="REV", default=None, help="Branch, tag or commit on the hub.  [default: newest]")
@click.option("--yes", is_flag=True, help="Agree to a licence that forbids commercial use, without being asked.")
@click.option("--force", is_flag=True, help="Replace a model of that name; files that are whole are not fetched again.")
@click.option("--check", is_flag=True, help="Fetch nothing: compare an installed model with its checksums.")
@json_option
def pull(what: str, name: str | None, revision: str | None, yes: bool, force: bool, check: bool, as_json: bool) -> None:
    """Bring a model here: a name of `peyda models list`, any model of a hub in the same layout, a folder or an archive.

    \b
      peyda models pull xlmr-base-vit-b32
      peyda models pull ./model.tar.gz --name mine

    The hub is huggingface.co, or a mirror named by the variable HF_ENDPOINT; a token in HF_TOKEN is said to it alone.
    The same command goes on where it was stopped. Only this command fetches models, and only when you call it.
    """
    from peyda.encoders.hub.pull import is_same, parse_request
    from peyda.encoders.registry import user_models_dir

    if check:
        _check(name or _name_of(what), as_json=as_json)
        return
    request = parse_request(what, name=name, revision=revision)
    directory = user_models_dir()
    if not force and is_same(request, directory / request.name):
        write_line(sys.stderr, f"{escaped(request.name)} is here already; --check compares it with its checksums.")
        return
    try:
        info = _pull(request, directory, yes=yes, force=force)
    except KeyboardInterrupt:
        write_line(sys.stderr, "Stopped. What has come is kept; the same command goes on from there.")
        raise
    if as_json:
        write_line(sys.stdout, json.dumps(info.to_dict() | {"is_installed": True}))
        return
    shown = escaped(info.name)
    write_line(
        sys.stdout, f"{shown} is here: {info.size_bytes / 1e6:,.0f} MB in {isolated(str(info.path), sys.stdout)}"
    )
    write_line(sys.stdout, f"Use it:  peyda index ~/Pictures --gallery DIR --model {shown}")


def _pull(request: PullRequest, directory: Path, *, yes: bool, force: bool) -> ModelInfo:
    from peyda.encoders.hub.install import install
    from peyda.encoders.hub.installed import check_name
    from peyda.encoders.hub.pull import licence_of, open_source

    check_name(request.name)
    if (directory / request.name).exists() and not force:
        raise ModelError(
            f"there is another model {request.name} already",
            hint="--force replaces it, --name OTHER puts the new one beside it",
        )
    source = open_source(request)
    licence = licence_of(request, source)
    _announce(request, source, licence)
    _ask_consent(request.name, licence, yes=yes)
    with _bar() as show:
        return install(
            source,
            request.name,
            directory,
            licence=licence,
            description=request.recommended.description if request.recommended else "",
            force=force,
            progress=show,
        )


def _announce(request: PullRequest, source: Source, licence: str) -> None:
    total = sum(file.size_bytes for file in source.files)
    write_line(
        sys.stderr,
        f"{escaped(request.name)}: {len(source.files)} files, {total / 1e6:,.1f} MB, from {escaped(source.label)}",
    )
    if revision := source.record.get("revision"):
        write_line(sys.stderr, f"  revision: {escaped(revision)}")
    write_line(
        sys.stderr, f"  licence:  {escaped(licence) or 'not stated: ask its authors before you pass on what it makes'}"
    )


def _ask_consent(name: str, licence: str, *, yes: bool) -> None:
    """Stop where a licence forbids commercial use and nobody agreed to it."""
    from peyda.encoders.hub.licences import is_non_commercial

    if yes or not is_non_commercial(licence):
        return
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise ConfigError(
            f"the licence of {name}, {licence}, forbids commercial use, and nobody is here to agree to it",
            hint="if your use is not commercial, add --yes; models without that limit: peyda models list",
        )
    click.confirm("  This licence forbids commercial use. Go on?", abort=True, err=True)


def _name_of(what: str) -> str:
    """What a model that was pulled as `what` is called here; a folder stays one."""
    from peyda.encoders.hub.recommended import find_recommended

    if entry := find_recommended(what):
        return entry.name
    return what if Path(what).exists() or what.startswith((".", "/", "~")) else what.rpartition("/")[2]


def _check(name: str, *, as_json: bool) -> None:
    from peyda.encoders import model_info
    from peyda.encoders.hub.installed import damaged_files

    info = model_info(name)
    damaged = damaged_files(info.path)
    if as_json:
        write_line(sys.stdout, json.dumps({"name": info.name, "path": str(info.path), "damaged": damaged}))
    if damaged:
        raise ModelError(
            f"{info.name} is damaged: {', '.join(damaged)}",
            hint="peyda models pull … --force fetches what is not whole again",
        )
    if not as_json:
        write_line(sys.stdout, f"{escaped(info.name)} is whole: every file has its recorded checksum.")


@click.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(name: str, yes: bool) -> None:
    """Delete a model that was pulled or exported, and what an unfinished pull of it left.

    Galleries that were made with it can no longer be searched by words until it is pulled again, or they are upgraded.
    """
    from peyda.encoders.hub.installed import remove_model
    from peyda.encoders.registry import user_models_dir

    if not yes and is_terminal(sys.stdin) and is_terminal(sys.stderr):
        click.confirm(f"Delete the model {escaped(name)}?", abort=True, err=True)
    gone = remove_model(name, user_models_dir())
    write_line(sys.stdout, f"{escaped(name)} is deleted: {isolated(str(gone), sys.stdout)}")


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[PullProgress], None]]:
    """A bar of bytes on a terminal, nothing elsewhere."""
    if not is_terminal(sys.stderr):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("Pulling", total=None)

        def show(progress: PullProgress) -> None:
            files = f"Pulling, {progress.done_files} of {progress.total_files} files"
            bar.update(task, description=files, completed=progress.done_bytes, total=progress.total_bytes)

        yield show
