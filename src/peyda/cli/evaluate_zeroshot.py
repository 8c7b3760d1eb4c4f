"""`peyda evaluate zeroshot`: classify labelled photographs by the Persian names of their classes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from peyda.cli.evaluate_options import load_encoders, models_option, remark_written, stage_progress, with_margin
from peyda.cli.options import json_option
from peyda.cli.row_progress import aligned
from peyda.cli.terminal import escaped, isolated, write_line

if TYPE_CHECKING:
    from peyda.evaluation.zeroshot import ZeroShotReport

_BABEL = "babel-imagenet-fa"
_FORMATS = ("folders", "csv", "stl10", "cifar10", "cifar100", "pets", "pets-species", "caltech101", "imagenet", _BABEL)
_WORST = 5


@click.command()
@click.option("--set", "path", metavar="DIR|TABLE", required=True, help="A folder for each class, a set, or a table.")
@click.option("--format", "set_format", type=click.Choice(_FORMATS), help="What the set is, where it does not show.")
@click.option("--images", metavar="DIR", help="Photographs of a table.  [default: beside it]")
@click.option("--label", "column", default="label", show_default=True, help="Column of a table with the classes.")
@click.option(
    "--names",
    metavar="FILE",
    help="Persian names: CSV with the columns class and fa, synonyms divided by |; or babel_imagenet.json.",
)
@click.option(
    "--template", "templates", metavar="TEXT", multiple=True, help="Sentence with {} for the name; repeatable."
)
@click.option("--synonyms", is_flag=True, help="Average over all Persian names of a class, not the first alone.")
@click.option("--split", type=click.Choice(["test", "train", "all"]), default="test", show_default=True,
              help="Of sets that come with splits.")  # fmt: skip
@click.option("--sample", metavar="N", type=click.IntRange(1), help="Draw N photographs.  [default: all]")
@click.option("--seed", metavar="N", type=click.IntRange(0), default=0, help="Of the draw.  [default: 0]")
@click.option("--out", metavar="DIR", required=True, help="Where metrics.json, the figure and report.html go.")
@models_option
@json_option
def zeroshot(
    path: str,
    set_format: str | None,
    images: str | None,
    column: str,
    names: str | None,
    templates: tuple[str, ...],
    synonyms: bool,
    split: str,
    sample: int | None,
    seed: int,
    models: tuple[str, ...],
    out: str,
    as_json: bool,
) -> None:
    """Classify photographs by the Persian names of their classes, none of which the model was taught as a class.

    Peyda knows names for ImageNet, Caltech-101, STL-10, CIFAR and Oxford-IIIT Pets, and looks at DIR to see which it
    is. Classes of other sets may be named in Persian by their folder, or in a file (--names).
    """
    from peyda.evaluation.babel_imagenet import read_babel_names
    from peyda.evaluation.labelled import read_names
    from peyda.evaluation.labelled_formats import read_labelled
    from peyda.evaluation.zeroshot import DEFAULT_TEMPLATES, check_template, evaluate_zeroshot

    for template in templates:
        check_template(template)
    given = (read_babel_names if set_format == _BABEL else read_names)(names) if names else None
    labelled = read_labelled(
        path, format=set_format, images_dir=images, names=given, split=split, column=column
    )  # fmt: skip
    if sample is not None:
        labelled = labelled.sample(sample, seed)
    report = evaluate_zeroshot(
        load_encoders(models),
        labelled,
        templates=templates or DEFAULT_TEMPLATES,
        synonyms=synonyms,
        progress=stage_progress(),
    )
    written = report.write(out)
    if as_json:
        write_line(sys.stdout, json.dumps(report.metrics))
    else:
        for line in _table(report):
            write_line(sys.stdout, line)
    skipped = report.run["skipped_images"]
    remark_written(written, out, [f"{skipped:,} images skipped"] if skipped else [])


def _table(report: ZeroShotReport) -> list[str]:
    first = report.metrics[0]
    rows = [["model", "top-1", "top-5", "macro recall", "macro F1"]]
    for one in report.metrics:
        tops = [with_margin(one[name], one["ci95"][name]) for name in ("top1", "top5")]
        rows.append([escaped(one["model"]), *tops, f"{one['macro_recall']:.3f}", f"{one['macro_f1']:.3f}"])
    lines = [f"{escaped(first['dataset'])}: {first['photos']:,} photographs of {first['classes']:,} classes"]
    lines += aligned(rows)
    if report.comparisons:
        tests = [["test", "metric", "difference", "95 %", "p"]]
        tests += [
            [
                f"{escaped(one['first'])} -> {escaped(one['second'])}",
                one["metric"],
                f"{one['difference']:+.3f}",
                f"[{one['ci95'][0]:+.3f}, {one['ci95'][1]:+.3f}]",
                f"{one['p']:.4f}",
            ]
            for one in report.comparisons
        ]
        lines += ["", *aligned(tests, left=2)]
    classes = [one for one in report.classes(report.results[0]) if one["photos"]]
    worst = sorted(classes, key=lambda one: (one["f1"], one["class"]))[:_WORST]
    shown = ", ".join(f"{escaped(one['class'])} {isolated(one['fa'], sys.stdout)} {one['f1']:.2f}" for one in worst)
    return [*lines, f"lowest F1: {shown}"]
