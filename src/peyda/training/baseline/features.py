"""Features of photographs by the run's backbone, kept in the run's cache, a part at a time.

A part is a file named by what went into it, so a killed run goes on at the part where it stopped. A photograph that
cannot be read has a row of NaN there: it is left out of the training, counted, and written to `skipped.jsonl`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from peyda.encoders.preprocess import preprocess_image
from peyda.encoders.sessions import available_cores, load_session, run_session
from peyda.errors import DataError, ImageRefused, ModelError
from peyda.images import read_photo
from peyda.training.baseline.backbone import Backbone
from peyda.training.features import Progress, cached, digest
from peyda.types import Bool, Float32, Skipped

_PART = 1024
_BATCH = 8


def photo_features(backbone: Backbone, photos: Sequence[Path], cache: Path, progress: Progress) -> Float32:
    """Float32[n, d] in the order of `photos`; a row of NaN for each one that cannot be read.

    Raises:
        ModelError: The backbone cannot be run, or gives values that are not finite.
        DataError: There are no photographs.
    """
    if not photos:
        raise DataError("there are no photographs to train on", hint="--data DIR names the folder of DATA/README.md")
    session = load_session(backbone.path, 1)  # each core runs batches of its own, as the indexer does
    config, name = backbone.preprocess, session.get_inputs()[0].name
    width = session.get_outputs()[0].shape[-1]

    def embed(paths: Sequence[Path]) -> Float32:
        rows: list[Float32 | None] = []
        for path in paths:
            try:
                rows.append(preprocess_image(read_photo(str(path), target_px=config.size_px).image, config))
            except ImageRefused:
                rows.append(None)
        read = [row for row in rows if row is not None]
        found = run_session(session, {name: np.stack(read)}, backbone.source) if read else np.empty((0, width))
        if not np.isfinite(found).all():
            raise ModelError(f"{backbone.source} gave features that are not finite")
        out = np.full((len(paths), found.shape[-1]), np.nan, np.float32)
        out[[i for i, row in enumerate(rows) if row is not None]] = found
        return out

    def compute(start: int) -> Float32:
        part = photos[start : start + _PART]
        batches = [part[at : at + _BATCH] for at in range(0, len(part), _BATCH)]
        out = []
        with ThreadPoolExecutor(available_cores()) as pool:
            for done, rows in enumerate(pool.map(embed, batches), 1):
                out.append(rows)
                progress("image features", min(start + done * _BATCH, start + len(part)), len(photos))
        return np.concatenate(out)

    key = backbone.sha256()
    parts = []
    for start in range(0, len(photos), _PART):
        path = cache / f"features-{digest([key, str(config), *map(str, photos[start : start + _PART])])}.npy"
        parts.append(cached(path, lambda start=start: compute(start)))  # type: ignore[misc]
    return np.concatenate(parts)


def readable(features: Float32) -> Bool:
    """bool[n]: which photographs have features."""
    return np.asarray(np.isfinite(features).all(1))


def write_skipped(photos: Sequence[Path], kept: Bool, path: Path) -> list[Skipped]:
    """Write a line for each photograph that could not be read, with its reason, and return them.

    The file is there only when there are any.
    """
    skipped = []
    for photo in (photo for photo, is_kept in zip(photos, kept, strict=True) if not is_kept):
        try:
            read_photo(str(photo), target_px=1)
            skipped.append(Skipped(str(photo), "changed", "It can be read now; delete the run's cache to use it."))
        except ImageRefused as error:
            skipped.append(Skipped(str(photo), error.reason, error.message))
    if skipped:
        lines = "".join(json.dumps(one.to_dict(), ensure_ascii=False) + "\n" for one in skipped)
        path.write_text(lines, encoding="utf-8", errors="replace")
    else:
        path.unlink(missing_ok=True)
    return skipped
