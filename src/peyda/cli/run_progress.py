"""The progress bar of long runs. A module of its own, so that only a run on a terminal pays for rich."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar


class Countable(Protocol):
    """What a run says of itself; `total` is None while it is still being counted."""

    @property
    def done(self) -> int:
        """How many are done."""

    @property
    def total(self) -> int | None:
        """How many there are."""

    @property
    def eta_s(self) -> float | None:
        """Seconds to go, where that can be said."""


Progress = TypeVar("Progress", bound=Countable)


@contextlib.contextmanager
def progress_bar(counting: str, doing: str, speed: Callable[[Progress], str]) -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr for as long as the context lasts; call what it yields with each progress record.

    Args:
        counting: What is said until the total is known.
        doing: What is said from then on.
        speed: The text behind the count, such as "12/s, 3 skipped".
    """
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
        task = bar.add_task(counting, total=None, speed="", left="")

        def show(progress: Progress) -> None:
            if progress.total is None:
                bar.update(task, completed=progress.done)
                return
            left = "" if progress.eta_s is None else f"{duration(progress.eta_s)} to go"
            bar.update(
                task,
                description=doing,
                completed=progress.done,
                total=progress.total,
                speed=speed(progress),
                left=left,
            )

        yield show
