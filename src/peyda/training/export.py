"""From a trained run to a model directory that `peyda.encoders` loads."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from peyda.encoders.directory import file_records, write_json
from peyda.encoders.image_graph import FEATURES, attach_head, quantize_backbone
from peyda.encoders.text_graph import TextGraphConfig, build_text_graph
from peyda.persian import NORMALIZER_VERSION
from peyda.training.features import lite2_preprocess, load_pixels
from peyda.training.heads import JoinedHead, JoinedHeads
from peyda.training.lite2 import Lite2
from peyda.training.model_files import replace_directory, tower_weights, write_tokenizer
from peyda.training.prepare import Prepared
from peyda.training.recipe import Recipe
from peyda.training.vocabulary import piece_id
from peyda.types import Float32

_CALIBRATION_PHOTOS = 64
_LICENCE = "Apache-2.0 (started from EfficientNet-Lite2, Apache-2.0, and multilingual-e5-small, MIT; see NOTICE)"


def export_model(recipe: Recipe, prepared: Prepared, backbone: Path, heads: JoinedHeads, out: Path) -> None:
    """Write the model directory; an older one there is replaced only when the new one is whole.

    `backbone` is what `quantize_tower` made; `heads` were fitted to its features.

    The model card is not written here: it holds measured numbers (`docs/training.md`).
    """

    def fill(folder: Path) -> None:
        (folder / "visual").mkdir()
        (folder / "textual").mkdir()
        _export_visual(recipe, backbone, heads, folder / "visual")
        _export_textual(recipe, prepared, heads, folder / "textual")
        _write_config(recipe, prepared, folder)

    replace_directory(out, fill)


def head_weights(head: JoinedHead) -> dict[str, Float32]:
    """By the names that `peyda.encoders.onnx_parts.add_head` knows them by."""
    column = head.correction.weights() if head.correction else {}
    weights = {name: value.detach().float().numpy() for name, value in (head.state_dict() | column).items()}
    if len(head.heads) == 1 and not column:
        # The turn of a single head changes no cosine.
        return {f"head.{name.removeprefix('heads.0.')}": value for name, value in weights.items() if name != "turn"}
    return {f"head.{name.removeprefix('heads.')}": value for name, value in weights.items()}


def export_features(module: nn.Module, size_px: int, path: Path) -> None:
    """A torch module, pixels Float32[b, 3, s, s] → Float32[b, d], as a float graph `image` → `features`."""
    with warnings.catch_warnings():
        # The exporter warns of its own future, and that sizes become constants, which is what is wanted here.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.float().eval(),
            (torch.zeros(1, 3, size_px, size_px),),
            str(path),
            input_names=["image"],
            output_names=[FEATURES],
            dynamic_axes={"image": {0: "batch"}, FEATURES: {0: "batch"}},
            opset_version=18,
            dynamo=False,
        )


def quantize_tower(recipe: Recipe, prepared: Prepared, tower: Lite2, path: Path) -> Path:
    """The image tower without its head, in static int8: `image` → `features`. A file that is there is kept."""
    if path.is_file():
        return path
    size = recipe.image.size_px
    chosen = np.random.default_rng(recipe.seed).choice(
        len(prepared.data.photos), min(_CALIBRATION_PHOTOS, len(prepared.data.photos)), replace=False
    )
    pixels = load_pixels([prepared.data.photos[i] for i in chosen], size)
    floats, ints = path.with_suffix(".float.onnx"), path.with_suffix(".tmp.onnx")
    export_features(tower.to(memory_format=torch.contiguous_format), size, floats)
    quantize_backbone(floats, ints, [pixels[i : i + 16] for i in range(0, len(pixels), 16)])
    floats.unlink()
    ints.rename(path)
    return path


def _export_visual(recipe: Recipe, backbone: Path, heads: JoinedHeads, folder: Path) -> None:
    onnx.save(attach_head(onnx.load(backbone), head_weights(heads.image)), folder / "model.onnx")
    size = recipe.image.size_px
    config = lite2_preprocess(size)
    write_json(
        folder / "preprocess_cfg.json",
        {
            "size": [size, size],
            "mode": "RGB",
            "mean": list(config.mean),
            "std": list(config.std),
            "interpolation": config.interpolation,
            "resize_mode": config.resize_mode,
            "fill_color": 0,
        },
    )


def _export_textual(recipe: Recipe, prepared: Prepared, heads: JoinedHeads, folder: Path) -> None:
    tower = prepared.text_tower
    config = TextGraphConfig(
        heads=tower.config.heads,
        layers=tower.config.layers,
        pad_id=piece_id(prepared.tokenizer, "<pad>"),
        context_length=recipe.text.context_length,
        layer_norm_eps=tower.config.layer_norm_eps,
        pooled=tower.kept,
    )
    scale = prepared.text_scale.weights() if prepared.text_scale else {}
    graph = build_text_graph(config, tower_weights(tower) | scale | head_weights(heads.text))
    onnx.save(graph, folder / "model.onnx")
    write_tokenizer(prepared.tokenizer, folder / "tokenizer.json")
    write_json(
        folder / "tokenizer_config.json",
        {
            "pad_token": "<pad>",
            "model_max_length": recipe.text.context_length,
            "tokenizer_class": "XLMRobertaTokenizer",
        },
    )


def _write_config(recipe: Recipe, prepared: Prepared, folder: Path) -> None:
    write_json(
        folder / "config.json",
        {
            "embed_dim": recipe.heads.dim,
            "vision_cfg": {"image_size": recipe.image.size_px},
            "text_cfg": {
                "context_length": recipe.text.context_length,
                "vocab_size": prepared.tokenizer.get_vocab_size(),
            },
            "peyda": {
                "name": recipe.name,
                "description": recipe.description,
                "licence": _LICENCE,
                "normalizer_version": NORMALIZER_VERSION,
                "spelling": True,
                "files": file_records(folder),
            },
        },
    )
