"""Fixtures that every test may use: a real (tiny) model, photographs of plain colours, a gallery of them."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

# A shell that starts the tests in the background has them ignore Ctrl-C, and the commands under test inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

COLOURS = {
    "red": ("قرمز", (220, 30, 30)),
    "green": ("سبز", (30, 200, 40)),
    "blue": ("آبی", (30, 40, 220)),
    "yellow": ("زرد", (240, 220, 20)),
    "black": ("سیاه", (5, 5, 5)),
    "white": ("سفید", (250, 250, 250)),
}
_DIM = 16
_SIZE = 32


def _colour_vector(rgb: tuple[int, int, int]) -> np.ndarray:
    """Where a colour lives in the tiny model's space: centred RGB through a fixed random map."""
    return (np.asarray(rgb, np.float32) / 127.5 - 1) @ _projection()


def _projection() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(3, _DIM)).astype(np.float32)


def build_tiny_model(directory: Path, *, seed: int = 0) -> Path:
    """A real model directory: the image tower is the mean colour, the text tower a sum of word vectors.

    Colour words (Persian and English) have the vector of their colour, so that «قرمز» finds red photographs. Another
    `seed` gives another image tower (another fingerprint, same dimension).
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    (directory / "visual").mkdir(parents=True)
    (directory / "textual").mkdir()

    def save(path: Path, nodes: list[Any], inputs: list[Any], constants: dict[str, np.ndarray]) -> None:
        initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
        output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", _DIM])
        graph = helper.make_graph(nodes, "tiny", inputs, [output], initializers)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)

    save(
        directory / "visual/model.onnx",
        [
            helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
            helper.make_node("MatMul", ["mean", "map"], ["mapped"]),
            helper.make_node("Add", ["mapped", "bias"], ["embedding"]),
        ],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, _SIZE, _SIZE])],
        {"map": _projection(), "bias": np.full(_DIM, 1e-3 * (1 + seed), np.float32)},
    )
    words = [word for name, (fa, _) in COLOURS.items() for word in (name, fa)]
    pieces = ["[UNK]", "[PAD]", *words]
    table = np.random.default_rng(1).normal(size=(len(pieces), _DIM)).astype(np.float32) * 0.05
    table[1] = 0
    for i, (_, rgb) in enumerate(COLOURS.values()):
        table[2 + 2 * i] = table[3 + 2 * i] = _colour_vector(rgb)
    save(
        directory / "textual/model.onnx",
        [
            helper.make_node("Gather", ["table", "text"], ["rows"]),
            helper.make_node("ReduceSum", ["rows", "axis"], ["summed"], keepdims=0),
            helper.make_node("Add", ["summed", "bias"], ["embedding"]),
        ],
        [helper.make_tensor_value_info("text", TensorProto.INT32, ["batch", "tokens"])],
        {"table": table, "axis": np.asarray([1], np.int64), "bias": np.full(_DIM, 1e-3, np.float32)},
    )
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {
            "type": "WordLevel",
            "vocab": {piece: i for i, piece in enumerate(pieces)},
            "unk_token": "[UNK]",
        },
    }
    (directory / "textual/tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    (directory / "textual/tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]"}))
    preprocess = {
        "size": [_SIZE, _SIZE],
        "mode": "RGB",
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "interpolation": "bilinear",
        "resize_mode": "squash",
    }
    (directory / "visual/preprocess_cfg.json").write_text(json.dumps(preprocess))
    config = {"embed_dim": _DIM, "vision_cfg": {"image_size": _SIZE}, "text_cfg": {"context_length": 32}}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the tiny colour model."""
    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def other_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second model of the same shape, whose image tower differs."""
    return build_tiny_model(tmp_path_factory.mktemp("models") / "other", seed=1)


@pytest.fixture(scope="session")
def tiny_encoder(tiny_model_dir: Path) -> Any:
    """The tiny model, loaded by `peyda.encoders.load_encoder`."""
    from peyda.encoders import load_encoder

    return load_encoder(tiny_model_dir)


@pytest.fixture
def photo_dir(tmp_path: Path) -> Path:
    """Twelve JPEG and PNG photographs in two folders: each colour twice, told apart by a little noise."""
    folder = tmp_path / "photos"
    rng = np.random.default_rng(3)
    for part, suffix in (("first", ".jpg"), ("second", ".png")):
        (folder / part).mkdir(parents=True)
        for name, (_, rgb) in COLOURS.items():
            noise = rng.integers(-8, 9, (48, 64, 3))
            pixels = np.clip(np.asarray(rgb) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / part / f"{name}{suffix}", quality=95)
    return folder


@pytest.fixture
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of the test's own, so that no test reads or writes the user's data."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(home / name.lower()) if name != "HOME" else str(home))
    return home
