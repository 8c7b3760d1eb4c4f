"""`peyda train translator`: a small encoder-decoder from English captions to idiomatic Persian ones.

All pairs first, then more and more the native renderings, whose style is the one to reach. A checkpoint follows every
epoch; an epoch draws its randomness from (seed, epoch) alone, so that a resumed run makes the steps of an unbroken
one. The best average of the weights on the native captions of val (chrF) is what gets exported.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F

from peyda.persian import normalize
from peyda.training.batches import draw, token_batches
from peyda.training.checkpoint import Checkpoint, keep_to_data, log_line
from peyda.training.e5 import build_text_tower, read_e5
from peyda.training.features import pad
from peyda.training.pairs import NATIVE, WORD, Pair, load_held_out, load_pairs
from peyda.training.precision import autocast
from peyda.training.recipe import save_recipe
from peyda.training.scorer import average_towards
from peyda.training.text_recipe import TranslatorRecipe
from peyda.training.translator_model import TranslatorModel, greedy
from peyda.training.translator_pieces import END, PAD, START, initial_table, target_tokenizer
from peyda.training.vocabulary import common_words, e5_file_path, piece_id, pruned_tokenizer
from peyda.translate.mini_text import source_text, target_text
from peyda.types import Int64

Report = Callable[[str], None]
_COMMON_WORDS = 25_000


@dataclass
class TranslatorRun:
    """What every epoch reads: the pairs' pieces, source and target, both with their ends."""

    source: Tokenizer
    target: Tokenizer
    model: TranslatorModel
    pairs: list[Pair]
    sources: list[list[int]]
    targets: list[list[int]]
    val: list[Pair]


def train_translator(recipe: TranslatorRecipe, data: Path, run: Path, out: Path, *, report: Report) -> Path:
    """Train by a recipe and export the translator's directory; a rerun with the same arguments resumes.

    Args:
        recipe: What to train.
        data: The development data (`DATA/README.md`).
        run: Directory of this run: tokenizers, checkpoint, `metrics.jsonl`, `recipe.json`.
        out: The model directory to write.
        report: Called with a line after every epoch and stage.

    Returns:
        `out`.

    Raises:
        ConfigError: `run` belongs to another recipe, or began with other texts.
        DataError: The data is not there.
        ModelError: The pretrained encoder is not installed.
    """
    from peyda.training.translator_export import export_translator

    save_recipe(recipe, run)
    prepared = prepare_translator(recipe, data, run)
    report(
        f"{len(prepared.pairs)} pairs, {prepared.source.get_vocab_size()} English pieces, "
        f"{prepared.target.get_vocab_size()} Persian pieces, "
        f"{sum(p.numel() for p in prepared.model.parameters()):,} weights"
    )
    model = fit_translator(recipe, prepared, run, report)
    export_translator(recipe, model, prepared.source, prepared.target, out)
    report(f"translator written to {out}")
    return out


def prepare_translator(recipe: TranslatorRecipe, data: Path, run: Path) -> TranslatorRun:
    """Read the pairs, make both sets of pieces, and set up the untrained model."""
    pairs, _ = load_pairs(data)
    file = read_e5(e5_file_path(recipe.e5_weights))
    english = [source_text(pair.english) for pair in pairs]
    persian = [target_text(pair.persian) for pair in pairs]
    source, old = pruned_tokenizer(
        file,
        [*english, *english, *common_words("en", _COMMON_WORDS)],
        run / "cache",
        limit=recipe.source_pieces,
        context_length=recipe.source_limit,
    )
    native = [text for text, pair in zip(persian, pairs, strict=True) if pair.kind == NATIVE]
    target = target_tokenizer([*persian, *native], run / "cache", pieces=recipe.target_pieces)
    torch.manual_seed(recipe.seed)
    model = TranslatorModel(
        build_text_tower(file, [int(i) for i in old], recipe.encoder_layers),
        target.get_vocab_size(),
        layers=recipe.decoder_layers,
        ffn=recipe.ffn,
        limit=recipe.target_limit,
        dropout=recipe.dropout,
    )
    model.word.weight.data.copy_(torch.from_numpy(initial_table(target, file)))
    sources = [one.ids for one in source.encode_batch(english)]
    targets = [[*one.ids, END] for one in target.encode_batch(persian)]
    fits = [
        n
        for n in range(len(pairs))
        if len(sources[n]) < recipe.source_limit and 1 < len(targets[n]) < recipe.target_limit
    ]
    return TranslatorRun(
        source,
        target,
        model,
        [pairs[n] for n in fits],
        [sources[n] for n in fits],
        [targets[n] for n in fits],
        load_held_out(data, "val"),
    )


def fit_translator(recipe: TranslatorRecipe, prepared: TranslatorRun, run: Path, report: Report) -> TranslatorModel:
    """Train; resumes from `translator.pt`. Returns the best average of the weights on val."""
    model = prepared.model
    average, best = copy.deepcopy(model), copy.deepcopy(model)
    epochs = [_epoch_batches(recipe, prepared, epoch) for epoch in range(recipe.epochs)]
    _freeze(model, recipe.frozen_layers)
    ours = [p for name, p in model.named_parameters() if not name.startswith("encoder.")]
    theirs = [p for p in model.encoder.parameters() if p.requires_grad]
    rates = [recipe.encoder_learning_rate, recipe.decoder_learning_rate]
    optimizer = torch.optim.AdamW(
        [{"params": theirs, "lr": rates[0]}, {"params": ours, "lr": rates[1]}],
        betas=(0.9, 0.98),
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    steps = sum(map(len, epochs))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=max(2, steps), pct_start=0.08, cycle_momentum=False
    )
    parts = {"model": model, "average": average, "best": best, "optimizer": optimizer, "schedule": schedule}
    score = nn.ParameterDict({"chrf": nn.Parameter(torch.tensor(-1.0), requires_grad=False)})
    keep_to_data(run, map(str, prepared.pairs))
    checkpoint = Checkpoint(run / "translator.pt")
    for epoch in range(checkpoint.restore(parts | {"score": score}), recipe.epochs):
        began = time.monotonic()
        torch.manual_seed(recipe.seed * 1_000_003 + epoch)
        rng = np.random.default_rng([recipe.seed, 2, epoch])
        model.train()
        losses = []
        for step, rows in enumerate(epochs[epoch]):
            losses.append(_step(recipe, prepared, rows, rng, optimizer))
            schedule.step()
            # The average may not lag behind while the weights still run.
            average_towards(average, model, min(recipe.ema, 1 - 1 / (1 + step + epoch * len(epochs[epoch]))))
            if step % 50 == 49:
                report(f"epoch {epoch + 1} step {step + 1}/{len(epochs[epoch])} loss {np.mean(losses[-50:]):.3f}")
        chrf = validate_translator(recipe, average, prepared)
        if chrf > float(score["chrf"]):
            score["chrf"].data.fill_(chrf)
            best.load_state_dict(average.state_dict())
        values = {"epoch": epoch + 1, "loss": float(np.mean(losses)), "val_chrf": round(chrf, 2)}
        log_line(run, {**values, "seconds": round(time.monotonic() - began)}, report)
        checkpoint.save(parts | {"score": score}, epoch + 1)
    return best.eval()


def _freeze(model: TranslatorModel, layers: int) -> None:
    if layers:
        encoder = model.encoder
        for part in (encoder.word, encoder.position, encoder.norm, *encoder.layers[:layers]):
            part.requires_grad_(False)


def _epoch_batches(recipe: TranslatorRecipe, prepared: TranslatorRun, epoch: int) -> list[Int64]:
    rng = np.random.default_rng([recipe.seed, 1, epoch])
    is_last = epoch >= recipe.epochs - recipe.native_epochs
    rows = draw(prepared.pairs, recipe.native_weights if is_last else recipe.bulk_weights, rng)
    lengths = np.asarray([max(map(len, pair)) for pair in zip(prepared.sources, prepared.targets, strict=True)])
    return token_batches(rows, lengths, recipe.batch_tokens, rng)


def _step(
    recipe: TranslatorRecipe,
    prepared: TranslatorRun,
    rows: Int64,
    rng: np.random.Generator,
    optimizer: torch.optim.Optimizer,
) -> float:
    source, mask = pad(prepared.source, [prepared.sources[n] for n in rows])
    hidden = (rng.random(source.shape) < recipe.word_dropout) & (mask == 1)
    source[hidden] = piece_id(prepared.source, "<unk>")
    target = np.full((len(rows), max(len(prepared.targets[n]) for n in rows) + 1), PAD, np.int64)
    for at, n in enumerate(rows):
        # Words are like native text, which has no machine's turns of phrase.
        target[at, 0] = START if prepared.pairs[n].kind in (NATIVE, WORD) else END
        target[at, 1 : len(prepared.targets[n]) + 1] = prepared.targets[n]
    inputs, wanted = torch.from_numpy(target[:, :-1]), torch.from_numpy(target[:, 1:])
    keep = wanted != PAD
    with autocast():
        states, bias = prepared.model.encode(torch.from_numpy(source), torch.from_numpy(mask))
        logits = prepared.model.logits(prepared.model.decode(inputs, states, bias)[keep])
    loss = F.cross_entropy(logits.float(), wanted[keep], label_smoothing=recipe.smoothing)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(prepared.model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def translate_greedily(
    recipe: TranslatorRecipe, model: TranslatorModel, prepared: TranslatorRun, texts: Sequence[str]
) -> list[str]:
    """Quick translations of the model in training."""
    ids = [one.ids for one in prepared.source.encode_batch([source_text(text) for text in texts])]
    order = np.argsort([len(sequence) for sequence in ids], kind="stable")
    out = [""] * len(texts)
    for start in range(0, len(order), 200):
        rows = order[start : start + 200]
        source, mask = pad(prepared.source, [ids[n] for n in rows])
        limit = min(recipe.target_limit, 2 * source.shape[1] + 4)
        found = greedy(model, torch.from_numpy(source), torch.from_numpy(mask), start=START, end=END, limit=limit)
        for n, pieces in zip(rows, found, strict=True):
            out[n] = target_text(prepared.target.decode(pieces))
    return out


def validate_translator(recipe: TranslatorRecipe, model: TranslatorModel, prepared: TranslatorRun) -> float:
    """Character F-score (0 to 100) of quick translations against the native captions of val."""
    texts = translate_greedily(recipe, model, prepared, [pair.english for pair in prepared.val])
    return mean_chrf(texts, [pair.persian for pair in prepared.val])


def mean_chrf(texts: Sequence[str], references: Sequence[str], order: int = 6, beta: float = 2.0) -> float:
    """Character F-score over a corpus (Popović 2015, https://aclanthology.org/W15-3049), to choose by.

    Reported numbers are sacreBLEU's (`peyda evaluate translation`).
    """
    from collections import Counter

    hits, said, wanted = np.zeros(order), np.zeros(order), np.zeros(order)
    for text, reference in zip(texts, references, strict=True):
        a, b = (normalize(one).replace(" ", "") for one in (text, reference))
        for n in range(1, order + 1):
            x = Counter(a[i : i + n] for i in range(len(a) - n + 1))
            y = Counter(b[i : i + n] for i in range(len(b) - n + 1))
            hits[n - 1] += sum((x & y).values())
            said[n - 1] += x.total()
            wanted[n - 1] += y.total()
    precision, recall = hits / np.maximum(said, 1), hits / np.maximum(wanted, 1)
    mean_precision, mean_recall = float(precision.mean()), float(recall.mean())
    divisor = beta**2 * mean_precision + mean_recall
    return 100 * (1 + beta**2) * mean_precision * mean_recall / divisor if divisor else 0.0
