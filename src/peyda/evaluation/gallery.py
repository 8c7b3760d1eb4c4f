"""The gallery of an evaluation: which distinct photographs the queries compete for, and their embeddings.

Files are made distinct by their real path: two names of one file are one image, or it would compete with itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from peyda.captions import format_of, read_captions, resolve_images
from peyda.errors import DataError, ImageRefused
from peyda.types import Float32, Skipped

if TYPE_CHECKING:
    from PIL import Image

    from peyda.encoders.protocol import Encoder

ALL = "all"
_BATCH = 32  # photographs decoded ahead; bounds memory to two such batches of shrunken photographs

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class GalleryImages:
    """What a gallery is made of, before any photograph is read.

    Attributes:
        paths: The distinct files: those of the table in its order, then the further ones.
        row_of_name: Image name of the table → its row in `paths`; names without a file are not in here.
        skipped: Names and folders that gave no file, and why ("not_found", "ambiguous", a reason of the walk).
        further: Those of `paths` that were asked for beyond the table's (they may be in the table as well).
    """

    paths: tuple[str, ...]
    row_of_name: Mapping[str, int]
    skipped: tuple[Skipped, ...]
    further: frozenset[str] = frozenset()


def gather_images(
    names: Sequence[str], images_dir: str | os.PathLike[str], gallery_images: str | os.PathLike[str] | None = None
) -> GalleryImages:
    """Collect the distinct images of a table, and further ones that are only there to be confused with them.

    Args:
        names: Image names of the table.
        images_dir: Where their files are, see `peyda.captions.resolve_images`.
        gallery_images: None, "all" for every photograph under `images_dir`, or a file: a caption table, whose images
            are taken, or plain text with one image name a line.

    Raises:
        DataError: The directory or the list cannot be read, or not one image of the table has a file.
    """
    resolved = resolve_images(names, images_dir)
    if not resolved.paths:
        some = ", ".join(names[:3])
        raise DataError(
            f"none of the {len(names)} images of the table are under {os.fspath(images_dir)} (such as {some})",
            hint="name the directory that holds the photographs",
        )
    row_of_path: dict[str, int] = {}
    row_of_name = {name: row_of_path.setdefault(path, len(row_of_path)) for name, path in resolved.paths.items()}
    skipped = [_unresolved(name, reason) for name, reason in resolved.missing.items()]
    further: set[str] = set()
    for found in _further_images(images_dir, gallery_images):
        if isinstance(found, Skipped):
            skipped.append(found)
        else:
            row_of_path.setdefault(found, len(row_of_path))
            further.add(found)
    reasons = tuple({one.path: one for one in skipped}.values())
    return GalleryImages(tuple(row_of_path), row_of_name, reasons, frozenset(further))


def _further_images(
    images_dir: str | os.PathLike[str], gallery_images: str | os.PathLike[str] | None
) -> Iterator[str | Skipped]:
    if gallery_images is None:
        return
    if gallery_images == ALL:
        from peyda.gallery.scan import walk  # the same files that indexing this directory would take

        for found in walk([os.fspath(images_dir)]):
            yield found if isinstance(found, Skipped) else os.path.realpath(found.path)
        return
    resolved = resolve_images(_listed(os.fspath(gallery_images)), images_dir)
    yield from resolved.paths.values()
    for name, reason in resolved.missing.items():
        yield _unresolved(name, reason)


def _listed(path: str) -> list[str]:
    if format_of(path) is not None:
        return read_captions(path).images()
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            names = [line.strip() for line in file]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint="name a file, or 'all'") from error
    listed = [name for name in dict.fromkeys(names) if name]
    if not listed:
        raise DataError(f"{path} lists no images", hint="write one image name a line, or use 'all'")
    return listed


def _unresolved(name: str, reason: str) -> Skipped:
    detail = "Several files have this name." if reason == "ambiguous" else "There is no such file in the directory."
    return Skipped(name, reason, detail)


def embed_images(
    encoder: Encoder, paths: Sequence[str], progress: Progress | None = None
) -> tuple[Float32, list[int], list[Skipped]]:
    """Read and embed photographs; those that cannot be read are left out and reported.

    Decoding runs one batch ahead of the encoder, on all cores.

    Returns:
        Embeddings `Float32[m, d]`, the rows of `paths` that they are of (ascending), and the refused ones.
    """
    parts: list[Float32] = []
    rows: list[int] = []
    skipped: list[Skipped] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        batches = [range(start, min(start + _BATCH, len(paths))) for start in range(0, len(paths), _BATCH)]
        ahead = _submit(pool, paths, batches[0], encoder.image_size_px) if batches else []
        for number, batch in enumerate(batches):
            pending = ahead
            ahead = _submit(pool, paths, batches[number + 1], encoder.image_size_px) if batch is not batches[-1] else []
            images = []
            for row, outcome in zip(batch, pending, strict=True):
                photo = outcome.result()
                if isinstance(photo, Skipped):
                    skipped.append(photo)
                else:
                    images.append(photo)
                    rows.append(row)
            parts.append(encoder.encode_images(images))
            if progress is not None:
                progress("images", batch.stop, len(paths))
    embeddings = np.concatenate(parts) if parts else np.zeros((0, encoder.embed_dim), dtype=np.float32)
    return embeddings, rows, skipped


def _submit(
    pool: ThreadPoolExecutor, paths: Sequence[str], batch: range, target_px: int
) -> list[Future[Image.Image | Skipped]]:
    return [pool.submit(_read, paths[row], target_px) for row in batch]


def _read(path: str, target_px: int) -> Image.Image | Skipped:
    from peyda.images import read_photo

    try:
        return read_photo(path, target_px=target_px).image
    except ImageRefused as error:
        return Skipped(path, error.reason, error.message)
