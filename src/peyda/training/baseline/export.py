"""From a fitted CorrNet to a model directory that `peyda.encoders` loads."""

from __future__ import annotations

from pathlib import Path

import onnx

from peyda.encoders.directory import file_records, write_json
from peyda.errors import ModelError
from peyda.persian import NORMALIZER_VERSION
from peyda.training.baseline.backbone import Backbone
from peyda.training.baseline.corrnet import CorrNet
from peyda.training.baseline.graphs import image_graph, text_graph
from peyda.training.baseline.recipe import BaselineRecipe
from peyda.training.baseline.words import PAD, UNKNOWN, WordVectors
from peyda.training.model_files import replace_directory, write_tokenizer


def export_baseline(recipe: BaselineRecipe, backbone: Backbone, words: WordVectors, model: CorrNet, out: Path) -> None:
    """Write the model directory; an older one there is replaced only when the new one is whole.

    The model card is `peyda.training.baseline.card`'s.

    Raises:
        ModelError: The image encoder's graph cannot be joined, or is too big for one file.
    """

    def fill(folder: Path) -> None:
        (folder / "visual").mkdir()
        (folder / "textual").mkdir()
        _write_visual(backbone, model, folder / "visual")
        _write_textual(words, model, folder / "textual")
        _write_config(recipe, backbone, words, folder)

    replace_directory(out, fill)


def _write_visual(backbone: Backbone, model: CorrNet, folder: Path) -> None:
    graph = image_graph(onnx.load(backbone.path), model)
    try:
        onnx.save(graph, folder / "model.onnx")
    except ValueError as error:  # 2 GB, the limit of the format
        raise ModelError(f"the image tower of {backbone.source} is too big for one file: {error}") from error
    config = backbone.preprocess
    values = {
        "size": [config.size_px, config.size_px],
        "mode": "RGB",
        "mean": list(config.mean),
        "std": list(config.std),
        "interpolation": config.interpolation,
        "resize_mode": config.resize_mode,
        "fill_color": 0,
    }
    write_json(folder / "preprocess_cfg.json", values)


def _write_textual(words: WordVectors, model: CorrNet, folder: Path) -> None:
    onnx.save(text_graph(words, model), folder / "model.onnx")
    write_tokenizer(words.tokenizer(), folder / "tokenizer.json")
    own = {"pad_token": PAD, "unk_token": UNKNOWN, "model_max_length": words.context_length}
    write_json(folder / "tokenizer_config.json", {**own, "tokenizer_class": "PreTrainedTokenizerFast"})


def _write_config(recipe: BaselineRecipe, backbone: Backbone, words: WordVectors, folder: Path) -> None:
    own = {
        "name": recipe.name,
        "description": recipe.description,
        "licence": licence(backbone),
        "normalizer_version": NORMALIZER_VERSION,
        "files": file_records(folder),
    }
    values = {
        "embed_dim": recipe.corrnet.dim,
        "vision_cfg": {"image_size": backbone.preprocess.size_px},
        "text_cfg": {"context_length": words.context_length, "vocab_size": len(words.table)},
        "peyda": own,
    }
    write_json(folder / "config.json", values)


def licence(backbone: Backbone) -> str:
    """Terms of the whole: ours, and those of what it started from."""
    terms = backbone.licence or "terms unknown"
    return f"Apache-2.0 (image features: {backbone.source}, {terms})"
