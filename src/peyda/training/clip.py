"""Training the heads of the dual encoder on features, and what every stage shares: batches, validation, seeds.

Every stage keeps its results there and a rerun goes on where the
last one stopped: feature caches are whole files, and a checkpoint is written after every epoch. An epoch draws its
randomness from (seed, stage, epoch) alone, so that a resumed run makes the very steps that an unbroken one makes.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from peyda.metrics import accuracy_at_k, mrr, text_to_image_ranks
from peyda.training.checkpoint import Checkpoint, log_line
from peyda.training.data import Queries
from peyda.training.heads import DualHeads, JoinedHeads, contrastive_loss
from peyda.training.prepare import Prepared
from peyda.training.recipe import Recipe
from peyda.types import Float32, Int64

Report = Callable[[str], None]


@dataclass
class Batch:
    """Features of both sides of a contrastive batch, row by row."""

    images: Tensor
    """Float32[b, 1280]."""
    texts: Tensor
    """Float32[b, h]."""
    labels: Tensor
    """Int64[b]: the photo, or a negative number for each class of pseudo-photographs."""
    text_rows: Tensor
    """Int64[b]: which text."""

    def loss(self, heads: DualHeads, smoothing: float) -> Tensor:
        """Contrastive loss; rows of one photo, or with one text, are positives of each other."""
        return contrastive_loss(
            heads.image(self.images), heads.text(self.texts), self.labels, heads.scale, smoothing, self.text_rows
        )

    def __add__(self, other: Batch) -> Batch:
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self))
        return Batch(*(torch.cat(pair) for pair in pairs))


def batch_of(prepared: Prepared, photos: Int64, texts: Int64, images: Tensor) -> Batch:
    """A batch of photographs with the given features and texts."""
    rows = prepared.text_row[texts]
    words = torch.from_numpy(prepared.text_features[rows].astype(np.float32))
    return Batch(images, words, torch.from_numpy(photos), torch.from_numpy(rows))


class Sampler:
    """Draws batches: every training photo once an epoch, with one of its texts."""

    def __init__(self, prepared: Prepared) -> None:
        self.groups = prepared.data.captions_by_photo()

    def epoch(self, batch: int, rng: np.random.Generator) -> Iterator[tuple[Int64, Int64]]:
        """(photo indices, text indices), both Int64[batch]; the last, smaller batch is left out."""
        order = rng.permutation(len(self.groups))
        for start in range(0, len(order) - batch + 1, batch):
            photos = order[start : start + batch]
            yield photos, self.texts(photos, rng)

    def texts(self, photos: Int64, rng: np.random.Generator) -> Int64:
        """A text of each photo: Int64[len(photos)]."""
        return np.asarray([rng.choice(self.groups[p][0], p=self.groups[p][1]) for p in photos], np.int64)


def pseudo_photographs(
    prepared: Prepared, recipe: Recipe, rng: np.random.Generator, transport: tuple[Float32, Float32] | None = None
) -> Batch | None:
    """Features that stand for ImageNet classes, each with one of its names.

    mean + along · radius · (the class's centred classifier row, unit length) + real · (a real photo's offset): where
    photographs of a class that the backbone knows would lie, for classes that have no photographs here.

    Args:
        prepared: Features of the frozen tower, the classifier's rows.
        recipe: How many, and how far along.
        rng: Source of randomness.
        transport: Matrix and offset that take the frozen tower's features to the tuned one's (`FeatureMemory`).

    Returns:
        None where the recipe wants none.
    """
    count = recipe.classes.per_batch
    if not count:
        return None
    classes = rng.choice(len(prepared.class_rows), min(count, len(prepared.class_rows)), replace=False)
    frozen = prepared.frozen_features
    real = frozen[rng.integers(0, len(frozen), len(classes))]
    offsets = np.asarray(real, np.float32) - prepared.feature_mean
    features = (
        prepared.feature_mean
        + recipe.classes.along * prepared.feature_radius * prepared.class_rows[classes]
        + recipe.classes.real * offsets
    )
    if transport is not None:
        # Features are means of what a ReLU6 gives.
        features = np.maximum(features @ transport[0] + transport[1], 0)
    names = np.asarray([rng.choice(prepared.class_names[c]) for c in classes], np.int64)
    return Batch(
        torch.from_numpy(np.asarray(features, np.float32)),
        torch.from_numpy(prepared.text_features[names].astype(np.float32)),
        torch.from_numpy(-1 - classes.astype(np.int64)),
        torch.from_numpy(names),
    )


def word_loss(prepared: Prepared, recipe: Recipe, heads: DualHeads, rng: np.random.Generator) -> Tensor:
    """Contrastive loss of the text head between English and Persian words for one thing.

    Persian names that no photograph has then lie where their English ones do.
    """
    count = min(recipe.words.per_batch, len(prepared.word_rows))
    rows = prepared.word_rows[rng.choice(len(prepared.word_rows), count, replace=False)]
    english, persian = (
        heads.text(torch.from_numpy(prepared.text_features[rows[:, side]].astype(np.float32))) for side in (0, 1)
    )
    labels, text_ids = torch.from_numpy(rows[:, 0]), torch.from_numpy(rows[:, 1])
    return contrastive_loss(english, persian, labels, heads.scale, recipe.heads.smoothing, text_ids)


@torch.inference_mode()
def evaluate(
    heads: DualHeads | JoinedHeads, image_features: Float32, text_features: Float32, queries: Queries
) -> dict[str, float]:
    """Acc@1/5/10 and MRR, text to image, gallery = all photos of the set."""
    heads.eval()
    images = heads.image(torch.from_numpy(np.array(image_features, np.float32))).numpy()
    texts = heads.text(torch.from_numpy(np.array(text_features, np.float32))).numpy()
    ranks = text_to_image_ranks(texts, images, queries.photo_of)
    scores = {f"acc@{k}": float(accuracy_at_k(ranks, k)) for k in (1, 5, 10)}
    return {**scores, "mrr": float(mrr(ranks))}


def validate(prepared: Prepared, heads: DualHeads | JoinedHeads, image_features: Float32) -> dict[str, float]:
    """The numbers that choices are made on: native sentences and short phrases of val, and their mean MRR."""
    out: dict[str, float] = {}
    for kind in ("sentence", "short"):
        queries, features = prepared.queries["val", kind]
        for name, value in evaluate(heads, image_features, features, queries).items():
            out[f"{kind}_{name}"] = round(value, 4)
    out["score"] = round((out["sentence_mrr"] + out["short_mrr"]) / 2, 5)
    return out


def seed_epoch(recipe: Recipe, stage: int, epoch: int) -> np.random.Generator:
    """Seeds torch, and returns the generator of everything else, for one epoch of one stage."""
    torch.manual_seed(recipe.seed * 1_000_003 + stage * 10_007 + epoch)
    return np.random.default_rng([recipe.seed, stage, epoch])


def ema_update(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the average towards the model: weights by `decay`, counters as they are."""
    with torch.no_grad():
        for a, b in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
            if a.dtype.is_floating_point:
                a.lerp_(b, 1 - decay)
            else:
                a.copy_(b)


def train_heads(
    recipe: Recipe,
    prepared: Prepared,
    run: Path,
    report: Report,
    *,
    stage: str = "heads",
    start: DualHeads | None = None,
) -> DualHeads:
    """Heads on the features of `prepared`; resumes from `STAGE.pt`. Returns the average of the weights (EMA).

    `stage` is "heads", or whatever else a member of the refit is called; `start` are heads to go on from.
    """
    settings = recipe.heads
    is_refit = stage != "heads"
    if is_refit:
        plan = recipe.refit
        settings = dataclasses.replace(
            settings,
            epochs=plan.epochs,
            batch=plan.batch,
            learning_rate=plan.learning_rate,
            dropout=plan.dropout,
            scale=plan.scale,
        )
        recipe = dataclasses.replace(recipe, classes=dataclasses.replace(recipe.classes, per_batch=plan.per_batch))
    torch.manual_seed(recipe.seed)
    heads = DualHeads(
        prepared.image_features.shape[1],
        prepared.text_features.shape[1],
        settings.dim,
        settings.hidden,
        settings.dropout,
        settings.scale,
    )
    if start is not None:
        heads.load_state_dict(start.state_dict())
    average = copy.deepcopy(heads)
    sampler = Sampler(prepared)
    steps = settings.epochs * (len(sampler.groups) // settings.batch)
    optimizer = torch.optim.AdamW(heads.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=max(2, steps), pct_start=0.1
    )
    checkpoint = Checkpoint(run / f"{stage}.pt")
    parts = {"heads": heads, "average": average, "optimizer": optimizer, "schedule": schedule}
    first = checkpoint.restore(parts)
    for epoch in range(first, settings.epochs):
        rng = seed_epoch(recipe, 3 if is_refit else 1, epoch)
        heads.train()
        losses = []
        for photos, texts in sampler.epoch(settings.batch, rng):
            views = prepared.feature_views[rng.integers(0, len(prepared.feature_views))]
            batch = batch_of(prepared, photos, texts, torch.from_numpy(np.asarray(views[photos], np.float32)))
            if extra := pseudo_photographs(prepared, recipe, rng, prepared.transport):
                batch += extra
            loss = batch.loss(heads, settings.smoothing)
            if len(prepared.word_rows):
                loss = loss + recipe.words.weight * word_loss(prepared, recipe, heads, rng)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            ema_update(average, heads, 0.98)
            losses.append(loss.item())
        values = {"loss": float(np.mean(losses)), **validate(prepared, average, prepared.val_features)}
        log_line(run, {"stage": stage, "epoch": epoch + 1, **values}, report)
        checkpoint.save(parts, epoch + 1)
    return average.eval()
