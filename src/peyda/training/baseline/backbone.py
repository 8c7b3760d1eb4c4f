"""The frozen image encoder of a run as one ONNX graph, `image` Float32[b, 3, s, s] → `features` Float32[b, d].

Every encoder becomes such a graph first, and training reads the features that this very graph gives (int8 and all), so
that the exported model sees photographs exactly as training did. Three sources: the pretrained EfficientNet-Lite2,
made int8 here; the image tower of a Peyda model, by name or directory; modules of transformers, timm and open_clip
(`torch_encoders`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.compose import add_prefix

from peyda.encoders import resolve_model
from peyda.encoders.directory import PreprocessConfig, read_model_info, read_preprocess_config
from peyda.encoders.image_graph import FEATURES, quantize_backbone
from peyda.encoders.preprocess import preprocess_image
from peyda.errors import DataError, ImageRefused, ModelError
from peyda.images import read_photo
from peyda.training.baseline.recipe import BaselineRecipe
from peyda.training.export import export_features
from peyda.training.features import lite2_preprocess
from peyda.types import Float32

DEFAULT = "efficientnet-lite2"
_CALIBRATION_PHOTOS = 64


@dataclass(frozen=True)
class Backbone:
    """An image encoder on disk. `source` says what it is, `licence` under which terms it came."""

    path: Path
    preprocess: PreprocessConfig
    source: str
    licence: str

    def sha256(self) -> str:
        """Digest of the graph."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def make_backbone(recipe: BaselineRecipe, photos: Sequence[Path], run: Path) -> Backbone:
    """The recipe's encoder as `run/backbone.onnx` and `.json`; what is there already is kept.

    Args:
        recipe: Names the encoder.
        photos: Training photographs, a few of which calibrate int8.
        run: The run's directory.

    Raises:
        ModelError: There is no such encoder, its library is not installed, or it gives no plain feature rows.
        DataError: None of the photographs for calibration can be read.
    """
    graph, about = run / "backbone.onnx", run / "backbone.json"
    if not (graph.is_file() and about.is_file()):
        temporary = run / "backbone.tmp.onnx"
        config, source, licence = _write_graph(recipe, photos, temporary)
        temporary.rename(graph)
        half = about.with_suffix(".tmp")
        values = {"preprocess": dataclasses.asdict(config), "source": source, "licence": licence}
        half.write_text(json.dumps(values, indent=1), encoding="utf-8")
        half.rename(about)
    values = json.loads(about.read_text(encoding="utf-8"))
    preprocess = values["preprocess"]
    config = PreprocessConfig(**{**preprocess, "mean": tuple(preprocess["mean"]), "std": tuple(preprocess["std"])})
    return Backbone(graph, config, values["source"], values["licence"])


def _write_graph(recipe: BaselineRecipe, photos: Sequence[Path], path: Path) -> tuple[PreprocessConfig, str, str]:
    name = recipe.image.encoder
    if name == DEFAULT:
        config = lite2_preprocess(recipe.image.size_px)
        _write_lite2(config, _calibration_photos(photos, config, recipe.seed), path)
        return config, "EfficientNet-Lite2, ImageNet weights, int8", "Apache-2.0"
    if ":" in name:
        from peyda.training.baseline.torch_encoders import load_torch_encoder

        loaded = load_torch_encoder(name)
        export_features(loaded.module, loaded.preprocess.size_px, path)
        return loaded.preprocess, name, loaded.licence
    return _write_tower(resolve_model(name), path)


def _write_lite2(config: PreprocessConfig, calibration: Sequence[Float32], path: Path) -> None:
    from peyda.training.lite2 import load_lite2

    tower, _, _ = load_lite2()
    floats, ints = path.with_suffix(".float.onnx"), path.with_suffix(".int8.onnx")
    export_features(tower, config.size_px, floats)
    quantize_backbone(floats, ints, calibration)
    floats.unlink()
    ints.rename(path)


def _calibration_photos(photos: Sequence[Path], config: PreprocessConfig, seed: int) -> list[Float32]:
    """Preprocessed photographs in batches, `_CALIBRATION_PHOTOS` in all, drawn from those that can be read."""
    rows: list[Float32] = []
    for i in np.random.default_rng(seed).permutation(len(photos)):
        try:
            rows.append(preprocess_image(read_photo(str(photos[i]), target_px=config.size_px).image, config))
        except ImageRefused:
            continue
        if len(rows) == _CALIBRATION_PHOTOS:
            break
    if not rows:
        raise DataError("no training photograph can be read", hint="--data DIR names the folder of DATA/README.md")
    return [np.stack(rows[start : start + 16]) for start in range(0, len(rows), 16)]


def _write_tower(directory: Path, path: Path) -> tuple[PreprocessConfig, str, str]:
    """The image tower of a model directory; its features are its embeddings, as `peyda.encoders` gives them."""
    info = read_model_info(directory)
    # Prefixed, so that no name in it can be one of those that are added here and behind it.
    model = add_prefix(onnx.load(directory / "visual/model.onnx"), "tower.", rename_inputs=False)
    graph = model.graph
    inputs = [value for value in graph.input if value.name not in {one.name for one in graph.initializer}]
    if len(inputs) != 1 or not graph.output:
        raise ModelError(f"the image tower of {info.name} does not take pixels alone")
    output = graph.output[0].name
    graph.node.extend(
        [
            helper.make_node("Cast", [output], ["features.float"], to=TensorProto.FLOAT),
            helper.make_node("LpNormalization", ["features.float"], [FEATURES], axis=-1, p=2),
        ]
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", info.embed_dim]))
    _save_whole(model, path, info.name)
    return read_preprocess_config(directory), f"image tower of {info.name}", info.licence


def _save_whole(model: Any, path: Path, name: str) -> None:
    try:
        onnx.save(model, path)
    except ValueError as error:  # 2 GB, the limit of the format
        raise ModelError(f"the image tower of {name} is too big for one file: {error}") from error
