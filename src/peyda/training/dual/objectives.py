"""What a run trains for: photographs against captions, or captions against a teacher.

Each objective draws the batches of an epoch by (seed, epoch) alone, adds the gradient of a batch to the parameters, and
measures the model on what it never trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from peyda.encoders.preprocess import preprocess_image
from peyda.errors import DataError, ImageRefused
from peyda.metrics import accuracy_at_k, mrr, text_to_image_ranks
from peyda.persian import normalize
from peyda.training.dual.data import Pairs, PhotoData, Share
from peyda.training.dual.fleet import Fleet
from peyda.training.dual.grad_cache import Side, backward
from peyda.training.dual.losses import cosine_distance, info_nce, mean_squared_error, sigmoid_loss
from peyda.training.dual.model import DualModel
from peyda.training.loading import ImageAugmentation, PhotoBatch, SkipLog, TypedPersian, photo_batches
from peyda.types import Float32

_EMBED_BATCH = 64
MEASURE = "val_acc@10"
"""What early stopping and the choice of the best epoch go by."""

Autocast = Callable[[], AbstractContextManager[None]]
Times = Callable[[Tensor], Tensor]


class Objective(Protocol):
    """What the loop asks of an objective."""

    @property
    def batches(self) -> int:
        """Batches in an epoch."""

    def epoch(self, epoch: int, start: int) -> Iterator[object]:
        """The batches of an epoch, from number `start` on."""

    def backward(self, batch: object, times: Times) -> Tensor:
        """Add the gradient of a batch; returns the loss, before `times`."""

    def validate(self) -> dict[str, float]:
        """Numbers of the model as it is, `MEASURE` among them; empty where there is nothing to measure on."""


class Contrastive:
    """Photographs against their captions.

    Args:
        model: What learns.
        data: Photographs and captions.
        fleet: The processes of the run.
        autocast: The context of mixed precision.
        skipped: Told of photographs that cannot be read.
    """

    def __init__(self, model: DualModel, data: PhotoData, fleet: Fleet, autocast: Autocast, skipped: SkipLog) -> None:
        self._model = model
        self._recipe = model.recipe
        self._data = data
        self._fleet = fleet
        self._autocast = autocast
        self._skipped = skipped
        self._local_batch = self._recipe.train.batch // fleet.world
        self._photos: Tensor | None = None
        """Numbers in the whole source of the photographs of this epoch's share."""

    @property
    def batches(self) -> int:
        """Batches in an epoch; the photographs that fill none are left out."""
        return (len(self._data.train) // self._fleet.world) // self._local_batch

    def epoch(self, epoch: int, start: int) -> Iterator[PhotoBatch]:
        """The batches of an epoch, from number `start` on."""
        recipe = self._recipe
        source = self._data.train
        self._photos = None
        if self._fleet.world > 1:
            share = Share(source, rank=self._fleet.rank, world=self._fleet.world, seed=recipe.seed, epoch=epoch)
            self._photos = torch.from_numpy(np.ascontiguousarray(share.numbers))
            source = share.as_source()
        return photo_batches(
            source,
            batch=self._local_batch,
            seed=recipe.seed,
            epoch=epoch,
            captions_per_photo=recipe.data.captions_per_photo,
            preprocess=partial(preprocess_image, config=self._model.image.preprocess),
            augment_image=ImageAugmentation() if recipe.image.augment else None,
            augment_text=TypedPersian() if recipe.text.augment else None,
            workers=recipe.data.workers,
            on_skip=self._skipped,
            start_batch=start,
        )

    def backward(self, batch: object, times: Times) -> Tensor:
        """Add the gradient of a batch (with those of the other processes, one loss); returns the loss."""
        assert isinstance(batch, PhotoBatch)
        model, fleet = self._model, self._fleet
        texts = [normalize(text) for some in batch.texts for text in some]
        photos = batch.photos if self._photos is None else self._photos[batch.photos]
        counts = torch.tensor([len(some) for some in batch.texts])
        photo_of_text = fleet.gather(photos.repeat_interleave(counts).to(fleet.device))
        photo = fleet.gather(photos.to(fleet.device))
        ids, mask = (x.to(fleet.device) for x in model.text.tokenize(texts))
        loss = self._recipe.loss

        def loss_of(images: Tensor, words: Tensor) -> Tensor:
            if loss.kind == "sigmoid":
                return sigmoid_loss(images, words, photo, photo_of_text, model.scale, model.logit_bias)
            return info_nce(images, words, photo, photo_of_text, model.scale, smoothing=loss.smoothing)

        sides = [
            Side(model.embed_images, [batch.images.to(fleet.device)], learns=model.learns("image")),
            Side(model.embed_texts, [ids, mask], learns=model.learns("text")),
        ]
        chunk = self._recipe.train.cache_chunk
        return backward(sides, loss_of, fleet, chunk=chunk, times=times, autocast=self._autocast)

    def validate(self) -> dict[str, float]:
        """Text to image over all val photographs that can be read, every caption a query."""
        val = self._data.val
        if val is None:
            return {}
        embeddings, kept = self._embed_photos()
        texts = [normalize(text) for photo in kept for text in val.texts_of(photo)]
        owners = np.repeat(np.arange(len(kept)), [len(val.texts_of(photo)) for photo in kept])
        return _scores(embed_texts(self._model, texts, self._fleet.device, self._autocast), embeddings, owners)

    def _embed_photos(self) -> tuple[Float32, list[int]]:
        val = self._data.val
        assert val is not None
        config = self._model.image.preprocess

        def read(number: int) -> Float32 | None:
            try:
                return preprocess_image(val.read(number, target_px=config.size_px), config)
            except ImageRefused:
                return None

        rows: list[Float32] = []
        kept: list[int] = []
        with ThreadPoolExecutor(max(1, self._recipe.data.workers)) as pool:
            for start in range(0, len(val), _EMBED_BATCH):
                numbers = range(start, min(start + _EMBED_BATCH, len(val)))
                read_ones = zip(numbers, pool.map(read, numbers), strict=True)
                found = {number: pixels for number, pixels in read_ones if pixels is not None}
                if found:
                    kept += found
                    pixels = torch.from_numpy(np.stack(list(found.values()))).to(self._fleet.device)
                    with torch.inference_mode(), self._autocast():
                        rows.append(self._model.embed_images(pixels).cpu().numpy())
        if not kept:
            raise DataError("no photograph to choose by can be read", hint="check the photographs of the val split")
        return np.concatenate(rows), kept


@dataclass(frozen=True)
class PairBatch:
    """Pairs of one step, by number; `targets` normalised, as the student reads them."""

    numbers: np.ndarray
    targets: list[str]


class Distillation:
    """Captions in one language against a teacher's embeddings of the same captions in another.

    Args:
        model: What learns: its text tower and head.
        train: Pairs to train on.
        teacher: Float32[n, d], unit rows: the teacher's embeddings of `train.sources`.
        val: Pairs to choose by, may be empty.
        val_teacher: The same of `val.sources`.
        fleet: The processes of the run.
        autocast: The context of mixed precision.
    """

    def __init__(
        self,
        model: DualModel,
        train: Pairs,
        teacher: Float32,
        val: Pairs,
        val_teacher: Float32,
        fleet: Fleet,
        autocast: Autocast,
    ) -> None:
        self._model = model
        self._recipe = model.recipe
        self._train, self._teacher = train, teacher
        self._val, self._val_teacher = val, val_teacher
        self._fleet = fleet
        self._autocast = autocast

    @property
    def batches(self) -> int:
        """Batches in an epoch; the pairs that fill none are left out."""
        return len(self._train) // self._recipe.train.batch

    def epoch(self, epoch: int, start: int) -> Iterator[PairBatch]:
        """The batches of an epoch, from number `start` on; each process takes its share of every batch."""
        recipe, fleet = self._recipe, self._fleet
        augment = TypedPersian() if recipe.text.augment else None
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(self._train))
        for number in range(start, self.batches):
            places = range(number * recipe.train.batch, (number + 1) * recipe.train.batch)[fleet.rank :: fleet.world]
            texts = [self._train.targets[order[place]] for place in places]
            if augment is not None:
                rngs = (np.random.default_rng([recipe.seed, epoch, place]) for place in places)
                texts = [augment(text, rng) for text, rng in zip(texts, rngs, strict=True)]
            yield PairBatch(order[list(places)], [normalize(text) for text in texts])

    def backward(self, batch: object, times: Times) -> Tensor:
        """Add the gradient of a batch; returns the loss."""
        assert isinstance(batch, PairBatch)
        fleet, model = self._fleet, self._model
        rows = torch.from_numpy(np.asarray(self._teacher[batch.numbers], np.float32)).to(fleet.device)
        teacher = fleet.gather(rows)
        distance = mean_squared_error if self._recipe.loss.kind == "mse" else cosine_distance
        inputs = [x.to(fleet.device) for x in model.text.tokenize(batch.targets)]
        return backward(
            [Side(model.project_texts, inputs)],
            lambda student: distance(student, teacher),
            fleet,
            chunk=self._recipe.train.cache_chunk,
            times=times,
            autocast=self._autocast,
        )

    def validate(self) -> dict[str, float]:
        """Does a val caption find the teacher's embedding of its own source among those of all val sources?"""
        if not len(self._val):
            return {}
        index = {source: row for row, source in enumerate(dict.fromkeys(self._val.sources))}
        first = {source: at for at, source in reversed(list(enumerate(self._val.sources)))}
        gallery = np.asarray(self._val_teacher, np.float32)[[first[source] for source in index]]
        owners = np.asarray([index[source] for source in self._val.sources], np.int64)
        texts = [normalize(text) for text in self._val.targets]
        queries = embed_texts(self._model, texts, self._fleet.device, self._autocast)
        cosine = float((queries * gallery[owners]).sum(1).mean())
        return {**_scores(queries, gallery, owners), "val_cosine": round(cosine, 5)}


@torch.inference_mode()
def embed_texts(model: DualModel, texts: list[str], device: torch.device, autocast: Autocast) -> Float32:
    """Normalised texts to unit rows Float32[n, d]; texts of like length share a batch."""
    out = np.empty((len(texts), model.embed_dim), np.float32)
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    for start in range(0, len(order), _EMBED_BATCH):
        rows = order[start : start + _EMBED_BATCH]
        ids, mask = model.text.tokenize([texts[at] for at in rows])
        with autocast():
            out[rows] = model.embed_texts(ids.to(device), mask.to(device)).cpu().numpy()
    return out


def _scores(queries: Float32, gallery: Float32, owners: np.ndarray) -> dict[str, float]:
    if not (np.isfinite(queries).all() and np.isfinite(gallery).all()):
        return {MEASURE: 0.0}
    ranks = text_to_image_ranks(queries, gallery, owners)
    scores = {f"val_acc@{k}": round(float(accuracy_at_k(ranks, k)), 4) for k in (1, 5, 10)}
    return {**scores, "val_mrr": round(float(mrr(ranks)), 5)}


def teacher_embeddings(directory: Path, texts: list[str], progress: Callable[[str, int, int], None]) -> Float32:
    """Unit rows Float32[n, d] of the text half of a model directory."""
    from peyda.encoders.registry import load_encoder

    encoder = load_encoder(directory)
    out = np.empty((len(texts), encoder.embed_dim), np.float32)
    for start in range(0, len(texts), 1024):
        out[start : start + 1024] = encoder.encode_texts(texts[start : start + 1024])
        progress("teacher", min(start + 1024, len(texts)), len(texts))
    return out
