"""A model directory with an int8 ViT-B/32 image tower of random weights: for speed only, it finds nothing.

    python benchmarks/make_vit_b32.py OUT       # needs torch and onnx (make setup)

Shape: Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929, as CLIP has it: 12 layers × 768, 12 heads, patches of
32, 224 px, 512-d output. Weights of its linear maps are dynamic int8, as in rclip's and Immich's exports. The text
tower is a table of random vectors, so that the directory is whole.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

DIM, WIDTH, LAYERS, HEADS, PATCH, SIZE = 512, 768, 12, 12, 32, 224


class Block(nn.Module):
    """A pre-norm transformer layer, its attention spelled out so that every linear map is exported as one."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """One layer."""
        y = self.norm1(x)

        def split(z: Tensor) -> Tensor:
            return z.reshape(z.shape[0], -1, HEADS, WIDTH // HEADS).transpose(1, 2)

        weights = (split(self.q(y)) @ split(self.k(y)).transpose(2, 3) * (WIDTH // HEADS) ** -0.5).softmax(-1)
        x = x + self.out((weights @ split(self.v(y))).transpose(1, 2).reshape(x.shape))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Pixels to embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.positions = nn.Parameter(torch.randn(1, (SIZE // PATCH) ** 2, WIDTH) * 0.02)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm, self.projection = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, DIM, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """Mean over the patches, projected."""
        x = self.patches(image).flatten(2).transpose(1, 2) + self.positions
        return self.projection(self.norm(self.blocks(x)).mean(1))


def save_text_tower(folder: Path) -> None:
    """Random word vectors under a tokenizer of one word."""
    table = np.random.default_rng(0).normal(size=(2, DIM)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "text"], ["rows"]),
        helper.make_node("ReduceSum", ["rows", "axis"], ["embedding"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "text",
        [helper.make_tensor_value_info("text", TensorProto.INT32, ["batch", "tokens"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIM])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.asarray([1]), "axis")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx"
    )
    tokenizer = {"version": "1.0", "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "x": 1}, "unk_token": "[UNK]"}}
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "pre_tokenizer": {"type": "Whitespace"}}))
    (folder / "tokenizer_config.json").write_text("{}")


def main() -> None:
    """Write the directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    (out / "visual").mkdir(parents=True)
    (out / "textual").mkdir()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        floats = str(Path(folder) / "float.onnx")
        torch.onnx.export(
            VisionTransformer().eval(),
            (torch.zeros(1, 3, SIZE, SIZE),),
            floats,
            input_names=["image"],
            output_names=["embedding"],
            dynamic_axes={"image": {0: "batch"}, "embedding": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
        quantize_dynamic(
            floats, str(out / "visual/model.onnx"), op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8
        )
    save_text_tower(out / "textual")
    preprocess = {"size": [SIZE, SIZE], "mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "shortest"}
    (out / "visual/preprocess_cfg.json").write_text(json.dumps({**preprocess, "interpolation": "bicubic"}))
    config = {"embed_dim": DIM, "vision_cfg": {"image_size": SIZE}, "text_cfg": {"context_length": 8}}
    (out / "config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    main()
