"""The progress bar of `peyda translate`. A module of its own, so that only a run on a terminal pays for rich."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from peyda.translate import Progress


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr for as long as the context lasts; call what it yields with each `Progress`."""
    from peyda.cli.index import duration

    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("Looking through the table", total=None, speed="", left="")

        def show(progress: Progress) -> None:
            if progress.total is None:
                bar.update(task, completed=progress.done)
                return
            left = "" if progress.eta_s is None else f"{duration(progress.eta_s)} to go"
            failed = f", {progress.failed:,} failed" if progress.failed else ""
            bar.update(
                task,
                description="Translating",
                completed=progress.done,
                total=progress.total,
                speed=f"{progress.rate:,.1f}/s{failed}",
                left=left,
            )

        yield show
