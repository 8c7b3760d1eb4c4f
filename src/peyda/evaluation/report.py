"""What an evaluation leaves behind: the numbers and how they came about, as records and as files.

```text
OUT/
├── ranks.jsonl    one line a query: direction, image, caption_id, caption, rank
├── skipped.jsonl  one line for each image or row of the table that took no part, with its reason
├── run.json       model, table, filters and counts, to do it again
└── metrics.json   the numbers (written last: where it is, the others are whole)
```
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from peyda.errors import StorageError
from peyda.metrics import accuracy_at_k, bootstrap_ci, median_rank, mrr
from peyda.types import Int64, Skipped

_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """The outcome of `evaluate_retrieval`.

    Attributes:
        metrics: What `metrics.json` holds: one object for each direction, text_to_image first.
        ranks: What `ranks.jsonl` holds.
        run: What `run.json` holds.
        skipped: Images that took no part, and why.
    """

    metrics: list[dict[str, Any]]
    ranks: list[dict[str, Any]]
    run: Mapping[str, Any]
    skipped: tuple[Skipped, ...] = ()
    skipped_rows: list[dict[str, Any]] = field(default_factory=list)

    def write(self, out: str | os.PathLike[str]) -> Path:
        """Write all files into the directory `out` (made where it is missing) and return it.

        Each file is written beside its place and renamed, so that none is ever half there.

        Raises:
            StorageError: The disk is full, read-only or gone, or `out` is a file.
        """
        folder = Path(out)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "metrics.json").unlink(missing_ok=True)  # it must not stand beside ranks of another run
            _write_lines(folder / "ranks.jsonl", (_json(line) for line in self.ranks))
            skipped = [*({"image": one.path, "reason": one.reason, "detail": one.detail} for one in self.skipped)]
            _write_lines(folder / "skipped.jsonl", (_json(line) for line in [*skipped, *self.skipped_rows]))
            _write_lines(folder / "run.json", [_json(self.run, indent=1)])
            _write_lines(folder / "metrics.json", [_json(self.metrics, indent=1)])
        except OSError as error:
            raise StorageError(
                f"cannot write the results to {folder}: {error.strerror}",
                hint="give --out a directory that can be written, on a disk with free space",
            ) from error
        return folder


def direction_metrics(
    direction: str, ranks: Int64, image_of_query: Int64, *, model: str, dataset: str, images: int, ks: Iterable[int]
) -> dict[str, Any]:
    """One object of `metrics.json`; intervals are 95 % ones from resampled images.

    Args:
        direction: "text_to_image" or "image_to_text".
        ranks: `Int64[q]`, at least one.
        image_of_query: `Int64[q]`, the image that each query belongs to.
        model: The model's name.
        dataset: What was measured on.
        images: Distinct images in the gallery.
        ks: The k of Acc@k.
    """
    ks = list(ks)
    values = np.column_stack([*(ranks <= k for k in ks), 1.0 / ranks])  # (queries, len(ks) + 1)
    intervals = np.round(bootstrap_ci(values, image_of_query), _DECIMALS).tolist()
    return {
        "model": model,
        "dataset": dataset,
        "direction": direction,
        "queries": len(ranks),
        "images": images,
        "accuracy_at_k": {str(k): round(accuracy_at_k(ranks, k), _DECIMALS) for k in ks},
        "mrr": round(mrr(ranks), _DECIMALS),
        "median_rank": median_rank(ranks),
        "ci95": {
            "accuracy_at_k": {str(k): interval for k, interval in zip(ks, intervals, strict=False)},
            "mrr": intervals[-1],
        },
    }


def _json(value: object, *, indent: int | None = None) -> str:
    """JSON with Persian readable; escaped where a file name holds bytes that are not UTF-8."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, ensure_ascii=True, indent=indent)
    return text


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
