"""Caption tables and folders of photographs as a source for training.

Reading is `peyda.captions`'; this module decides which rows may be trained on: kept ones, of the wanted split, with a
text, whose photograph is there.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

from PIL import Image

from peyda.captions import CaptionReader, CaptionRow, ReadOptions, open_reader
from peyda.captions.resolve import ImageFinder
from peyda.captions.splits import photo_identity
from peyda.errors import DataError
from peyda.images import read_photo
from peyda.quality.report.sampling import is_kept
from peyda.training.loading.gather import Gathered, Splits, check_links

Where = Mapping[str, str | Sequence[str]]

_REASONS = {
    "not_found": "no file of that name is in the folder",
    "ambiguous": "several files have that name, and the path does not say which",
}


class FileImages:
    """Photographs that are files; a `PhotoReader`."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths

    def read(self, number: int, target_px: int) -> Image.Image:
        """One photograph, upright, in RGB."""
        return read_photo(self._paths[number], target_px=target_px).image


def read_table(
    path: str | os.PathLike[str],
    images_dir: str | os.PathLike[str],
    splits: Splits,
    *,
    column: str,
    where: Where | None = None,
    weight_column: str | None = None,
    options: ReadOptions | None = None,
) -> Gathered:
    """The photographs of a caption table; their names are the files, links resolved.

    Args:
        path: The table, of any format that `peyda captions` knows.
        images_dir: The folder of the photographs.
        splits: The wanted split.
        column: The captions.
        where: Column → the value, or the values, that a row must have.
        weight_column: Numbers ≥ 0: how often a caption is drawn, against the others of its photograph.
        options: Encoding and column names.

    Raises:
        DataError: The table or the folder cannot be used, a photograph is in two splits, a weight is no number, or
            nothing is left.
    """
    source = os.fspath(path)
    out = Gathered()
    wanted: dict[str, dict[str, float]] = {}
    others: dict[str, None] = {}
    required = [column, *(where or {}), *([weight_column] if weight_column else [])]
    with open_reader(path, options=options, required=required) as reader:
        if splits.wanted is not None and not splits.has_rule and "split" not in reader.columns:
            raise DataError(
                f"{source} has no column 'split', so which captions are for training is not known",
                hint="peyda captions convert TABLE NEW --split hash, name a table of splits, or ask for all rows",
            )
        for row in reader:
            reason = splits.verdict(row["image"], row.get("split", ""), source)
            if reason == "other_split":
                others[row["image"]] = None
            reason = reason or _why_not(row, column, where)
            weight = 1.0 if reason or not weight_column else _weight(row[weight_column], weight_column, reader)
            if reason or not weight:
                out.left_out[reason or "no_weight"] += 1
                continue
            captions = wanted.setdefault(row["image"], {})
            text = row[column].strip()
            captions[text] = captions.get(text, 0.0) + weight
        for line in reader.skipped:
            out.left_out[line.reason] += 1
    finder = ImageFinder(images_dir)
    names: list[str] = []
    for name, captions in wanted.items():
        file, reason = finder.find(name)
        if reason:
            out.skip(name, reason, _REASONS[reason])
            continue
        row_number = out.row_of(file, photo_identity(name))
        if row_number == len(names):
            names.append(name)
        for text, weight in captions.items():
            out.add(row_number, text, weight)
    out.check(source, splits, column)
    check_links(out.photos, names, list(others), finder.find)
    return out


def _why_not(row: CaptionRow, column: str, where: Where | None) -> str:
    """Why a row is left out, or ""."""
    for name, values in (where or {}).items():
        if row[name] not in ((values,) if isinstance(values, str) else values):
            return "other_rows"
    if not is_kept(row):
        return "not_kept"
    return "" if row[column].strip() else "no_text"


def _weight(value: str, column: str, reader: CaptionReader) -> float:
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0):
        raise DataError(
            f"{reader.source}, line {reader.line}: {column} is {value[:40]!r}, which is no weight",
            hint="weights are numbers from 0 (never drawn) on",
        )
    return weight
