"""`peyda train clip` with a recipe that has a `[towers]` table: any image tower with any text tower."""

from __future__ import annotations

from pathlib import Path

import click

from peyda.cli.train_reports import missing, show_progress


def run_dual(
    recipe: Path, *, captions: Path | None, images: Path | None, data: Path | None, run: Path | None, out: Path | None
) -> None:
    """Read the recipe, train, export; `run` and `out` default to runs/NAME and RUN/model.

    Raises:
        ConfigError: The recipe is wrong, or what training needs is not installed.
        PeydaError: As `peyda.training.dual.run.train_dual`.
    """
    from peyda.training.dual import read_dual_recipe

    plan = read_dual_recipe(recipe)
    try:
        from peyda.training.dual.run import train_dual
    except ImportError as error:
        raise missing(error) from error
    run = run or Path("runs") / plan.name
    train_dual(
        plan,
        captions=captions,
        images=images,
        data=data,
        run=run,
        out=out or run / "model",
        report=click.echo,
        progress=show_progress,
    )
