"""The baseline's model card, written by the run itself: what it is made of, what it saw, how good it is.

Numbers on val are those that training chose by. Numbers on other captions come from `peyda evaluate retrieval`, whose
result directories are looked for in `RUN/measured`; one that belongs to other weights is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peyda.encoders.directory import read_model_info
from peyda.training.baseline.backbone import Backbone
from peyda.training.baseline.export import licence
from peyda.training.baseline.recipe import BaselineRecipe

MEASURED = "measured"


@dataclass(frozen=True)
class Counts:
    """How much a run trained on."""

    photos: int
    native: int
    machine: int
    words: int
    skipped: int
    table: str = ""
    """Name of the caption table, where it was one and not the development data."""


def write_card(
    recipe: BaselineRecipe, backbone: Backbone, counts: Counts, val: Mapping[str, float], out: Path, run: Path
) -> list[str]:
    """Write `out/model_card.md`.

    Args:
        recipe: What was trained.
        backbone: The image encoder.
        counts: Of the training data.
        val: What `fit.validate` gave for the exported weights.
        out: The exported model.
        run: The run, which may hold `measured/`.

    Returns:
        Names of result directories that were left out because they belong to other weights.
    """
    rows, stale = _measured_rows(run / MEASURED, read_model_info(out).fingerprint)
    megabytes = read_model_info(out).size_bytes / 1e6
    parts = [
        _header(backbone),
        _what_it_is(recipe, backbone, counts, megabytes),
        _what_it_saw(counts),
        _how_good(val, rows),
        _WEAKNESSES,
        _again(recipe, backbone, counts),
    ]
    half = out / ".model_card.md.tmp"
    half.write_text("\n".join(parts), encoding="utf-8")
    half.rename(out / "model_card.md")
    return stale


def _measured_rows(folder: Path, fingerprint: str) -> tuple[list[str], list[str]]:
    """Rows of the table of measured results, and names of those that are of other weights."""
    rows: list[str] = []
    stale: list[str] = []
    for run in sorted(folder.glob("*/run.json")):
        results = run.with_name("metrics.json")
        if not results.is_file():
            continue
        if json.loads(run.read_text(encoding="utf-8")).get("fingerprint") != fingerprint:
            stale.append(run.parent.name)
            continue
        name = run.parent.name.replace("-", " ")
        rows += [_row(name, one) for one in json.loads(results.read_text(encoding="utf-8"))]
    return rows, stale


def _row(name: str, one: Mapping[str, Any]) -> str:
    accuracy, interval = one["accuracy_at_k"], one["ci95"]["accuracy_at_k"]
    cells = [f"{value:.3f} ({interval[k][0]:.3f}–{interval[k][1]:.3f})" for k, value in accuracy.items()]
    arrow = "text → image" if one["direction"] == "text_to_image" else "image → text"
    return f"| {name} | {arrow} | {one['images']:,} | {one['queries']:,} | {' | '.join(cells)} |"


def _header(backbone: Backbone) -> str:
    terms = "apache-2.0" if backbone.licence == "Apache-2.0" else "other"
    return f"""---
license: {terms}
language:
  - fa
library_name: peyda
pipeline_tag: zero-shot-image-classification
tags:
  - image-text-retrieval
  - persian
  - onnx
  - corrnet
---
"""


def _what_it_is(recipe: BaselineRecipe, backbone: Backbone, counts: Counts, megabytes: float) -> str:
    corrnet, words = recipe.corrnet, recipe.words
    kind = "skip-gram" if words.skip_gram else "continuous bag of words"
    captions = (
        f"word2vec ({kind}, {words.dim} numbers, window {words.window}) trained on the training captions, "
        f"{counts.words:,} words; a text is the mean of its words' vectors, words it does not know are left out; "
        "CorrNet's text encoder behind it"
    )
    image = f"{backbone.source}, frozen, at {backbone.preprocess.size_px} px; CorrNet's image encoder behind it"
    layers = f"one hidden layer of {corrnet.hidden}" if corrnet.hidden else "a single layer, as in the paper"
    return f"""# {recipe.name}: a correlational autoencoder over frozen features

{recipe.description or "The baseline that Peyda's dual encoders are compared with."} A CorrNet ([Chandar et al.
2016](https://arxiv.org/abs/1504.07225)): photographs and Persian captions share a code of {corrnet.dim} numbers from
which either can be rebuilt. It is here to compare with, not to search with: Peyda's dual encoder finds more.
{megabytes:.1f} MB for both towers and the tokenizer.

| part | made of |
|---|---|
| image tower | {image} |
| text tower | {captions} |
| CorrNet | {layers}; code: {corrnet.activation}; the correlation has weight {corrnet.correlation:g} |

An embedding is the code standardised by the training statistics of its side, then made unit length. Text is normalised
by `peyda.persian` (the version is recorded in `config.json`) and split at spaces and punctuation; at most
{words.context_length} words are read.
"""


def _what_it_saw(counts: Counts) -> str:
    skipped = f" {counts.skipped} photographs could not be read and were left out." if counts.skipped else ""
    if counts.table:
        return f"""## What it saw

{counts.photos:,} photographs and {counts.machine:,} captions of the split train of `{counts.table}`.{skipped} No val or
test photograph of it, and no caption of one, was seen by word2vec or by CorrNet; the epoch was chosen on val. The terms
of those photographs and captions hold for the model too.
"""
    rows = []
    if counts.native:
        written = "written by a large language model from English captions: not by people, not by a translation engine"
        rows.append(
            f"| `native_fa.csv`: {counts.native:,} Persian captions of Flickr8k and COCO photographs, {written}, and "
            "without sight of the photographs | Apache-2.0 |"
        )
    if counts.machine:
        rows.append(f"| {counts.machine:,} machine-translated captions of Flickr8k | research use |")
    rows += ["| Flickr8k, training photographs | research use |", "| COCO photographs | Creative Commons, per photo |"]
    body = "\n".join(rows)
    return f"""## What it saw

{counts.photos:,} photographs with their captions.{skipped} No val or test photograph of Flickr8k, and no caption of
one, was seen by word2vec or by CorrNet; the epoch was chosen on val.

| data | terms |
|---|---|
{body}
"""


def _how_good(val: Mapping[str, float], rows: list[str]) -> str:
    kinds = [name.removesuffix("_mrr") for name in val if name.endswith("_mrr")]
    chosen = "\n".join(
        f"| {kind} | "
        + " | ".join(f"{val[f'{kind}_acc@{k}']:.3f}" for k in (1, 5, 10))
        + f" | {val[f'{kind}_mrr']:.3f} |"
        for kind in kinds
    )
    text = f"""## How good it is

On val, by which the epoch was chosen (text → image):

| native queries | Acc@1 | Acc@5 | Acc@10 | MRR |
|---|---|---|---|---|
{chosen}
"""
    if not rows:
        return text + "\nNo other captions have been measured yet.\n"
    return (
        text
        + """
Measured by `peyda evaluate retrieval`: every caption is a query, ties count against the model, 95 % intervals by
bootstrap over photographs.

| queries | direction | photographs | number | Acc@1 (95 %) | Acc@5 | Acc@10 |
|---|---|---|---|---|---|---|
"""
        + "\n".join(rows)
        + "\n"
    )


_WEAKNESSES = """## What it is bad at

- A caption is a bag of words: who does what to whom, negation and order are lost.
- It knows the words of its training captions and no other; a text of unknown words (English ones among them) gets the
  same embedding as every other such text. Two spellings of a word are two words.
- Its image encoder was not trained for captions, and stays as it was.
- It has the biases of its photographs (Western, outdoors, around 2010) and of what its image encoder was trained on. It
  must not be used to judge or identify people.
"""


def _again(recipe: BaselineRecipe, backbone: Backbone, counts: Counts) -> str:
    source = f"--captions {counts.table} --images DIR" if counts.table else "--data DATA"
    file = "recipes/baseline.toml" if recipe.name == BaselineRecipe.name else "RECIPE"
    train = f"peyda train baseline {file} {source} --run runs/{recipe.name}"
    measure = f"scripts/measure_model.py --data DATA --model runs/{recipe.name}/model"
    return f"""## How to make it again

```sh
{train}
python {measure} --out runs/{recipe.name}/{MEASURED}
{train}    # writes the numbers on this card
```

Licence: {licence(backbone)}.
"""
