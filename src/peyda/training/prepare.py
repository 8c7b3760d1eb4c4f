"""What every epoch reads, computed once: vocabulary, tokenizer, frozen features, class rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from peyda.errors import ConfigError
from peyda.persian import normalize
from peyda.training.checkpoint import keep_to_data
from peyda.training.data import (
    CLASS,
    GUESSED,
    Queries,
    TrainingData,
    add_translations,
    load_queries,
    load_training_data,
)
from peyda.training.e5 import TextTransformer, build_text_tower, read_e5
from peyda.training.features import Progress, cached, digest, early_maps, late_features, text_features
from peyda.training.lite2 import Lite2, load_lite2
from peyda.training.pairs import word_pairs
from peyda.training.recipe import DataRecipe, Recipe
from peyda.training.text_pooling import FeatureScale
from peyda.training.tokenizer import E5_PREFIX
from peyda.training.vocabulary import common_words, e5_file_path, pruned_tokenizer
from peyda.types import Float32, Int64

VAL_KINDS = ("sentence", "short")
_SURE = 0.6


@dataclass
class Prepared:
    """Arrays that training reads; big ones are memory maps."""

    data: TrainingData
    tokenizer: Tokenizer
    text_tower: TextTransformer
    text_scale: FeatureScale | None
    """What was done to the pooled features of texts, where they are of several layers."""
    tower: Lite2
    maps: Float32
    """Float16[photos, c, h, w]: input of the first tuned stage."""
    image_features: Float32
    """Float32[photos, 1280] of the tower as it is now."""
    feature_views: list[Float32]
    """The same of each view (as it is, mirrored)."""
    text_row: Int64
    """Text index → row of `text_features`."""
    text_features: Float32
    """Float16[distinct texts, width], class names included."""
    val_maps: Float32
    val_features: Float32
    queries: dict[tuple[str, str], tuple[Queries, Float32]]
    class_names: list[Int64]
    """For each ImageNet class the rows of its names in `text_features`."""
    class_rows: Float32
    """Float32[classes, 1280]: the classifier's rows, centred, unit length."""
    word_rows: Int64
    """Int64[words, 2]: English and Persian words for one thing, as rows of `text_features`."""
    frozen_features: Float32
    """Float32[photos, 1280] of the pretrained tower, in whose space the classifier's rows lie."""
    feature_mean: Float32
    """Of `frozen_features`, as is the radius."""
    feature_radius: float
    transport: tuple[Float32, Float32] | None = None
    """From `frozen_features` to `image_features`, where they differ (`peyda.training.memory`)."""


def _common_words(recipe: Recipe) -> list[str]:
    return [*common_words("fa", recipe.text.persian_words), *common_words("en", recipe.text.english_words)]


def _vocabulary_texts(recipe: Recipe, texts: Iterable[str]) -> Iterator[str]:
    yield from texts
    yield from _common_words(recipe)  # read only when asked for: there are a quarter of a million


def _class_names() -> list[list[str]]:
    from peyda.persian.lexicon import imagenet_names

    return [[normalize(name) for name in (*entry.fa, *entry.en)] for entry in imagenet_names()]


def _text_tower(recipe: Recipe, texts: Iterable[str], cache: Path) -> tuple[TextTransformer, Tokenizer]:
    """The pruned tower and its tokenizer (kept in the cache, since counting pieces takes a while)."""
    file = read_e5(e5_file_path(recipe.text.weights))
    tokenizer, old = pruned_tokenizer(
        file,
        _vocabulary_texts(recipe, texts),
        cache,
        limit=recipe.text.pieces,
        context_length=recipe.text.context_length,
        prefix=E5_PREFIX,
    )
    return build_text_tower(file, [int(i) for i in old], recipe.text.layers, recipe.text.pooling), tokenizer


def prepare(recipe: Recipe, data: Path, run: Path, progress: Progress) -> Prepared:
    """Read the data and compute (or find again) every frozen feature.

    Raises:
        ConfigError: The run began with other captions.
        DataError: The data is not there.
        ModelError: A pretrained piece is not installed.
    """
    cache = run / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    training = load_training_data(data, weights=text_weights(recipe.data))
    if recipe.data.translated:
        if not recipe.data.translations:
            raise ConfigError("data.translated needs data.translations", hint="the table that peyda filter wrote")
        add_translations(training, Path(recipe.data.translations), recipe.data.translated)
    pairs = zip(training.photo_of, training.weights, training.texts, strict=True)
    keep_to_data(run, (f"{photo} {weight} {text}" for photo, weight, text in pairs))
    classes = _class_names() if recipe.classes.per_batch or recipe.data.guessed else []
    queries = {("val", kind): load_queries(data, "val", kind) for kind in VAL_KINDS}

    tower, class_weight, class_bias = load_lite2(drop_rate=recipe.tune.drop_rate)
    size, stage = recipe.image.size_px, recipe.image.stage

    def maps_of(name: str, photos: list[Path]) -> Float32:
        key = digest([str(size), str(stage), *map(str, photos)])
        return cached(
            cache / f"{name}-maps-{key}.npy",
            lambda: early_maps(tower, photos, size_px=size, stage=stage, progress=progress),
        )

    maps = maps_of("train", training.photos)
    val_maps = maps_of("val", queries["val", "sentence"].photos)
    key = digest([str(size), *map(str, training.photos)])

    def view(flip: bool) -> Float32:
        path = cache / f"train-features-{key}-{flip}.npy"
        return cached(path, lambda: late_features(tower, maps, stage=stage, flip=flip))

    views = [view(False), view(True)]
    if recipe.data.guessed:
        add_guesses(training, views[0], class_weight, class_bias, classes, recipe.data.guessed)
    words = word_pairs(data) if recipe.words.per_batch else []
    class_texts = [name for names in classes for name in names]
    distinct = list(dict.fromkeys([*training.texts, *class_texts, *(text for pair in words for text in pair)]))
    row_of = {text: row for row, text in enumerate(distinct)}
    text_tower, tokenizer = _text_tower(recipe, distinct, cache)

    def pooled(name: str, texts: list[str]) -> Float32:
        key = digest([str(recipe.text.layers), recipe.text.pooling, *texts])
        return cached(
            cache / f"{name}-texts-{key}.npy",
            lambda: text_features(text_tower, tokenizer, texts, progress=progress).astype(np.float16),
        )

    features = pooled("train", distinct)
    scale = FeatureScale.of(features) if recipe.text.pooling == "layers" else None

    def scaled(features: Float32) -> Float32:
        return features if scale is None else scale.apply(features).astype(np.float16)

    centred = class_weight - class_weight.mean(0)
    mean, radius = centre(views[0])
    return Prepared(
        data=training,
        tokenizer=tokenizer,
        text_tower=text_tower,
        text_scale=scale,
        tower=tower,
        maps=maps,
        image_features=views[0],
        frozen_features=views[0],
        feature_views=views,
        text_row=np.asarray([row_of[text] for text in training.texts], np.int64),
        text_features=scaled(features),
        val_maps=val_maps,
        val_features=late_features(tower, val_maps, stage=stage),
        queries={where: (found, scaled(pooled("-".join(where), found.texts))) for where, found in queries.items()},
        class_names=[np.asarray([row_of[name] for name in names], np.int64) for names in classes],
        word_rows=np.asarray([[row_of[text] for text in pair] for pair in words], np.int64).reshape(-1, 2),
        class_rows=torch.nn.functional.normalize(centred, dim=1).numpy(),
        feature_mean=mean,
        feature_radius=radius,
    )


def text_weights(plan: DataRecipe, *, english: float | None = None) -> dict[str, float]:
    """What `load_training_data` takes; `english` replaces the recipe's weight.

    Only the weights may differ between stages, not which texts there are: a kind is in both or in neither.

    Raises:
        ConfigError: English texts would appear or vanish.
    """
    if english is not None and (english > 0) != (plan.english > 0):
        raise ConfigError("refit.english and data.english must both be 0 or both be above 0")
    return {
        "native": plan.native,
        "machine": plan.machine,
        "english": plan.english if english is None else english,
        "class": plan.class_names,
        "guessed": plan.guessed,
        "translated": plan.translated,
    }


def add_guesses(
    training: TrainingData,
    features: Float32,
    weight: Tensor,
    bias: Tensor,
    names: Sequence[Sequence[str]],
    share: float,
) -> None:
    """Give photographs the names of the class that the pretrained classifier is sure of, as further texts.

    Args:
        training: Where the texts go. Photographs of labelled classes are left as they are.
        features: Float32[photos, 1280] of the frozen tower.
        weight: Float32[1000, 1280], the classifier's.
        bias: Float32[1000].
        names: Of each class.
        share: Weight of the new texts of a photo, all together.
    """
    logits = torch.from_numpy(np.array(features, np.float32)) @ weight.T + bias
    chance, best = logits.softmax(1).max(1)
    labelled = {photo for photo, kind in zip(training.photo_of, training.kinds, strict=True) if kind == CLASS}
    for photo in np.flatnonzero(chance.numpy() >= _SURE):
        if int(photo) not in labelled:
            found = names[int(best[photo])]
            for name in found:
                training.add(int(photo), name, GUESSED, share / len(found))


def centre(features: Float32) -> tuple[Float32, float]:
    """The mean of features, and their mean distance from it."""
    values = np.asarray(features, np.float32)
    mean = values.mean(0)
    return mean, float(np.linalg.norm(values - mean, axis=1).mean())
