"""`peyda evaluate`: measure a model, or what it stands on. Each command is a module of its own (`evaluate_NAME`)."""

from __future__ import annotations

import click

from peyda.cli.evaluate_retrieval import retrieval
from peyda.cli.evaluate_robustness import robustness
from peyda.cli.evaluate_scorer import scorer
from peyda.cli.evaluate_search import search
from peyda.cli.evaluate_translation import translation
from peyda.cli.evaluate_zeroshot import zeroshot


@click.group()
def evaluate() -> None:
    """Measure a model: on captioned and labelled photographs, on mistyped queries, at a size."""


evaluate.add_command(retrieval)
evaluate.add_command(zeroshot)
evaluate.add_command(robustness)
evaluate.add_command(search)
evaluate.add_command(translation)
evaluate.add_command(scorer)
