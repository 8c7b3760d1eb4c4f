"""`peyda train baseline`: the correlational autoencoder that dual encoders are compared with."""

from __future__ import annotations

from pathlib import Path

import click

from peyda.cli.train_reports import missing, show_progress
from peyda.config import load_settings

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("recipe", type=_PATH)
@click.option("--captions", type=_PATH, help="Caption table, with the columns caption_fa and split.")
@click.option("--images", type=_PATH, help="Folder of its photographs.")
@click.option("--data", type=_PATH, help="Folder of the project's training data, where no table is given.")
@click.option("--run", type=_PATH, help="Where the run keeps its state. [default: runs/NAME]")
@click.option("--out", type=_PATH, help="Model directory to write. [default: RUN/model]")
def baseline(
    recipe: Path,
    captions: Path | None,
    images: Path | None,
    data: Path | None,
    run: Path | None,
    out: Path | None,
) -> None:
    """Train the CorrNet baseline as RECIPE says, and export it. Run it again to resume.

    Image features of any frozen image encoder, word2vec of the training captions, one code for both.
    """
    folder = data or load_settings().data
    try:
        from peyda.training.baseline.recipe import read_baseline_recipe
        from peyda.training.baseline.run import train_baseline
    except ImportError as error:
        raise missing(error) from error
    plan = read_baseline_recipe(recipe)
    run = run or Path("runs") / plan.name

    train_baseline(
        plan,
        Path(folder) if folder else None,
        run,
        out or run / "model",
        report=click.echo,
        progress=show_progress,
        captions=captions,
        images=images,
    )
