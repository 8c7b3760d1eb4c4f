"""Tuning the image tower's late stages together with the heads; resumes from `tune.pt` after any epoch."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from peyda.training.checkpoint import Checkpoint, log_line
from peyda.training.clip import Report, Sampler, batch_of, ema_update, pseudo_photographs, seed_epoch, validate
from peyda.training.features import late_features
from peyda.training.heads import DualHeads
from peyda.training.lite2 import Lite2
from peyda.training.lite2_tuning import late_pooled
from peyda.training.memory import FeatureMemory
from peyda.training.precision import autocast
from peyda.training.prepare import Prepared
from peyda.training.recipe import Recipe
from peyda.types import Bool, Float32, Int64


@dataclass
class ClipModel:
    """What tuning trains: the heads, and the image tower."""

    heads: DualHeads
    tower: Lite2

    def state_dict(self) -> dict[str, Any]:
        """Weights of both parts."""
        return {"heads": self.heads.state_dict(), "tower": self.tower.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.heads.load_state_dict(state["heads"])
        self.tower.load_state_dict(state["tower"])


def crop_maps(maps: Tensor, smallest: float, rng: np.random.Generator, sided: Bool | None = None) -> Tensor:
    """A random crop of every map, resized back, and mirrored half of the time: augmentation of cached activations.

    Args:
        maps: Float32[b, c, h, w].
        smallest: Smallest share of a side that is kept.
        rng: Source of randomness.
        sided: `bool[b]`: maps that may not be mirrored.
    """
    b = len(maps)
    sides = torch.from_numpy(rng.uniform(smallest, 1, (b, 2)).astype(np.float32))
    mirror = torch.from_numpy(rng.choice([-1.0, 1.0], b).astype(np.float32))
    if sided is not None:
        mirror = torch.where(torch.from_numpy(sided), 1.0, mirror)
    shift = torch.from_numpy(rng.uniform(-1, 1, (b, 2)).astype(np.float32)) * (1 - sides)
    theta = torch.zeros(b, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = sides[:, 0] * mirror, sides[:, 1]
    theta[:, :, 2] = shift
    grid = nn.functional.affine_grid(theta, list(maps.shape), align_corners=False)
    return nn.functional.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)


def tune(recipe: Recipe, prepared: Prepared, model: ClipModel, run: Path, report: Report) -> ClipModel:
    """Tune the late stages of the image tower with the heads. Returns the average of the weights (EMA)."""
    settings, stage = recipe.tune, recipe.image.stage
    start = model.tower.stage_start[stage]
    late = [*model.tower.blocks[start:].parameters(), *model.tower.head.parameters()]
    average = copy.deepcopy(model)
    step = _Step(recipe, prepared, model)
    steps = settings.epochs * (len(step.sampler.groups) // settings.batch)
    rates = [settings.tower_learning_rate, settings.head_learning_rate]
    optimizer = torch.optim.AdamW(
        [{"params": late, "lr": rates[0]}, {"params": list(model.heads.parameters()), "lr": rates[1]}],
        weight_decay=settings.weight_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=max(2, steps), pct_start=0.15)
    checkpoint = Checkpoint(run / "tune.pt")
    parts = {"model": model, "average": average, "optimizer": optimizer, "schedule": schedule, "memory": step.memory}
    for epoch in range(checkpoint.restore(parts), settings.epochs):
        began = time.monotonic()
        rng = seed_epoch(recipe, 2, epoch)
        step.transport = step.memory.transport(prepared.frozen_features) if recipe.classes.per_batch else None
        losses = []
        for photos, texts in step.sampler.epoch(settings.batch, rng):
            loss = step.loss(photos, texts, rng)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            ema_update(average.heads, model.heads, settings.ema)
            ema_update(average.tower, model.tower, settings.ema)
            losses.append(loss.item())
        scores = validate(prepared, average.heads, val_features(recipe, prepared, average))
        seconds = round(time.monotonic() - began)
        values = {"loss": float(np.mean(losses)), **scores, "seconds": seconds}
        log_line(run, {"stage": "tune", "epoch": epoch + 1, **values}, report)
        checkpoint.save(parts, epoch + 1)
    return average


class _Step:
    """The loss of one step, and what it keeps between steps."""

    def __init__(self, recipe: Recipe, prepared: Prepared, model: ClipModel) -> None:
        self.recipe, self.prepared, self.model = recipe, prepared, model
        self.sampler = Sampler(prepared)
        self.memory = FeatureMemory(*prepared.frozen_features.shape)
        self.transport: tuple[Float32, Float32] | None = None
        self._sided = prepared.data.sided_photos()

    def loss(self, photos: Int64, texts: Int64, rng: np.random.Generator) -> Tensor:
        """Contrastive loss of fresh, remembered and pseudo-photographs, and the tower's drift."""
        recipe, prepared, settings = self.recipe, self.prepared, self.recipe.tune
        self.model.heads.train()
        self.model.tower.train()
        order = np.argsort(photos)
        photos, texts = photos[order], texts[order]
        maps = torch.from_numpy(np.asarray(prepared.maps[photos], np.float32))
        maps = crop_maps(maps, settings.crop, rng, self._sided[photos])
        fresh = late_pooled(self.model.tower, maps, recipe.image.stage)
        frozen = torch.from_numpy(np.asarray(prepared.frozen_features[photos], np.float32))
        drift = (fresh - frozen).square().sum(1).mean() / prepared.feature_radius**2
        batch = batch_of(prepared, photos, texts, fresh)
        if len(others := self.memory.latest(settings.memory, without=photos)):
            batch += batch_of(prepared, others, self.sampler.texts(others, rng), self.memory.features[others])
        self.memory.remember(photos, fresh)
        if extra := pseudo_photographs(prepared, recipe, rng, self.transport):
            batch += extra
        with autocast():
            loss = batch.loss(self.model.heads, recipe.heads.smoothing)
        return loss + settings.anchor * drift


def val_features(recipe: Recipe, prepared: Prepared, model: ClipModel) -> Float32:
    """Pooled features of the val photos by the model's own tower."""
    return late_features(model.tower, prepared.val_maps, stage=recipe.image.stage)
