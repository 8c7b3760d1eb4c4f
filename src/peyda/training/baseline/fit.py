"""Fitting CorrNet to features: batches, validation, early stopping, and a checkpoint after every epoch.

An epoch shows every photograph once, with one of its captions, and draws its randomness from (seed, epoch) alone: a
resumed run makes the very steps of an unbroken one. What is chosen is the epoch with the best val score.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from peyda.errors import ModelError, StorageError
from peyda.metrics import accuracy_at_k, mrr, text_to_image_ranks
from peyda.training.baseline.corrnet import CorrNet
from peyda.training.baseline.recipe import BaselineRecipe
from peyda.training.checkpoint import Checkpoint, log_line
from peyda.types import Float32, Int64

Report = Callable[[str], None]
CHECKPOINT = "baseline.pt"


@dataclass(frozen=True)
class ValSet:
    """Val queries of one kind: caption vectors Float32[q, d], and the row of each one's photograph."""

    texts: Float32
    photo_of: Int64


@dataclass(frozen=True)
class BaselineData:
    """Everything that fitting reads."""

    images: Float32
    """Float32[photos, d]."""
    texts: Float32
    """Float32[texts, e]."""
    captions: list[tuple[Int64, Float32]]
    """For each photograph the rows of its texts and their sampling probabilities."""
    val_images: Float32
    val: Mapping[str, ValSet]
    """By kind; the score is the mean of their MRR."""


@dataclass
class _Best:
    """The best epoch so far; an epoch of its own for early stopping."""

    score: float = -1.0
    epoch: int = 0

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.score, self.epoch = float(state["score"]), int(state["epoch"])


def fit(recipe: BaselineRecipe, data: BaselineData, run: Path, report: Report) -> CorrNet:
    """Fit, or go on from `baseline.pt`. Returns the model of the best epoch on val.

    Raises:
        ModelError: The loss is not finite; the checkpoint of the last whole epoch stays.
        StorageError: The checkpoint cannot be written; the one before stays.
    """
    settings = recipe.fit
    torch.manual_seed(recipe.seed)
    model = CorrNet(data.images.shape[1], data.texts.shape[1], recipe.corrnet)
    images, texts = torch.from_numpy(data.images), torch.from_numpy(data.texts)
    model.image_input.set_from(images)
    model.text_input.set_from(texts)
    first = torch.from_numpy(np.asarray([rows[0] for rows, _ in data.captions], np.int64))  # a caption of each photo
    best_model, best = copy.deepcopy(model), _Best()
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    checkpoint = Checkpoint(run / CHECKPOINT)
    parts = {"model": model, "best_model": best_model, "best": best, "optimizer": optimizer}
    for epoch in range(checkpoint.restore(parts), settings.epochs):
        if epoch - best.epoch >= settings.patience:
            break
        terms = _epoch(recipe, data, images, texts, model, optimizer, epoch)
        with torch.inference_mode():
            model.eval().set_code_statistics(images, texts[first])
        scores = validate(model, data)
        if scores["score"] > best.score:
            best.score, best.epoch = scores["score"], epoch + 1
            best_model.load_state_dict(model.state_dict())
        log_line(run, {"stage": "corrnet", "epoch": epoch + 1, **terms, **scores, "best_epoch": best.epoch}, report)
        _save(checkpoint, parts, epoch + 1)
    return best_model.eval()


def _epoch(
    recipe: BaselineRecipe,
    data: BaselineData,
    images: torch.Tensor,
    texts: torch.Tensor,
    model: CorrNet,
    optimizer: torch.optim.Optimizer,
    epoch: int,
) -> dict[str, float]:
    """One pass over the photographs; the means of the loss's terms."""
    torch.manual_seed(recipe.seed * 1_000_003 + epoch + 1)
    rng = np.random.default_rng([recipe.seed, epoch])
    drawn = _draw(data.captions, rng)
    batches = np.array_split(rng.permutation(len(drawn)), -(-len(drawn) // recipe.fit.batch))
    terms: list[list[float]] = []
    model.train()
    for batch in batches:
        losses = model.losses(images[torch.from_numpy(batch)], texts[torch.from_numpy(drawn[batch])])
        total = losses.total
        if not torch.isfinite(total):
            raise _diverged(epoch)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        parts = (total, losses.both, losses.from_image, losses.from_text, losses.correlation)
        terms.append([part.item() for part in parts])
    if not all(bool(torch.isfinite(weight).all()) for weight in model.parameters()):  # the last step broke them
        raise _diverged(epoch)
    names = ("loss", "both", "from_image", "from_text", "correlation")
    return {name: float(value) for name, value in zip(names, np.mean(terms, 0), strict=True)}


def _draw(captions: list[tuple[Int64, Float32]], rng: np.random.Generator) -> Int64:
    """One caption of each photograph, Int64[photos], by their probabilities."""
    numbers = rng.random(len(captions))
    picked = [
        rows[min(int(np.searchsorted(np.cumsum(share), number, side="right")), len(rows) - 1)]
        for (rows, share), number in zip(captions, numbers, strict=True)
    ]
    return np.asarray(picked, np.int64)


def _diverged(epoch: int) -> ModelError:
    return ModelError(
        f"the loss is not finite in epoch {epoch + 1}",
        hint="lower fit.learning_rate in the recipe and choose another --run directory; the checkpoint of the last "
        "whole epoch is untouched",
    )


def _save(checkpoint: Checkpoint, parts: Mapping[str, Any], epoch: int) -> None:
    try:
        checkpoint.save(parts, epoch)
    except (OSError, RuntimeError) as error:  # torch's writer has a RuntimeError for a full disk
        raise StorageError(
            f"cannot write {checkpoint.path}: {str(error)[:200]}",
            hint="free some space and run the same command again: it goes on where it stopped",
        ) from error


@torch.inference_mode()
def validate(model: CorrNet, data: BaselineData) -> dict[str, float]:
    """Acc@1/5/10 and MRR of each kind of val query, gallery = the val photographs, and the mean MRR as `score`."""
    images = model.eval().embed_images(torch.from_numpy(data.val_images)).numpy()
    out: dict[str, float] = {}
    for kind, queries in data.val.items():
        ranks = text_to_image_ranks(
            model.embed_texts(torch.from_numpy(queries.texts)).numpy(), images, queries.photo_of
        )
        out |= {f"{kind}_acc@{k}": round(float(accuracy_at_k(ranks, k)), 4) for k in (1, 5, 10)}
        out[f"{kind}_mrr"] = round(float(mrr(ranks)), 5)
    out["score"] = round(float(np.mean([out[f"{kind}_mrr"] for kind in data.val])), 5)
    return out
