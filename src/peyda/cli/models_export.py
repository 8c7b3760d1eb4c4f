"""`peyda models export`: other people's models as model directories. Needs the extra `export`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from peyda.cli.options import json_option
from peyda.cli.row_progress import aligned
from peyda.cli.terminal import escaped, write_line
from peyda.errors import ConfigError

if TYPE_CHECKING:
    from peyda.encoders.export import ExportPlan, ExportReport
    from peyda.encoders.protocol import Encoder

_KS = (1, 5, 10)
_COLUMN = "caption_fa"


@click.command()
@click.argument("source", required=False)
@click.option("--text", metavar="SOURCE", help="Where the text tower comes from, instead of SOURCE.")
@click.option("--image", "--vision", "image", metavar="SOURCE", help="Where the image tower comes from.")
@click.option("--out", metavar="DIR", help="Model directory to write.  [default: NAME among the installed models]")
@click.option("--name", help="Of the model.  [default: from its source]")
@click.option("--int8", "is_int8", is_flag=True, help="Store linear layers and the word table in 8 bits.")
@click.option(
    "--pooling",
    type=click.Choice(["auto", "mean", "cls", "pooler"]),
    default="auto",
    show_default=True,
    help="How a plain text encoder pools its tokens, where its files do not say.",
)
@click.option(
    "--preprocess",
    type=click.Choice(["clip", "siglip", "imagenet"]),
    help="How photographs are prepared, where the image tower's files do not say.",
)
@click.option("--context-length", metavar="N", type=click.IntRange(4, 8192), help="Tokens of a text that are read.")
@click.option(
    "--language", metavar="CODE", default="pes_Arab", show_default=True, help="Language token of NLLB text towers."
)
@click.option("--licence", metavar="NAME", help="What to record, where the model's card states none.")
@click.option("--captions", metavar="TABLE", help="With --int8 and --images: measure the recall that 8 bits cost.")
@click.option("--images", metavar="DIR", help="Directory of the photographs of TABLE.")
@click.option("--column", default=_COLUMN, show_default=True, help="Column whose captions are the queries.")
@click.option("--sample", metavar="N", type=click.IntRange(1), help="Draw N photographs of TABLE.  [default: all]")
@json_option
def export(
    source: str | None,
    text: str | None,
    image: str | None,
    out: str | None,
    name: str | None,
    is_int8: bool,
    pooling: str,
    preprocess: str | None,
    context_length: int | None,
    language: str,
    licence: str | None,
    captions: str | None,
    images: str | None,
    column: str,
    sample: int | None,
    as_json: bool,
) -> None:
    """Turn a model of others into a model directory: ONNX, tokenizer and preprocessing, checked against torch.

    SOURCE is hf:OWNER/NAME (of the hub, or the mirror that HF_ENDPOINT names), open_clip:ARCH:PRETRAINED, or a folder
    that holds the files of one; of two towers that lie apart, TEXT+IMAGE.

    \b
      peyda models export hf:google/siglip2-base-patch16-224 --int8
      peyda models export hf:SajjadAyoubi/clip-fa-text+hf:SajjadAyoubi/clip-fa-vision
      peyda models export open_clip:xlm-roberta-base-ViT-B-32:laion5b_s13b_b90k

    Needs the extra `export`. Nothing is written if the exported towers differ from torch's by more than a cosine
    distance of 0.001.
    """
    measure = _recall_measure(captions, images, column, sample, is_int8=is_int8)
    plan = _plan(
        _towers(source, text, image),
        out,
        name=name or "",
        is_int8=is_int8,
        pooling=pooling,
        preprocess=preprocess or "",
        context_length=context_length,
        language=language,
        licence=licence or "",
    )
    try:
        from peyda.encoders.export.run import export_model
    except ImportError as error:
        raise ConfigError(f"exporting needs {error.name}", hint="pip install 'peyda[export]'") from error
    report = export_model(plan, say=lambda line: write_line(sys.stderr, escaped(line)), measure=measure)
    if as_json:
        write_line(sys.stdout, json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        for line in _summary(report):
            write_line(sys.stdout, line)
    for note in report.notes:
        write_line(sys.stderr, escaped(note))


def _towers(source: str | None, text: str | None, image: str | None) -> tuple[str, str]:
    from peyda.encoders.export.sources import split_pair

    pair = split_pair(source) if source else ("", "")
    chosen = text or pair[0], image or pair[1]
    if not all(chosen):
        raise click.UsageError("name a SOURCE, or both --text and --image")
    return chosen


def _plan(towers: tuple[str, str], out: str | None, **options: Any) -> ExportPlan:
    from peyda.encoders.export import ExportPlan
    from peyda.encoders.export.sources import default_name
    from peyda.encoders.registry import user_models_dir

    directory = Path(out) if out else user_models_dir() / (options["name"] or default_name(*towers))
    return ExportPlan(text=towers[0], image=towers[1], out=directory, **options)


def _recall_measure(
    captions: str | None, images: str | None, column: str, sample: int | None, *, is_int8: bool
) -> Callable[[Encoder, Encoder], dict[str, Any]] | None:
    """What measures the float and the 8-bit model on captioned photographs; None where that was not asked for."""
    if captions is None and images is None:
        return None
    if captions is None or images is None or not is_int8:
        raise click.UsageError("--captions and --images go together, and with --int8")
    from peyda.captions import read_captions

    table = read_captions(captions, column=column)  # before the model is fetched: a wrong path is said at once

    def measure(full: Encoder, small: Encoder) -> dict[str, Any]:
        from peyda.cli.evaluate_options import stage_progress
        from peyda.evaluation import evaluate_retrieval

        found: dict[str, Any] = {}
        for label, encoder in (("float", full), ("int8", small)):
            report = evaluate_retrieval(
                encoder, table, images, column=column, ks=_KS, sample=sample, progress=stage_progress()
            )
            metrics = next(one for one in report.metrics if one["direction"] == "text_to_image")
            found |= {"dataset": metrics["dataset"], "queries": metrics["queries"], "images": metrics["images"]}
            found[label] = metrics["accuracy_at_k"]
        return found

    return measure


def _summary(report: ExportReport) -> list[str]:
    rows = [
        ["model", escaped(str(report.directory))],
        ["size", f"{report.size_bytes / 1e6:,.1f} MB"],
        ["embedding", f"{report.embed_dim} dimensions"],
        ["image", f"{report.image_size_px} px"],
        ["text", f"{report.context_length} tokens"],
        ["licence", escaped(report.licence) or "not stated"],
        ["from torch", f"{report.text_parity.worst:.1e} (text), {report.image_parity.worst:.1e} (image), at most"],
    ]
    if report.int8 is not None:
        one = report.int8
        cosines = f"{one.text_cosine_mean:.4f} (text), {one.image_cosine_mean:.4f} (image)"
        rows.append(["8 bits", f"{one.float_bytes / 1e6:,.1f} MB before; cosine with the float model {cosines}"])
    width = max(len(label) for label, _ in rows)
    lines = [f"{label:<{width}}  {value}" for label, value in rows]
    if report.int8 is not None and report.int8.recall:
        lines += ["", *_recall_lines(report.int8.recall)]
    return lines


def _recall_lines(recall: dict[str, Any]) -> list[str]:
    full, small = recall["float"], recall["int8"]
    rows = [
        ["text_to_image", *(f"Acc@{k}" for k in full)],
        ["float", *(f"{value:.3f}" for value in full.values())],
        ["8 bits", *(f"{value:.3f}" for value in small.values())],
        ["difference", *(f"{small[k] - full[k]:+.3f}" for k in full)],
    ]
    title = f"{recall['queries']:,} queries, {recall['images']:,} photographs of {escaped(recall['dataset'])}"
    return [title, *aligned(rows)]
