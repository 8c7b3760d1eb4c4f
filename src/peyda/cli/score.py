"""`peyda score`: how good is each translated caption, as columns of the table."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from peyda.cli.options import json_option
from peyda.cli.row_progress import aligned, end_progress, remark_skipped, row_progress
from peyda.cli.terminal import escaped, write_line

if TYPE_CHECKING:
    from peyda.quality import ImageTextScorer, Scorer, ScoreSummary


@click.command()
@click.argument("source", metavar="IN")
@click.option("--out", metavar="TABLE", required=True, help="Where the table with scores goes; may be IN itself.")
@click.option(
    "--scorer",
    "scorers",
    metavar="NAME",
    multiple=True,
    help="Sentence encoder; may be repeated: mini (embedded), labse, distiluse, a directory, or any model of"
    " sentence-transformers.  [default: mini]",
)
@click.option("--signals-only", is_flag=True, help="No sentence encoder: the cheap signals alone.")
@click.option("--no-signals", is_flag=True, help="Leave the cheap signals out.")
@click.option("--images", metavar="DIR", help="Photographs of the table: scores each caption against its own, too.")
@click.option(
    "--image-model",
    metavar="NAME|DIR",
    help="Model for --images: a name of `peyda models list`, or a directory.  [default: the setting model]",
)
@click.option("--format", "table_format", metavar="NAME", help="Format of IN, where its ending does not say.")
@json_option
def score(
    source: str,
    out: str,
    scorers: tuple[str, ...],
    signals_only: bool,
    no_signals: bool,
    images: str | None,
    image_model: str | None,
    table_format: str | None,
    as_json: bool,
) -> None:
    """Score every caption of a table against its English source, each score in a column of its own.

    Adds score_NAME for each sentence encoder (cosine similarity), score_image_NAME with --images, and the cheap
    signals, from 0 (bad) to 1: score_length, score_script, score_latin, score_repetition, score_numbers, score_copy.
    No row is left out; one that cannot be scored has an empty score. Ctrl-C keeps what is scored: the same command
    goes on from there.
    """
    from peyda.captions import check_writable
    from peyda.quality import score_captions

    if signals_only and (scorers or no_signals):
        raise click.UsageError("--signals-only goes with neither --scorer nor --no-signals")
    if image_model and not images:
        raise click.UsageError("--image-model needs --images")
    check_writable(out)
    image_scorer = _image_scorer(source, table_format, images, image_model) if images else None
    chosen: list[Scorer] = [] if signals_only else _similarity_scorers(scorers or ("mini",))
    show = row_progress()
    summary = score_captions(
        source,
        out,
        [*chosen, *([image_scorer] if image_scorer else [])],
        with_signals=not no_signals,
        format=table_format,
        progress=None if show is None else lambda rows: show("scored", rows),
    )
    end_progress()
    _print(summary, as_json=as_json)
    _remark(source, out, summary, image_scorer)


def _similarity_scorers(names: tuple[str, ...]) -> list[Scorer]:
    from peyda.encoders.sentence import load_sentence_encoder
    from peyda.quality import SimilarityScorer

    found = [SimilarityScorer(load_sentence_encoder(name)) for name in dict.fromkeys(names)]
    columns = [one.column for one in found]
    for column in columns:
        if columns.count(column) > 1:
            raise click.UsageError(f"two of the scorers would fill {column}")
    return [*found]


def _image_scorer(source: str, table_format: str | None, images: str, model: str | None) -> ImageTextScorer:
    from peyda.captions import open_reader, resolve_images
    from peyda.config import load_settings
    from peyda.encoders import load_encoder
    from peyda.quality import ImageTextScorer

    encoder = load_encoder(load_settings(model=model).model)
    with open_reader(source, format=table_format, duplicates="keep") as reader:
        names = dict.fromkeys(row["image"] for row in reader)
    resolved = resolve_images(names, images)
    for reason in sorted(set(resolved.missing.values())):
        count = sum(one == reason for one in resolved.missing.values())
        write_line(sys.stderr, f"{count:,} images {reason.replace('_', ' ')} in {escaped(images)}: no image score")
    return ImageTextScorer(encoder, resolved.paths)


def _print(summary: ScoreSummary, *, as_json: bool) -> None:
    if as_json:
        write_line(sys.stdout, json.dumps(summary.to_dict()))
        return
    rows = [["column", "scored", "mean"]]
    for column, count in summary.scored.items():
        rows.append([column, f"{count:,}", f"{summary.means[column]:.3f}" if count else "-"])
    for line in aligned(rows):
        write_line(sys.stdout, line)


def _remark(source: str, out: str, summary: ScoreSummary, image_scorer: ImageTextScorer | None) -> None:
    remark_skipped(source, summary.skipped)
    for one in image_scorer.skipped if image_scorer else ():
        write_line(sys.stderr, f"no image score: {escaped(one.path)}: {one.reason}: {escaped(one.detail)}")
    resumed = f" ({summary.resumed:,} scores from the run before)" if summary.resumed else ""
    write_line(sys.stderr, f"{summary.rows:,} rows written to {escaped(out)}{resumed}")
