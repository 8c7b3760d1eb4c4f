#!/usr/bin/env python3
"""Measure a dual encoder on the test split, as its model card reports it; prints Markdown tables.

    .venv/bin/python scripts/measure_model.py --data DATA [--model mini] [--out runs/measured]

Retrieval: `peyda evaluate retrieval` over the 1,000 test photographs of DATA/flickr8k, for native sentences and short
phrases (native_fa_test.csv), every machine-translated Persian caption, and every English one. Object words: for each
Caltech-101 photograph that training never saw, is the first Persian name of its class the nearest of all 101 classes'
first names? Photographs held back by hash and classes that were never trained on are reported apart
(`peyda.training.data.caltech_split`).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from peyda.encoders import Encoder, load_encoder
from peyda.evaluation import evaluate_retrieval
from peyda.images import read_photo
from peyda.persian.lexicon import caltech101_names
from peyda.types import Float32


def write_test_tables(data: Path, out: Path) -> tuple[Path, Path]:
    """All captions of the test photographs, and the list of those photographs."""
    with (data / "flickr8k/split.csv").open(encoding="utf-8", newline="") as file:
        test = {row["image"] for row in csv.DictReader(file) if row["split"] == "test"}
    out.mkdir(parents=True, exist_ok=True)
    table, images = out / "test_captions.csv", out / "test_images.txt"
    with (data / "flickr8k/captions.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = [row for row in reader if row["image"] in test]
        with table.open("w", encoding="utf-8", newline="") as target:
            writer = csv.DictWriter(target, reader.fieldnames or [])
            writer.writeheader()
            writer.writerows(rows)
    images.write_text("".join(f"{name}\n" for name in sorted(test)), encoding="utf-8")
    return table, images


def measure_retrieval(encoder: Encoder, data: Path, out: Path) -> list[str]:
    """Rows of the retrieval table; every result's own files go to `out`."""
    table, images = write_test_tables(data, out)
    native, photos = data / "native_fa_test.csv", data / "flickr8k/images"
    plans = {
        "native sentences": (native, "caption_fa", {"kind": "sentence"}),
        "native short phrases": (native, "caption_fa", {"kind": "short"}),
        "machine-translated captions": (table, "caption_fa", None),
        "English captions": (table, "caption_en", None),
    }
    lines = []
    for name, (captions, column, where) in plans.items():
        folder = out / name.replace(" ", "-")
        evaluate_retrieval(encoder, captions, photos, column=column, where=where, gallery_images=images, out=folder)
        for metrics in json.loads((folder / "metrics.json").read_text(encoding="utf-8")):
            accuracy, interval = metrics["accuracy_at_k"], metrics["ci95"]["accuracy_at_k"]
            cells = [f"{accuracy[k]:.3f} ({interval[k][0]:.3f}–{interval[k][1]:.3f})" for k in ("1", "5", "10")]
            arrow = "text → image" if metrics["direction"] == "text_to_image" else "image → text"
            lines.append(f"| {name} | {arrow} | {metrics['queries']:,} | {' | '.join(cells)} |")
    return lines


def embed_files(encoder: Encoder, paths: Sequence[Path]) -> Float32:
    """Embeddings of photographs, a few in memory at a time."""
    rows = [
        encoder.encode_images(
            [read_photo(str(path), target_px=encoder.image_size_px).image for path in paths[start : start + 64]]
        )
        for start in range(0, len(paths), 64)
    ]
    return np.concatenate(rows)


def measure_caltech(encoder: Encoder, data: Path) -> list[str]:
    """Rows of the object-word table."""
    from peyda.training.data import caltech_split

    classes = caltech101_names()
    names = encoder.encode_texts([entry.fa[0] for entry in classes])
    row_of = {entry.wnid: row for row, entry in enumerate(classes)}
    lines = []
    for part, title in (("test", "classes trained on, photographs held back"), ("unseen", "classes never trained on")):
        paths = [path for path, where in caltech_split(data).items() if where == part]
        scores = embed_files(encoder, paths) @ names.T
        own = np.asarray([row_of[path.parent.name] for path in paths])
        ranks = (scores >= scores[np.arange(len(own)), own][:, None]).sum(1)
        top1, top5 = (ranks <= 1).mean(), (ranks <= 5).mean()
        lines.append(f"| {title} | {len(set(own))} of 101 | {len(paths):,} | {top1:.3f} | {top5:.3f} |")
    return lines


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--out", type=Path, default=Path("runs/measured"))
    options = parser.parse_args()
    encoder = load_encoder(options.model)
    print("| queries | direction | number | Acc@1 (95 %) | Acc@5 | Acc@10 |\n|---|---|---|---|---|---|")
    print("\n".join(measure_retrieval(encoder, options.data, options.out)), flush=True)
    print("\n| photographs | classes | number | top-1 | top-5 |\n|---|---|---|---|---|")
    print("\n".join(measure_caltech(encoder, options.data)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
