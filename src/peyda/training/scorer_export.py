"""From a trained scorer to the directory that `peyda.encoders.sentence` loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper
from tokenizers import Tokenizer

from peyda.encoders.directory import sha256_of, write_json
from peyda.encoders.onnx_parts import OPSETS, add_head
from peyda.encoders.row_int8 import RowInt8Parts
from peyda.encoders.text_graph import TextGraphConfig, add_mean_pool, add_text_tower
from peyda.persian import NORMALIZER_VERSION
from peyda.training.model_files import replace_directory, tower_weights, write_tokenizer
from peyda.training.scorer_model import ScorerModel
from peyda.training.text_recipe import ScorerRecipe
from peyda.training.vocabulary import piece_id

LICENCE = "Apache-2.0 (started from multilingual-e5-small, MIT; see NOTICE)"


def export_scorer(recipe: ScorerRecipe, model: ScorerModel, tokenizer: Tokenizer, out: Path) -> None:
    """Write the directory; an older one is replaced only when the new one is whole, its model card stays."""

    def fill(folder: Path) -> None:
        onnx.save(scorer_graph(model, tokenizer, recipe.context_length), folder / "model.onnx")
        write_tokenizer(tokenizer, folder / "tokenizer.json")
        write_json(folder / "tokenizer_config.json", {"pad_token": "<pad>", "model_max_length": recipe.context_length})
        own = {
            "embed_dim": recipe.dim,
            "text_cfg": {"context_length": recipe.context_length, "vocab_size": tokenizer.get_vocab_size()},
        }
        write_config(folder, own, name=recipe.name, kind="scorer", description=recipe.description)

    replace_directory(out, fill)


def scorer_graph(model: ScorerModel, tokenizer: Tokenizer, context_length: int) -> onnx.ModelProto:
    """`text` Int32[batch, tokens] → `embedding` Float32[batch, dim], in int8 (the word table in blocks)."""
    tower = model.tower
    weights = tower_weights(tower) | {
        f"head.{name}": value.detach().float().numpy() for name, value in model.head.state_dict().items()
    }
    config = TextGraphConfig(
        heads=tower.config.heads,
        layers=tower.config.layers,
        pad_id=piece_id(tokenizer, "<pad>"),
        context_length=context_length,
        layer_norm_eps=tower.config.layer_norm_eps,
        tower_bits=8,
    )
    parts = RowInt8Parts()
    x, mask = add_text_tower(parts, config, weights)
    add_head(parts, weights, add_mean_pool(parts, x, mask), bits=8)
    graph = helper.make_graph(
        parts.nodes,
        "scorer",
        [helper.make_tensor_value_info("text", TensorProto.INT32, ["batch", "tokens"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", len(weights["head.linear.bias"])])],
        parts.initializers,
    )
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=9, producer_name="peyda")


def write_config(folder: Path, values: dict[str, Any], *, name: str, kind: str, description: str) -> None:
    """`config.json` with our own object: name, kind, licence, normaliser version and the hash of every file."""
    files = {
        path.name: {"sha256": sha256_of(path), "size_bytes": path.stat().st_size} for path in sorted(folder.iterdir())
    }
    own = {
        "name": name,
        "kind": kind,
        "description": description,
        "licence": LICENCE,
        "normalizer_version": NORMALIZER_VERSION,
        "files": files,
    }
    write_json(folder / "config.json", {**values, "peyda": own})
