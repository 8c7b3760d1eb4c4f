"""One table into another: any known format in, a canonical table out, with splits and verdicts where asked for.

Rows are never dropped silently: what cannot be read is listed with its reason, and a row whose photograph is not there
stays, with `kept` false and the reason.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from peyda.captions.formats import ReadOptions, SkippedRow
from peyda.captions.reading import CaptionReader, CaptionRow, Duplicates, open_reader
from peyda.captions.resolve import ImageFinder
from peyda.captions.schema import ordered
from peyda.captions.splits import SplitRule
from peyda.captions.writing import check_writable, open_writer
from peyda.errors import DataError

SPLIT_CONFLICT = "split_conflict"

_REPORT_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class ConvertSummary:
    """What a conversion did.

    Attributes:
        format_name: The format that the source was read as.
        columns: The columns of the new table.
        rows: Rows written.
        images: Distinct images among them.
        splits: Split → its rows.
        without_image: Reason → rows whose photograph was not found; they are written, with `kept` false.
        skipped: Rows that are not in the new table, and why.
    """

    format_name: str
    columns: tuple[str, ...]
    rows: int
    images: int
    splits: Mapping[str, int]
    without_image: Mapping[str, int]
    skipped: Sequence[SkippedRow]


@dataclass
class _Work:
    """State of a conversion under way."""

    rows: int = 0
    split_of: dict[str, str] = field(default_factory=dict)
    splits: Counter[str] = field(default_factory=Counter)
    found: dict[str, str] = field(default_factory=dict)
    without_image: Counter[str] = field(default_factory=Counter)


def convert_table(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word of the command line
    options: ReadOptions | None = None,
    duplicates: Duplicates = "skip",
    split: SplitRule | None = None,
    where: Mapping[str, Sequence[str]] | None = None,
    images: str | None = None,
    limit: int | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> ConvertSummary:
    """Write the table `source` as `target`, in canonical columns.

    Args:
        source: A table of any known format, or `hf:OWNER/NAME`.
        target: CSV, TSV, JSON lines or Parquet by its ending.
        format: As for `open_reader`.
        options: As for `open_reader`.
        duplicates: As for `open_reader`.
        split: Fills the column `split`, over what was there.
        where: Column → values; only rows that have one of them in every such column are written.
        images: A directory; rows whose photograph is not in it get `kept` false and a reason.
        limit: Stop after so many rows.
        progress: Called now and then with the rows so far.

    Raises:
        DataError: The source cannot be read, lacks a column of `where`, or has no row; or the target's ending is
            unknown.
        StorageError: The target cannot be written.
    """
    check_writable(os.fspath(target))
    finder = None if images is None else ImageFinder(images)
    work = _Work()
    with open_reader(
        source, format=format, options=options, duplicates=duplicates, required=tuple(where or ())
    ) as reader:
        added = [*(["split"] if split else []), *(["kept", "reason"] if finder else [])]
        columns = ordered([*reader.columns, *added])
        with open_writer(target, columns) as writer:
            for row in _converted(reader, work, split, where or {}, finder):
                writer.write(row)
                work.rows += 1
                if work.rows % _REPORT_ROWS == 0:
                    progress(work.rows)
                if work.rows == limit:
                    break
            if not work.rows:
                raise _nothing(reader, where)
        progress(work.rows)
    return ConvertSummary(
        reader.format_name,
        columns,
        work.rows,
        len(work.split_of),
        dict(work.splits),
        dict(work.without_image),
        reader.skipped,
    )


def _converted(
    reader: CaptionReader,
    work: _Work,
    split: SplitRule | None,
    where: Mapping[str, Sequence[str]],
    finder: ImageFinder | None,
) -> Iterator[CaptionRow]:
    for row in reader:
        if any(row[name] not in values for name, values in where.items()):
            continue
        image = row["image"]
        if split is not None:
            row["split"] = split(image)
        name = row.get("split", "")
        if work.split_of.setdefault(image, name) != name:
            detail = f"{image} is in {work.split_of[image] or 'no split'} already, and here in {name or 'none'}"
            reader.skipped.append(SkippedRow(reader.line, SPLIT_CONFLICT, detail))
            continue
        if name:
            work.splits[name] += 1
        if finder is not None:
            if image not in work.found:
                work.found[image] = finder.find(image)[1]
            if reason := work.found[image]:
                work.without_image[reason] += 1
                row["kept"], row["reason"] = "false", f"image_{reason}"
        yield row


def _nothing(reader: CaptionReader, where: Mapping[str, Sequence[str]] | None) -> DataError:
    if where:
        filters = ", ".join(f"{name} = {' or '.join(values)}" for name, values in where.items())
        return DataError(f"no row of {reader.source} has {filters}", hint="peyda captions show lists the values")
    first = f"; line {reader.skipped[0].line}: {reader.skipped[0].detail}" if reader.skipped else ""
    return DataError(f"{reader.source} has no usable rows{first}", hint="check that it is the right file")
