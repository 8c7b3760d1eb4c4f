"""The loop: batches into steps, steps into epochs, with checkpoints, averages, early stopping and a log.

Randomness comes from (seed, epoch, batch) alone: the order and the augmentation are drawn by the objective, torch's own
state is set before every batch. So a run that was killed and goes on makes the very steps of one that was not; on a
processor it ends with the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from peyda.errors import ConfigError, DataError, ModelError
from peyda.training.checkpoint import log_line
from peyda.training.dual.fleet import Fleet
from peyda.training.dual.model import Average, DualModel, load_learning, parameter_groups
from peyda.training.dual.objectives import MEASURE, Objective
from peyda.training.dual.recipe import DualRecipe, TrainRecipe
from peyda.training.dual.state import (
    LAST,
    Learning,
    Standing,
    load_best,
    open_tensorboard,
    restore_state,
    save_best,
    save_state,
    trim_log,
)

Report = Callable[[str], None]
Progress = Callable[[str, int, int], None]
_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def precision_context(recipe: DualRecipe, device: torch.device) -> Callable[[], AbstractContextManager[None]]:
    """What makes contexts of the recipe's mixed precision.

    Raises:
        ConfigError: float16 without a GPU.
    """
    name = recipe.train.precision
    if name == "float32":
        return nullcontext
    if name == "float16" and device.type != "cuda":
        raise ConfigError("train.precision float16 needs a GPU", hint='"bfloat16" works on processors too')
    return lambda: torch.autocast(device.type, _DTYPES[name])


@dataclass
class _Steps:
    """Everything that a step changes."""

    model: DualModel
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    scaler: torch.amp.GradScaler
    average: Average | None
    standing: Standing

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        parts: dict[str, Any] = {
            "model": Learning(self.model),
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "scaler": self.scaler,
            "standing": self.standing,
        }
        return parts if self.average is None else {**parts, "average": self.average}


def train(
    model: DualModel, objective: Objective, run: Path, fleet: Fleet, *, report: Report, progress: Progress
) -> None:
    """Train by the model's recipe; goes on from `last.pt` of the run. The model ends with the weights to export: those
    of the epoch with the best val Acc@10, or of the last one where nothing is measured.

    Args:
        model: On the fleet's device.
        objective: What it is trained for.
        run: The run's directory.
        fleet: The processes.
        report: Called with a line after every epoch.
        progress: Called with (epoch, steps done, steps).

    Raises:
        DataError: There is less than a batch of data.
        ModelError: The loss or its gradient is not finite, or a checkpoint cannot be used; `last.pt` stays as it was.
        StorageError: A checkpoint cannot be written; the one before stays whole.
    """
    recipe = model.recipe
    settings = recipe.train
    if not objective.batches:
        raise DataError(
            f"there is less data than one batch of {settings.batch}", hint="take smaller batches or more data"
        )
    steps_per_epoch = math.ceil(objective.batches / settings.accumulate)
    steps = _prepare(model, fleet, settings, steps_per_epoch)
    parts = steps.parts()
    done = restore_state(run, parts)
    standing = steps.standing
    with ExitStack() as stack:
        writer = None
        if fleet.is_main:
            trim_log(run, done)
            if settings.tensorboard:
                writer = stack.enter_context(closing(open_tensorboard(run, done * steps_per_epoch + standing.step)))
        for epoch in range(done, settings.epochs):
            if standing.is_over:
                break
            model.train()
            for _ in _epoch(objective, epoch, steps, fleet, run):
                standing.step += 1
                progress(f"epoch {epoch + 1}", standing.step, steps_per_epoch)
                every = settings.checkpoint_steps
                if every and standing.step % every == 0 and standing.step < steps_per_epoch and fleet.is_main:
                    save_state(run, parts, epoch)
            values = _finish_epoch(objective, epoch, steps, fleet, run)
            if fleet.is_main:
                save_state(run, parts, epoch + 1)
                log_line(run, {"epoch": epoch + 1, **values}, report)
                if writer is not None:
                    for name, value in values.items():
                        writer.add_scalar(name, value, (epoch + 1) * steps_per_epoch)
            fleet.wait()
    if standing.best_epoch:
        load_best(run, model)
        report(f"epoch {standing.best_epoch} has the best {MEASURE}: {standing.best[0]:.4g}")
    elif steps.average is not None:
        load_learning(model, steps.average.values)
    model.eval()


def _prepare(model: DualModel, fleet: Fleet, settings: TrainRecipe, steps_per_epoch: int) -> _Steps:
    total = steps_per_epoch * settings.epochs
    optimizer = torch.optim.AdamW(parameter_groups(model))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_share(settings, step, total))
    scaler = torch.amp.GradScaler(fleet.device.type, enabled=settings.precision == "float16")
    average = Average(model, settings.ema) if settings.ema else None
    return _Steps(model, optimizer, schedule, scaler, average, Standing())


def rate_share(settings: TrainRecipe, step: int, total: int) -> float:
    """The share of its rate at which a group learns in step 0, 1, …: up in a straight line, then down to 0."""
    warmup = min(settings.warmup_steps, max(1, total // 2))
    if step < warmup:
        return (step + 1) / warmup
    rest = (step - warmup) / max(1, total - warmup)
    if settings.schedule == "linear":
        return max(0.0, 1 - rest)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, rest)))


def _epoch(objective: Objective, epoch: int, steps: _Steps, fleet: Fleet, run: Path) -> Iterator[float]:
    """The steps of an epoch from where the standing is; gives each one's loss."""
    settings = steps.model.recipe.train
    number = steps.standing.step * settings.accumulate
    batches = objective.epoch(epoch, number)
    with ExitStack() as stack:
        if close := getattr(batches, "close", None):
            stack.callback(close)  # ends the loader's threads
        left = objective.batches - number
        while left > 0:
            count = min(settings.accumulate, left)
            left -= count
            total = 0.0
            for batch in islice(batches, count):
                _seed(steps.model.recipe.seed, epoch, number, fleet.rank)
                number += 1
                loss = objective.backward(batch, partial(_scaled, steps.scaler, count))
                total += _finite(loss, epoch, number, run)
            _step(steps, fleet, epoch, number, run)
            steps.standing.loss_sum += total / count
            steps.standing.losses += 1
            yield total / count


def _scaled(scaler: torch.amp.GradScaler, count: int, loss: Tensor) -> Tensor:
    """A loss as it goes back: its share of a step of `count` batches, scaled for float16."""
    scaled: Tensor = scaler.scale(loss) / count
    return scaled


def _seed(seed: int, epoch: int, batch: int, rank: int) -> None:
    torch.manual_seed((((seed * 1_000_003 + epoch) * 1_000_033 + batch) * 1_009 + rank) % 2**63)


def _finite(loss: Tensor, epoch: int, batch: int, run: Path) -> float:
    value = float(loss)
    if not math.isfinite(value):
        raise _diverged(f"the loss is {value}", epoch, batch, run)
    return value


def _step(steps: _Steps, fleet: Fleet, epoch: int, batch: int, run: Path) -> None:
    model, settings = steps.model, steps.model.recipe.train
    steps.scaler.unscale_(steps.optimizer)
    for shared in (model.logit_scale, model.logit_bias):
        if shared.grad is not None:
            shared.grad /= fleet.world
    learning = list(model.learning().values())
    fleet.sum_gradients(learning)
    norm = torch.nn.utils.clip_grad_norm_(learning, settings.clip_norm or math.inf)
    if not steps.scaler.is_enabled() and not math.isfinite(float(norm)):
        raise _diverged(f"the gradient is {float(norm)}", epoch, batch, run)
    steps.scaler.step(steps.optimizer)
    steps.scaler.update()
    steps.schedule.step()
    steps.optimizer.zero_grad()
    if steps.average is not None:
        steps.average.update(model)


def _diverged(what: str, epoch: int, batch: int, run: Path) -> ModelError:
    kept = f"{run / LAST} holds the last good state; " if (run / LAST).is_file() else ""
    return ModelError(
        f"{what} in epoch {epoch + 1}, batch {batch}",
        hint=f"{kept}lower the learning rates, or raise train.warmup_steps, and choose another --run",
    )


def _finish_epoch(objective: Objective, epoch: int, steps: _Steps, fleet: Fleet, run: Path) -> dict[str, float]:
    """Measure, keep the best, decide whether to go on; returns what is logged."""
    model, standing, patience = steps.model, steps.standing, steps.model.recipe.train.patience
    model.eval()
    with steps.average.in_place(model) if steps.average is not None else nullcontext():
        values = fleet.from_main(objective.validate() if fleet.is_main else {})
        score = [values[MEASURE], values["val_mrr"]] if values else []
        if score > standing.best:
            standing.best, standing.best_epoch = score, epoch + 1
            if fleet.is_main:
                save_best(run, {name: value.detach() for name, value in model.learning().items()})
    standing.is_over = bool(patience and epoch + 1 - standing.best_epoch >= patience)
    loss = standing.loss_sum / max(1, standing.losses)
    standing.step, standing.loss_sum, standing.losses = 0, 0.0, 0
    return {"loss": round(loss, 6), **values}
