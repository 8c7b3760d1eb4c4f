"""Towers of this project: EfficientNet-Lite2, the pruned multilingual-e5-small, small ones of random weights, and the
image half of a finished model.

`random:vit-LAYERSxWIDTH` and `random:bert-LAYERSxWIDTH` start from nothing: they are for trying a recipe in seconds and
for tests, and know what the captions of that run taught them, no more. The image one is a plain vision transformer
(Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929) with the mean over its patches, the text one reads byte
pairs learned from the captions of the run; the layers of both are those of `peyda.training.e5`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn

from peyda.encoders.directory import PreprocessConfig
from peyda.errors import ConfigError, ModelError
from peyda.training.dual.recipe import DualRecipe
from peyda.training.dual.towers import Groups, ImageTower, TextTower, groups_of
from peyda.training.e5 import TextConfig, TextTransformer, build_text_tower, read_e5
from peyda.training.features import lite2_preprocess
from peyda.training.lite2 import FEATURES, load_lite2
from peyda.training.vocabulary import common_words, e5_file_path, pruned_tokenizer

_RANDOM = re.compile(r"(vit|bert)-(\d+)x(\d+)")
_LITE2_SIZE_PX = 260
_RANDOM_SIZE_PX = 64
_HEAD_WIDTH = 32
_COMMON_WORDS = (("fa", 200_000), ("en", 60_000))
_PATCHES_A_SIDE = 8


def own_image_tower(recipe: DualRecipe) -> ImageTower:
    """`lite2` or `random:vit-LAYERSxWIDTH`.

    Raises:
        ConfigError: The name is neither, or the size does not divide into patches.
        ModelError: The pretrained weights are not installed.
    """
    if recipe.towers.image == "lite2":
        net, _, _ = load_lite2()
        size = recipe.image.size_px or _LITE2_SIZE_PX
        stages: Groups = [list(net.stem.parameters())]
        ends = [*net.stage_start[1:], len(net.blocks)]
        for start, end in zip(net.stage_start, ends, strict=True):
            stages.append([p for block in net.blocks[start:end] for p in block.parameters()])
        return ImageTower(net, FEATURES, lite2_preprocess(size), [*stages, list(net.head.parameters())])
    layers, width = _random_shape(recipe.towers.image, "vit")
    size = recipe.image.size_px or _RANDOM_SIZE_PX
    if size % _PATCHES_A_SIDE:
        raise ConfigError(f"image.size_px of random:vit must be a multiple of {_PATCHES_A_SIDE}, not {size}")
    vit = _Vit(layers, width, size)
    half = (0.5, 0.5, 0.5)
    return ImageTower(vit, width, PreprocessConfig(size, half, half, "bilinear", "squash"), groups_of(vit))


def own_text_tower(recipe: DualRecipe, texts: Iterable[str], folder: Path) -> TextTower:
    """`e5[:LAYERS]` or `random:bert-LAYERSxWIDTH`; a vocabulary once chosen is kept in `folder`.

    Raises:
        ConfigError: The name is neither.
        ModelError: The pretrained weights are not here.
    """
    settings = recipe.text
    name = recipe.towers.text
    if name.split(":")[0] == "e5":
        layers = _e5_layers(name)
        file = read_e5(e5_file_path(settings.weights))
        words = (
            word for language, count in (("fa", 200_000), ("en", 60_000)) for word in common_words(language, count)
        )
        tokenizer, old = pruned_tokenizer(
            file,
            (text for source in (texts, words) for text in source),
            folder,
            limit=settings.pieces,
            context_length=settings.context_length,
        )
        if layers > file.config.layers:
            raise ConfigError(f"towers.text = {name!r}: it has {file.config.layers} layers")
        net = build_text_tower(file, [int(i) for i in old], layers or None)
    else:
        layers, width = _random_shape(name, "bert")
        tokenizer = _learned_tokenizer(texts, folder / "tokenizer.json", settings.pieces)
        net = TextTransformer(
            TextConfig(
                hidden=width,
                layers=layers,
                heads=width // _HEAD_WIDTH,
                ffn=4 * width,
                vocab=tokenizer.get_vocab_size(),
                max_positions=settings.context_length,
            )
        )
        for table in (net.word, net.position):
            nn.init.normal_(table.weight, std=0.02)
    if settings.context_length > net.config.max_positions:
        raise ConfigError(f"text.context_length: {name} reads at most {net.config.max_positions} tokens")
    return TextTower(net, net.config.hidden, tokenizer, "<pad>", settings.context_length, groups_of(net))


def _e5_layers(name: str) -> int:
    layers = name.partition(":")[2]
    if layers and not (layers.isdigit() and int(layers)):
        raise ConfigError(f"towers.text = {name!r}: after e5: comes a number of layers", hint="such as e5:6")
    return int(layers or 0)


def _random_shape(name: str, kind: str) -> tuple[int, int]:
    match = _RANDOM.fullmatch(name.removeprefix("random:"))
    if match is None or match[1] != kind or not int(match[2]) or int(match[3]) % _HEAD_WIDTH or not int(match[3]):
        raise ConfigError(
            f"no random tower {name!r}",
            hint=f"random:{kind}-LAYERSxWIDTH, such as random:{kind}-2x64; the width is a multiple of {_HEAD_WIDTH}",
        )
    return int(match[2]), int(match[3])


class _Vit(nn.Module):
    """Patches, learned positions, layers, the mean over patches."""

    no_mask: Tensor

    def __init__(self, layers: int, width: int, size_px: int) -> None:
        super().__init__()
        patch = size_px // _PATCHES_A_SIDE
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.position = nn.Parameter(torch.randn(1, _PATCHES_A_SIDE**2, width) * 0.02)
        shape = TextConfig(width, layers, width // _HEAD_WIDTH, 4 * width, vocab=1, max_positions=1)
        self.layers = TextTransformer(shape).layers
        self.norm = nn.LayerNorm(width)
        self.register_buffer("no_mask", torch.zeros(1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        x: Tensor = self.patches(pixels).flatten(2).transpose(1, 2) + self.position  # (b, patches, width)
        for layer in self.layers:
            x = layer(x, self.no_mask)
        pooled: Tensor = self.norm(x).mean(1)
        return pooled


def _learned_tokenizer(texts: Iterable[str], path: Path, pieces: int) -> Tokenizer:
    """Byte pairs of these texts, kept at `path`; a text becomes `<s> … </s>`."""
    if not path.is_file():
        specials = ["<s>", "<pad>", "</s>", "<unk>"]
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=pieces, special_tokens=specials, show_progress=False)
        tokenizer.train_from_iterator(texts, trainer)
        ends = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A $B </s>", ends)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(tokenizer.to_str(), encoding="utf-8")
        temporary.rename(path)
    return Tokenizer.from_file(str(path))


class FinishedTower(nn.Module):
    """The image half of a model directory: embeddings, and nothing that could learn."""

    def __init__(self, directory: Path) -> None:
        from peyda.encoders.onnx_encoder import OnnxEncoder

        super().__init__()
        self.directory = directory
        self.encoder = OnnxEncoder(directory)

    @property
    def fingerprint(self) -> str:
        """Of the whole model: it teaches with one half and stays with the other."""
        return self.encoder.fingerprint

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels to unit rows."""
        return torch.from_numpy(self.encoder.encode_pixels(pixels.float().cpu().numpy())).to(pixels.device)


def finished_image_tower(name: str) -> ImageTower:
    """`model:NAME_OR_DIR`: as `peyda.load_encoder` finds it.

    Raises:
        ModelError: There is no such model.
    """
    from peyda.encoders.registry import resolve_model

    directory = resolve_model(Path(name) if os.sep in name else name)
    try:
        net = FinishedTower(directory)
    except ModelError as error:
        raise ModelError(f"towers.image = 'model:{name}': {error.message}", hint=error.hint) from error
    return ImageTower(net, net.encoder.embed_dim, net.encoder.preprocess_config, [[]])
