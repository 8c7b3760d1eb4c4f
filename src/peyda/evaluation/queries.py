"""The queries of an evaluation: which captions are asked, of which images, and samples of them.

A sample is of images, not of captions: an image that is drawn brings all its captions. The original protocol samples
rows, see `peyda.evaluation.retrieval`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from peyda.captions import CaptionTable
from peyda.captions.splits import split_by_table
from peyda.errors import DataError
from peyda.evaluation.gallery import GalleryImages
from peyda.persian import normalize
from peyda.types import Float32, Int64

if TYPE_CHECKING:
    from peyda.encoders.protocol import Encoder

Progress = Callable[[str, int, int], None]

_TEXT_BATCH = 1_024


@dataclass(frozen=True, slots=True)
class Queries:
    """The captions that are asked, column by column.

    Attributes:
        texts: The captions.
        names: The image name of each, as the table has it.
        caption_ids: The id of each.
        image_rows: `Int64[q]`, the row of each one's image in the gallery.
        empty: Captions left out because nothing is in them.
        without_image: Captions left out because their image has no readable file.
    """

    texts: list[str]
    names: list[str]
    caption_ids: list[str]
    image_rows: Int64
    empty: int
    without_image: int

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, at: Sequence[int]) -> Queries:
        """Those at these positions, in this order."""
        return replace(
            self,
            texts=[self.texts[one] for one in at],
            names=[self.names[one] for one in at],
            caption_ids=[self.caption_ids[one] for one in at],
            image_rows=self.image_rows[np.asarray(at, dtype=np.int64)],
        )

    def moved(self, new_row: Int64) -> Queries:
        """Those whose image is still there, pointing to its new row.

        Args:
            new_row: `Int64[n]`, for each row of the gallery its new one, -1 where it has none.

        Raises:
            DataError: None is left.
        """
        rows = new_row[self.image_rows]
        kept = np.flatnonzero(rows >= 0).tolist()
        if not kept:
            raise DataError("no photograph with a caption could be read", hint="skipped ones: peyda index says why")
        lost = len(self) - len(kept)
        return replace(self.take(kept), image_rows=rows[kept], without_image=self.without_image + lost)


def of_split(table: CaptionTable, split: str | None, split_table: str | os.PathLike[str] | None = None) -> CaptionTable:
    """The rows whose photograph is in a split, by the table's own column or by a table of images and splits.

    Args:
        table: The table.
        split: The split; None takes all rows.
        split_table: Table with the columns image and split, where `table` has no column split.

    Raises:
        DataError: There is no such column or split, or the split table cannot be read.
    """
    if split is None:
        return table
    if split_table is None:
        return table.select({"split": split})
    rule = split_by_table(os.fspath(split_table))
    names = table.column("image")
    kept = [row for row, name in enumerate(names) if rule(name) == split]
    if not kept:
        found = sorted({rule(name) for name in names} - {""})
        raise DataError(
            f"no image of {table.source} is in the split {split!r} of {os.fspath(split_table)}",
            hint=f"splits of its images: {', '.join(found) or 'none'}",
        )
    return CaptionTable(
        table.source, {name: [values[row] for row in kept] for name, values in table.columns.items()}, table.skipped
    )


def collect_queries(table: CaptionTable, column: str, gallery: GalleryImages) -> Queries:
    """Every caption of a table that says something and has an image in the gallery.

    Raises:
        DataError: There is no such column, or not one such caption.
    """
    texts: list[str] = []
    names: list[str] = []
    caption_ids: list[str] = []
    rows: list[int] = []
    empty = without_image = 0
    for text, name, caption_id in zip(
        table.column(column), table.column("image"), table.column("caption_id"), strict=True
    ):
        if not normalize(text):
            empty += 1
        elif name not in gallery.row_of_name:
            without_image += 1
        else:
            texts.append(text)
            names.append(name)
            caption_ids.append(caption_id)
            rows.append(gallery.row_of_name[name])
    if not texts:
        raise DataError(
            f"{table.source} leaves no query: {empty} captions in {column} are empty, {without_image} have no image",
            hint="choose another --column or --where, or check --images",
        )
    return Queries(texts, names, caption_ids, np.asarray(rows, dtype=np.int64), empty, without_image)


def sample_images(queries: Queries, gallery: GalleryImages, count: int, seed: int) -> tuple[Queries, GalleryImages]:
    """Draw `count` images that have a caption; the gallery is these, and the further ones of `gallery`.

    The draw depends on the images' names and the seed alone, not on the order of the table. Fewer images than `count`
    are all taken.
    """
    name_of_row: dict[int, str] = {}
    for name, row in zip(queries.names, queries.image_rows.tolist(), strict=True):
        name_of_row[row] = min(name, name_of_row.get(row, name))
    ordered = sorted(name_of_row, key=name_of_row.__getitem__)
    rng = np.random.default_rng(seed)
    chosen = {ordered[at] for at in rng.permutation(len(ordered))[:count].tolist()}
    kept = [row for row, path in enumerate(gallery.paths) if row in chosen or path in gallery.further]
    new_row = np.full(len(gallery.paths), -1, dtype=np.int64)
    new_row[kept] = np.arange(len(kept))
    smaller = replace(
        gallery,
        paths=tuple(gallery.paths[row] for row in kept),
        row_of_name={name: int(new_row[row]) for name, row in gallery.row_of_name.items() if new_row[row] >= 0},
    )
    asked = [at for at, row in enumerate(queries.image_rows.tolist()) if row in chosen]
    sampled = queries.take(asked)
    return replace(sampled, image_rows=new_row[sampled.image_rows]), smaller


def sample_rows(queries: Queries, count: int, seed: int | None) -> Queries:
    """`count` captions: the first ones, or with a seed a random draw, in the order of the table."""
    if seed is None:
        return queries.take(range(min(count, len(queries))))
    drawn = np.random.default_rng(seed).permutation(len(queries))[:count]
    return queries.take(sorted(drawn.tolist()))


def embed_texts(encoder: Encoder, texts: Sequence[str], progress: Progress | None = None) -> Float32:
    """`Float32[n, d]` of sentences, in batches."""
    parts = []
    for start in range(0, len(texts), _TEXT_BATCH):
        parts.append(encoder.encode_texts(texts[start : start + _TEXT_BATCH]))
        if progress is not None:
            progress("texts", min(start + _TEXT_BATCH, len(texts)), len(texts))
    return np.concatenate(parts) if parts else np.zeros((0, encoder.embed_dim), dtype=np.float32)


def dataset_name(source: str, where: Mapping[str, str | Sequence[str]], split: str | None = None) -> str:
    """Short name of what is measured on: the file's, and the filters."""
    name = os.path.basename(source).split(".")[0]
    where = where if split is None else {**where, "split": split}
    filters = ",".join(
        f"{key}={value if isinstance(value, str) else '|'.join(value)}" for key, value in sorted(where.items())
    )
    return f"{name}[{filters}]" if filters else name
