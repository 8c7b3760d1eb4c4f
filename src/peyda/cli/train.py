"""`peyda train`: train models by recipe. Needs the extra `train`."""

from __future__ import annotations

from pathlib import Path

import click

from peyda.config import load_settings
from peyda.errors import ConfigError


@click.group()
def train() -> None:
    """Train a model from a recipe (needs what `make setup` installs)."""


@train.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the training data.")
@click.option("--run", type=click.Path(path_type=Path), help="Where the run keeps its state. [default: runs/NAME]")
@click.option("--out", type=click.Path(path_type=Path), help="Model directory to write. [default: RUN/model]")
def clip(recipe: Path, data: Path | None, run: Path | None, out: Path | None) -> None:
    """Train a dual encoder as RECIPE says, and export it as a model directory. Run it again to resume."""
    from peyda.training.recipe import read_recipe

    folder = data or load_settings().data
    if folder is None:
        raise ConfigError("no training data given", hint="--data DIR or PEYDA_DATA names its folder")
    plan = read_recipe(recipe)
    try:
        from peyda.training.run import train_clip
    except ImportError as error:
        raise ConfigError(f"training needs {error.name}", hint="make setup installs what training needs") from error
    run = run or Path("runs") / plan.name

    def progress(what: str, done: int, total: int) -> None:
        click.echo(f"\r{what}: {done} of {total}", err=True, nl=done == total)

    train_clip(plan, Path(folder), run, out or run / "model", report=click.echo, progress=progress)
