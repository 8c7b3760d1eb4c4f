"""`peyda train`: train models by recipe. Needs the extra `train`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from peyda.cli.train_baseline import baseline
from peyda.cli.train_reports import missing, show_progress
from peyda.config import load_settings
from peyda.errors import ConfigError


@click.group()
def train() -> None:
    """Train a model from a recipe (needs what `make setup` installs)."""


def _training_options(default_run: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        path = click.Path(path_type=Path)
        for one in (
            click.option("--out", type=path, help="Model directory to write. [default: RUN/model]"),
            click.option("--run", type=path, help=f"Where the run keeps its state. [default: {default_run}]"),
            click.option("--data", type=path, help="Folder of the training data."),
            click.argument("recipe", type=path),
        ):
            command = one(command)
        return command

    return decorate


def _data_folder(data: Path | None) -> Path:
    folder = data or _settings_folder()
    if folder is None:
        raise ConfigError("no training data given", hint="--data DIR or PEYDA_DATA names its folder")
    return folder


def _settings_folder() -> Path | None:
    folder = load_settings().data
    return None if folder is None else Path(folder)


@train.command()
@_training_options("runs/NAME")
@click.option("--captions", type=click.Path(path_type=Path), help="Caption table, where the recipe has [towers].")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of its photographs.")
def clip(
    recipe: Path,
    data: Path | None,
    run: Path | None,
    out: Path | None,
    captions: Path | None,
    images: Path | None,
) -> None:
    """Train a dual encoder as RECIPE says, and export it as a model directory. Run it again to resume.

    A recipe with a [towers] table joins any image tower and any text tower, on your own captions and photographs
    (docs/training-any.md); one without makes the embedded model (docs/training.md).
    """
    from peyda.training.dual import is_dual_recipe

    if is_dual_recipe(recipe):
        from peyda.cli.train_dual import run_dual

        run_dual(recipe, captions=captions, images=images, data=data or _settings_folder(), run=run, out=out)
        return
    if captions or images:
        raise ConfigError(
            f"{recipe} trains the embedded model, from --data alone",
            hint="--captions and --images are for recipes with a [towers] table, such as recipes/original.toml",
        )
    from peyda.training.recipe import read_recipe

    folder = _data_folder(data)
    plan = read_recipe(recipe)
    try:
        from peyda.training.run import train_clip
    except ImportError as error:
        raise missing(error) from error
    run = run or Path("runs") / plan.name
    train_clip(plan, folder, run, out or run / "model", report=click.echo, progress=show_progress)


train.add_command(baseline)


@train.command()
@_training_options("runs/NAME-translator")
def translator(recipe: Path, data: Path | None, run: Path | None, out: Path | None) -> None:
    """Train an English to Persian caption translator as RECIPE says, and export it. Run it again to resume.

    It sees four fifths of the parallel text, by a hash of the image; the scorer sees the rest.
    """
    from peyda.training.recipe import read_recipe_as
    from peyda.training.text_recipe import TranslatorRecipe

    folder = _data_folder(data)
    plan = read_recipe_as(TranslatorRecipe, recipe)
    try:
        from peyda.training.translator import train_translator
    except ImportError as error:
        raise missing(error) from error
    run = run or Path("runs") / f"{plan.name}-translator"
    train_translator(plan, folder, run, out or run / "model", report=click.echo)


@train.command()
@_training_options("runs/NAME-scorer")
def scorer(recipe: Path, data: Path | None, run: Path | None, out: Path | None) -> None:
    """Train a bilingual scorer as RECIPE says, and export it. Run it again to resume.

    It sees one fifth of the parallel text, by a hash of the image, and no sentence that the translator sees.
    """
    from peyda.training.recipe import read_recipe_as
    from peyda.training.text_recipe import ScorerRecipe

    folder = _data_folder(data)
    plan = read_recipe_as(ScorerRecipe, recipe)
    try:
        from peyda.training.scorer import train_scorer
    except ImportError as error:
        raise missing(error) from error
    run = run or Path("runs") / f"{plan.name}-scorer"
    train_scorer(plan, folder, run, out or run / "model", report=click.echo)
