"""Writes a report into a directory: each file beside its place, then renamed."""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from peyda.captions import resolve_images
from peyda.errors import ConfigError, ImageRefused, StorageError
from peyda.images import thumbnail_jpeg
from peyda.quality.report.facts import ReportFacts
from peyda.quality.report.figure import draw
from peyda.quality.report.page import page
from peyda.types import Skipped

THUMBNAIL_PX = 320
_DECIMALS = 5


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """What was written, and what was not.

    Attributes:
        page: The HTML page.
        figure: The PNG; None where matplotlib is missing, and `figure_problem` says what to do.
        skipped: Photographs of samples that are not on the page, and why.
    """

    page: str
    figure: str | None
    figure_problem: ConfigError | None = None
    skipped: tuple[Skipped, ...] = ()


def write_report(
    facts: ReportFacts, out: str | os.PathLike[str], *, images: str | os.PathLike[str] | None = None
) -> WrittenReport:
    """Write `report.html`, `report.png` and `report.json` into the directory `out`, made where it is missing.

    Args:
        facts: What `collect` gathered.
        out: The directory.
        images: Where the photographs of the table are; without it the samples have none.

    Raises:
        DataError: `images` is no directory.
        StorageError: A file cannot be written.
    """
    folder = os.fspath(out)
    skipped: list[Skipped] = []
    pictures = {} if images is None else _pictures(facts, images, skipped)
    problem: ConfigError | None = None
    try:
        os.makedirs(folder, exist_ok=True)
        page_path = os.path.join(folder, "report.html")
        _write_text(page_path, page(facts, pictures))
        figure_path: str | None = os.path.join(folder, "report.png")
        try:
            _write_figure(os.path.join(folder, "report.png"), facts)
        except ConfigError as error:
            figure_path, problem = None, error
        _write_text(os.path.join(folder, "report.json"), [json.dumps(to_dict(facts), indent=1) + "\n"])
    except OSError as error:
        raise StorageError(
            f"the report cannot be written to {folder}: {error.strerror or error}",
            hint="give --out a directory that can be written, on a disk with free space",
        ) from error
    return WrittenReport(page_path, figure_path, problem, tuple(skipped))


def to_dict(facts: ReportFacts) -> dict[str, Any]:
    """The numbers of a report, ready for JSON."""
    return {
        "sources": list(facts.sources),
        "rows": facts.rows,
        "kept": facts.kept,
        "score": facts.column,
        "cut": facts.cut,
        "reasons": dict(facts.reasons),
        "engines": [
            {
                "engine": one.name,
                "rows": one.rows,
                "kept": one.kept,
                "mean": _json(one.mean),
                "median": _json(one.median),
            }
            for one in facts.engines
        ],
        "scores": {
            one.column: {
                "rows": one.rows,
                "mean": _json(one.mean),
                "p5": _json(one.p5),
                "median": _json(one.median),
                "p95": _json(one.p95),
            }
            for one in facts.scores
        },
        "histogram": {
            "edges": [round(float(edge), _DECIMALS) for edge in facts.edges],
            "kept": facts.kept_counts().tolist(),
            "rejected": facts.other_counts().tolist(),
        },
        "skipped_lines": len(facts.skipped),
    }


def _json(value: float) -> float | None:
    return None if math.isnan(value) else round(value, _DECIMALS)


def _pictures(facts: ReportFacts, images: str | os.PathLike[str], skipped: list[Skipped]) -> Mapping[str, str]:
    names = dict.fromkeys(sample.image for samples in facts.samples.values() for sample in samples)
    resolved = resolve_images(names, images)
    skipped += [Skipped(name, reason, "") for name, reason in resolved.missing.items()]
    pictures = {}
    for name, path in resolved.paths.items():
        try:
            data = base64.b64encode(thumbnail_jpeg(path, THUMBNAIL_PX)).decode("ascii")
        except ImageRefused as error:
            skipped.append(Skipped(name, error.reason, error.message))
        else:
            pictures[name] = f"data:image/jpeg;base64,{data}"
    return pictures


def _write_text(path: str, parts: Iterable[str]) -> None:
    temporary = _beside(path)
    try:
        with open(temporary, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.writelines(parts)
        os.replace(temporary, path)
    finally:
        _remove(temporary)


def _write_figure(path: str, facts: ReportFacts) -> None:
    temporary = _beside(path)
    try:
        draw(facts, temporary)
        os.replace(temporary, path)
    finally:
        _remove(temporary)


def _beside(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{os.getpid()}.tmp")


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):  # renamed by now
        os.unlink(path)
