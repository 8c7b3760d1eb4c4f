"""Features of frozen parts, computed once and kept in the run's directory as `.npy` files.

A cache file is named by what went into it (inputs and tower), so that a changed input is never mistaken for an old
one; it is written to a temporary name and renamed, so that a killed run leaves no half file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer

from peyda.encoders.directory import PreprocessConfig
from peyda.encoders.preprocess import preprocess_image
from peyda.training.e5 import TextTransformer
from peyda.training.lite2 import MEAN, STD, Lite2
from peyda.training.precision import autocast
from peyda.types import Float32, Int64

Progress = Callable[[str, int, int], None]


def digest(parts: Iterable[str]) -> str:
    """A short name for inputs."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return state.hexdigest()[:16]


def lite2_preprocess(size_px: int) -> PreprocessConfig:
    """How photographs reach EfficientNet-Lite2 here: squashed to a square (see the model card)."""
    return PreprocessConfig(size_px, MEAN, STD, "bilinear", "squash")


def load_pixels(paths: Sequence[Path], size_px: int) -> Float32:
    """`Float32[n, 3, size, size]`, decoded on all cores."""
    config = lite2_preprocess(size_px)

    def load(path: Path) -> Float32:
        with Image.open(path) as image:
            return preprocess_image(image, config)

    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(load, paths)))


def cached(path: Path, compute: Callable[[], Float32]) -> Float32:
    """The array at `path`, computed and written when it is not there."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp.npy")
        np.save(temporary, compute())
        temporary.rename(path)
    return np.asarray(np.load(path, mmap_mode="r"))


@torch.no_grad()  # not inference mode: the change of layout would leave weights that cannot be trained
def early_maps(
    tower: Lite2, photos: Sequence[Path], *, size_px: int, stage: int, progress: Progress, batch: int = 64
) -> Float32:
    """Input of `stage` for each photo: `Float16[n, c, h, w]`."""
    tower = tower.eval().to(memory_format=torch.channels_last)
    out: list[np.ndarray] = []
    for start in range(0, len(photos), batch):
        pixels = torch.from_numpy(load_pixels(photos[start : start + batch], size_px))
        with autocast():
            maps = tower.early(pixels.to(memory_format=torch.channels_last), stage)
        out.append(maps.to(torch.float16).numpy())
        progress("image features", start + len(maps), len(photos))
    return np.concatenate(out)


@torch.no_grad()  # as above
def late_features(tower: Lite2, maps: Float32, *, stage: int, flip: bool = False, batch: int = 256) -> Float32:
    """Pooled features of cached maps: `Float32[n, 1280]`; `flip` mirrors the maps left to right."""
    tower = tower.eval().to(memory_format=torch.channels_last)
    out: list[np.ndarray] = []
    for start in range(0, len(maps), batch):
        x = torch.from_numpy(np.array(maps[start : start + batch])).float()
        if flip:
            x = x.flip(3)
        with autocast():
            y = tower.late(x.to(memory_format=torch.channels_last), stage)
        out.append(y.float().mean((2, 3)).numpy())
    return np.concatenate(out)


@torch.inference_mode()
def text_features(
    tower: TextTransformer, tokenizer: Tokenizer, texts: Sequence[str], *, progress: Progress, batch: int = 256
) -> Float32:
    """Pooled features of normalised texts: `Float32[n, width]`, in their order."""
    tower = tower.eval()
    out = np.empty((len(texts), tower.width), np.float32)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        tokens, mask = pad(tokenizer, [ids[i] for i in rows])
        with autocast():
            out[rows] = tower(torch.from_numpy(tokens), torch.from_numpy(mask)).float().numpy()
        progress("text features", start + len(rows), len(order))
    return out


def pad(tokenizer: Tokenizer, ids: Sequence[Sequence[int]]) -> tuple[Int64, Int64]:
    """Token ids and mask, both `Int64[n, longest]`."""
    pad_id = tokenizer.token_to_id("<pad>")
    tokens = np.full((len(ids), max(map(len, ids))), pad_id, np.int64)
    for row, sequence in enumerate(ids):
        tokens[row, : len(sequence)] = sequence
    return tokens, (tokens != pad_id).astype(np.int64)


def quantised_features(
    backbone: Path, photos: Sequence[Path], *, size_px: int, progress: Progress, flip: bool = False, batch: int = 8
) -> Float32:
    """Features of photographs by an int8 tower, `Float32[n, 1280]`: what users will have, quantisation and all.

    Each core runs batches of its own, as the indexer does.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(backbone), options, providers=["CPUExecutionProvider"])
    config = lite2_preprocess(size_px)

    def embed(start: int) -> Float32:
        rows = []
        for path in photos[start : start + batch]:
            with Image.open(path) as image:
                rows.append(preprocess_image(image, config))
        pixels = np.stack(rows)
        (features,) = session.run(None, {"image": np.ascontiguousarray(pixels[..., ::-1]) if flip else pixels})
        progress("quantised features", min(start + batch, len(photos)), len(photos))
        return np.asarray(features, np.float32)

    with ThreadPoolExecutor() as pool:
        return np.concatenate(list(pool.map(embed, range(0, len(photos), batch))))
