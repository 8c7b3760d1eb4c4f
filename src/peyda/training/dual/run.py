"""`peyda train clip` with a recipe that has a `[towers]` table: from data to a model directory."""

from __future__ import annotations

from pathlib import Path

import torch

from peyda.errors import ConfigError
from peyda.persian import normalize
from peyda.training.dual.data import Pairs, pair_data, photo_data
from peyda.training.dual.export import export_model
from peyda.training.dual.fleet import Fleet
from peyda.training.dual.loop import Progress, Report, precision_context, train
from peyda.training.dual.model import DualModel
from peyda.training.dual.objectives import Contrastive, Distillation, Objective, teacher_embeddings
from peyda.training.dual.recipe import DualRecipe, check_recipe
from peyda.training.dual.state import storage_errors
from peyda.training.dual.towers import load_image_tower, load_text_tower
from peyda.training.dual.towers_own import FinishedTower
from peyda.training.features import cached, digest
from peyda.training.loading import SkipLog
from peyda.training.recipe import save_recipe
from peyda.types import Float32


def train_dual(
    recipe: DualRecipe,
    *,
    captions: Path | None,
    images: Path | None,
    data: Path | None,
    run: Path,
    out: Path,
    report: Report,
    progress: Progress,
) -> Path:
    """Train by a recipe and export the model; the same call again goes on where a killed one stopped.

    Args:
        recipe: What to train.
        captions: A caption table.
        images: The folder of its photographs; distillation needs none.
        data: The project's development data, where no table is named.
        run: Directory of this run: `recipe.json`, `last.pt`, `best.pt`, `metrics.jsonl`, vocabulary and teacher.
        out: The model directory to write.
        report: Called with a line after every epoch and at the end.
        progress: Called with (what, done, total).

    Returns:
        `out`.

    Raises:
        ConfigError: The recipe asks for what cannot be, no data is named, or `run` is of another recipe.
        DataError: The data cannot be used.
        ModelError: A tower or its library is not there, the loss is not finite, or the export differs from torch.
        StorageError: The disk is full; the last good checkpoint is whole.
    """
    check_recipe(recipe)
    with storage_errors(run):
        fleet = Fleet()
        autocast = precision_context(recipe, fleet.device)
        if recipe.train.batch % fleet.world:
            raise ConfigError(f"train.batch {recipe.train.batch} cannot be shared out among {fleet.world} processes")
        say = report if fleet.is_main else _silent
        if fleet.is_main:
            save_recipe(recipe, run)
        fleet.wait()
        skipped = SkipLog()
        objective: Objective
        if recipe.is_distillation:
            pairs, held = pair_data(recipe, captions, data)
            say(f"{len(pairs)} pairs to train on, {len(held)} to choose by")
            model = _model(recipe, pairs.targets, run, fleet)
            teacher, held_teacher = _teachers(model, pairs, held, run, fleet, progress)
            objective = Distillation(model, pairs, teacher, held, held_teacher, fleet, autocast)
        else:
            photos = photo_data(recipe, captions, images, data)
            texts = [text for number in range(len(photos.train)) for text in photos.train.texts_of(number)]
            held_count = 0 if photos.val is None else len(photos.val)
            say(f"{len(photos.train)} photographs, {len(texts)} captions; {held_count} photographs to choose by")
            model = _model(recipe, texts, run, fleet)
            objective = Contrastive(model, photos, fleet, autocast, skipped)
        learning = sum(parameter.numel() for parameter in model.learning().values())
        say(f"{learning:,} of {sum(p.numel() for p in model.parameters()):,} parameters learn, on {fleet.device}")
        train(model, objective, run, fleet, report=say, progress=progress if fleet.is_main else _still)
        if str(skipped):
            say(str(skipped))
        if fleet.is_main:
            measured = objective.validate()
            export_model(model, out, measured=measured)
            say(f"model written to {out}")
        fleet.wait()
    return out


def _model(recipe: DualRecipe, texts: list[str], run: Path, fleet: Fleet) -> DualModel:
    def load() -> DualModel:
        image = load_image_tower(recipe)
        text = load_text_tower(recipe, (normalize(one) for one in texts), run / "vocabulary")
        return DualModel(image, text, recipe)

    if fleet.is_main:  # first, since it may fetch files and choose the vocabulary
        model = load()
    fleet.wait()
    if not fleet.is_main:
        model = load()
    if not model.learning():
        raise ConfigError("everything is frozen: nothing would learn")
    return model.to(fleet.device)


def _teachers(
    model: DualModel, pairs: Pairs, held: Pairs, run: Path, fleet: Fleet, progress: Progress
) -> tuple[Float32, Float32]:
    """The teacher's embeddings of both sets, kept in the run's directory."""
    net = model.image.net
    assert isinstance(net, FinishedTower)

    def of(name: str, texts: list[str]) -> Float32:
        path = run / "cache" / f"{name}-{digest([net.encoder.fingerprint, *texts])}.npy"
        return cached(path, lambda: teacher_embeddings(net.directory, texts, progress))

    if fleet.is_main:
        of("teacher", pairs.sources)
    fleet.wait()
    empty: Float32 = torch.zeros(0, model.embed_dim).numpy()
    return of("teacher", pairs.sources), of("teacher-val", held.sources) if len(held) else empty


def _silent(_line: str) -> None:
    """What processes other than the main one say."""


def _still(_what: str, _done: int, _total: int) -> None:
    """What processes other than the main one show."""
