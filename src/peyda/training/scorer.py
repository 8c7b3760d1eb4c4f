"""`peyda train scorer`: a shortened multilingual-e5-small, tuned on true caption pairs against damaged ones.

Stages as in `peyda.training.clip`: what is prepared is kept in the run's directory, a checkpoint follows every epoch,
and an epoch draws its randomness from (seed, epoch) alone, so that a resumed run makes the steps of an unbroken one.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from peyda.metrics import accuracy_at_k, text_to_image_ranks
from peyda.metrics.separation import area_under_curve
from peyda.persian import normalize
from peyda.quality.damages import DAMAGES, swap_pairs
from peyda.training.batches import batches_of, draw
from peyda.training.checkpoint import Checkpoint, keep_to_data, log_line
from peyda.training.e5 import build_text_tower, read_e5
from peyda.training.features import pad
from peyda.training.pairs import Pair, load_held_out, load_pairs
from peyda.training.precision import autocast
from peyda.training.recipe import save_recipe
from peyda.training.scorer_model import ScorerModel, scorer_loss
from peyda.training.text_recipe import ScorerRecipe
from peyda.training.vocabulary import common_words, e5_file_path, pruned_tokenizer
from peyda.types import Float32, Int64

Report = Callable[[str], None]
_COMMON_WORDS = 40_000


@dataclass
class ScorerRun:
    """What every epoch reads."""

    tokenizer: Tokenizer
    model: ScorerModel
    pairs: list[Pair]
    val: list[Pair]


def train_scorer(recipe: ScorerRecipe, data: Path, run: Path, out: Path, *, report: Report) -> Path:
    """Train by a recipe and export the scorer's directory; a rerun with the same arguments resumes.

    Args:
        recipe: What to train.
        data: The development data (`DATA/README.md`).
        run: Directory of this run: tokenizer, checkpoint, `metrics.jsonl`, `recipe.json`.
        out: The model directory to write.
        report: Called with a line after every epoch and stage.

    Returns:
        `out`.

    Raises:
        ConfigError: `run` belongs to another recipe, or began with other texts.
        DataError: The data is not there.
        ModelError: The pretrained encoder is not installed.
    """
    from peyda.training.scorer_export import export_scorer

    save_recipe(recipe, run)
    prepared = prepare_scorer(recipe, data, run)
    report(f"{len(prepared.pairs)} pairs, {prepared.tokenizer.get_vocab_size()} pieces")
    model = fit_scorer(recipe, prepared, run, report)
    export_scorer(recipe, model, prepared.tokenizer, out)
    report(f"scorer written to {out}")
    return out


def prepare_scorer(recipe: ScorerRecipe, data: Path, run: Path) -> ScorerRun:
    """Read the pairs, prune the vocabulary, and set up the untrained model."""
    theirs, pairs = load_pairs(data)
    file = read_e5(e5_file_path(recipe.e5_weights))
    # Pieces may come from all training text: which pieces exist says nothing about which pairs are true.
    captions = [normalize(text) for pair in (*theirs, *pairs) for text in (pair.english, pair.persian)]
    words = [*common_words("fa", _COMMON_WORDS), *common_words("en", _COMMON_WORDS)]
    tokenizer, old = pruned_tokenizer(
        file, [*captions, *captions, *words], run / "cache", limit=recipe.pieces, context_length=recipe.context_length
    )
    tower = build_text_tower(file, [int(i) for i in old], recipe.layers)
    torch.manual_seed(recipe.seed)
    model = ScorerModel(tower, recipe.dim, recipe.hidden, recipe.dropout)
    return ScorerRun(tokenizer, model, pairs, load_held_out(data, "val"))


def damaged_forms(
    pairs: Sequence[Pair], count: int, rng: np.random.Generator
) -> tuple[list[list[str]], np.ndarray[Any, np.dtype[np.bool_]]]:
    """For each pair `count` damaged captions by damages drawn at random, and which of them could be made."""
    names = list(DAMAGES)
    forms: list[list[str]] = []
    made = np.zeros((len(pairs), count), np.bool_)
    for row, pair in enumerate(pairs):
        found: list[str] = []
        for name in rng.permutation(names):
            if len(found) == count:
                break
            form = DAMAGES[str(name)](pair.english, pair.persian, rng)
            if form is not None and form != pair.persian:
                found.append(form)
        made[row, : len(found)] = True
        forms.append(found + [pair.persian] * (count - len(found)))
    return forms, made


def _encode(model: ScorerModel, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    tokens, mask = pad(tokenizer, [one.ids for one in tokenizer.encode_batch([normalize(text) for text in texts])])
    with autocast():
        pooled = model.tower(torch.from_numpy(tokens), torch.from_numpy(mask))
    rows: Tensor = model.head(pooled.float())
    return rows


@torch.inference_mode()
def embed(model: ScorerModel, tokenizer: Tokenizer, texts: Sequence[str], batch: int = 256) -> Float32:
    """`Float32[n, dim]` in the order of `texts`."""
    model.eval()
    order = np.argsort([len(text) for text in texts], kind="stable")
    out = np.empty((len(texts), model.head.linear.out_features), np.float32)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        out[rows] = _encode(model, tokenizer, [texts[i] for i in rows]).numpy()
    return out


def validate_scorer(model: ScorerModel, tokenizer: Tokenizer, pairs: Sequence[Pair]) -> dict[str, float]:
    """Accuracy among these pairs' captions, and the area under the curve for each damage."""
    rng = np.random.default_rng(0)
    english = embed(model, tokenizer, [pair.english for pair in pairs])
    persian = embed(model, tokenizer, [pair.persian for pair in pairs])
    ranks = text_to_image_ranks(english, persian, np.arange(len(pairs)))
    true = (english * persian).sum(1)
    out = {"acc@1": round(accuracy_at_k(ranks, 1), 4)}
    forms: dict[str, list[str | None]] = {"swapped_pair": list(swap_pairs([pair.persian for pair in pairs], rng))}
    for name, damage in DAMAGES.items():
        forms[name] = [damage(pair.english, pair.persian, rng) for pair in pairs]
    for name, texts in forms.items():
        rows = [n for n, text in enumerate(texts) if text is not None]
        damaged = embed(model, tokenizer, [text for text in texts if text is not None])
        out[name] = round(area_under_curve(true, (english[rows] * damaged).sum(1)), 4)
    out["auc"] = round(float(np.mean([out[name] for name in forms])), 4)
    return out


def fit_scorer(recipe: ScorerRecipe, prepared: ScorerRun, run: Path, report: Report) -> ScorerModel:
    """Tune the tower and the head; resumes from `scorer.pt`. Returns the average of the weights (EMA)."""
    model, pairs = prepared.model, prepared.pairs
    average = copy.deepcopy(model)
    lengths = np.asarray([len(pair.english) + len(pair.persian) for pair in pairs], np.int64)
    epochs = [_epoch_batches(recipe, pairs, lengths, epoch) for epoch in range(recipe.epochs)]
    tower = list(model.tower.parameters())
    others = [p for name, p in model.named_parameters() if not name.startswith("tower.")]
    optimizer = torch.optim.AdamW(
        [{"params": tower, "lr": recipe.tower_learning_rate}, {"params": others, "lr": recipe.head_learning_rate}],
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    steps = sum(len(batches) for batches in epochs)
    rates = [recipe.tower_learning_rate, recipe.head_learning_rate]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=max(2, steps), pct_start=0.1)
    parts = {"model": model, "average": average, "optimizer": optimizer, "schedule": schedule}
    keep_to_data(run, map(str, prepared.pairs))
    checkpoint = Checkpoint(run / "scorer.pt")
    for epoch in range(checkpoint.restore(parts), recipe.epochs):
        began = time.monotonic()
        torch.manual_seed(recipe.seed * 1_000_003 + epoch)
        rng = np.random.default_rng([recipe.seed, 2, epoch])
        model.train()
        losses = []
        for rows in epochs[epoch]:
            losses.append(_step(recipe, prepared, [pairs[i] for i in rows], rng, optimizer))
            schedule.step()
            average_towards(average, model, recipe.ema)
        values = {"loss": float(np.mean(losses)), **validate_scorer(average, prepared.tokenizer, prepared.val)}
        log_line(run, {"epoch": epoch + 1, **values, "seconds": round(time.monotonic() - began)}, report)
        checkpoint.save(parts, epoch + 1)
    return average.eval()


def _epoch_batches(recipe: ScorerRecipe, pairs: Sequence[Pair], lengths: Int64, epoch: int) -> list[Int64]:
    rng = np.random.default_rng([recipe.seed, 1, epoch])
    return batches_of(draw(pairs, recipe.weights, rng), lengths, recipe.batch, rng)


def _step(
    recipe: ScorerRecipe,
    prepared: ScorerRun,
    pairs: Sequence[Pair],
    rng: np.random.Generator,
    optimizer: torch.optim.Optimizer,
) -> float:
    model = prepared.model
    forms, made = damaged_forms(pairs, recipe.damages, rng)
    english = _encode(model, prepared.tokenizer, [pair.english for pair in pairs])
    texts = [pair.persian for pair in pairs] + [form for row in forms for form in row]
    persian = _encode(model, prepared.tokenizer, texts)
    damaged = persian[len(pairs) :].view(len(pairs), recipe.damages, -1)
    loss = scorer_loss(model, english, persian[: len(pairs)], damaged, torch.from_numpy(made))
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def average_towards(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move `average` a step of (1 − decay) towards `model`."""
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
