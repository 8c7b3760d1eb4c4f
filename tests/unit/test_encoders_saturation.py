"""Int8 weights that give one result on processors with and without VNNI."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from peyda.encoders.image_graph import quantize_backbone  # noqa: E402
from peyda.encoders.saturation import LIMIT, avoid_saturation, largest_pairs, shrink  # noqa: E402


def test_pairs_by_hand() -> None:
    weight = np.asarray([[100, 28, 127, -127], [-100, -29, 0, 5], [127, 127, 0, 0]], np.int8)[:, :, None, None]
    assert largest_pairs(weight).tolist() == [128, 129, 254], "signs that differ take from each other"
    odd = np.asarray([[1, 2, 90]], np.int8)[:, :, None, None]
    assert largest_pairs(odd).tolist() == [90]
    assert largest_pairs(np.full((1, 1, 3, 3), -70, np.int8)).tolist() == [140], "any two of a larger kernel"


@pytest.mark.parametrize("kernel", [1, 3])
def test_shrunk_weights_keep_to_the_limit_and_to_their_values(kernel: int) -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (64, 33, kernel, kernel)).astype(np.int8)
    weight[0] //= 4  # needs no shrinking
    small, factor = shrink(weight)
    assert small.dtype == np.int8
    assert largest_pairs(small).max() <= LIMIT
    assert (factor >= 1).all()
    assert factor[0] == 1
    np.testing.assert_array_equal(small[0], weight[0])
    assert np.abs(small * factor.reshape(-1, 1, 1, 1) - weight).max() <= factor.max() / 2 + 1e-9


def _float_model(path: Path) -> None:
    """Two convolutions whose weights and inputs drive 16-bit sums over their end: all of one sign, all large."""
    rng = np.random.default_rng(1)
    first = rng.uniform(0.5, 1, (16, 3, 3, 3)).astype(np.float32)
    second = np.abs(rng.normal(1, 0.2, (24, 16, 1, 1))).astype(np.float32)
    node = onnx.helper.make_node
    value = onnx.helper.make_tensor_value_info
    arrays = {"w1": first, "b1": np.ones(16, np.float32), "w2": second, "b2": np.ones(24, np.float32)}
    graph = onnx.helper.make_graph(
        [
            node("Conv", ["image", "w1", "b1"], ["one"], pads=[1, 1, 1, 1]),
            node("Relu", ["one"], ["positive"]),
            node("Conv", ["positive", "w2", "b2"], ["two"]),
            node("ReduceMean", ["two", "axes"], ["features"], keepdims=0),
        ],
        "backbone",
        [value("image", onnx.TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [value("features", onnx.TensorProto.FLOAT, ["batch", 24])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
        + [onnx.numpy_helper.from_array(np.asarray([2, 3], np.int64), "axes")],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), path)


def _features(model: object, images: np.ndarray, *, fused: bool) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if not fused:  # every operator in float, on quantised values: what int8 without overflow comes to
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["features"], {"image": images})[0])


def test_a_quantised_backbone_gives_on_any_processor_what_its_numbers_say(tmp_path: Path) -> None:
    """Without the shrinking this is a third off on a processor that has AVX2 and no VNNI."""
    rng = np.random.default_rng(2)
    images = rng.uniform(0.8, 1, (8, 3, 16, 16)).astype(np.float32)
    _float_model(tmp_path / "float.onnx")
    quantize_backbone(tmp_path / "float.onnx", tmp_path / "int8.onnx", [images])
    model = onnx.load(tmp_path / "int8.onnx")
    wanted = _features(str(tmp_path / "float.onnx"), images, fused=True)
    np.testing.assert_allclose(_features(str(tmp_path / "int8.onnx"), images, fused=False), wanted, rtol=0.03)
    np.testing.assert_allclose(_features(str(tmp_path / "int8.onnx"), images, fused=True), wanted, rtol=0.03)
    before = model.SerializeToString()
    assert avoid_saturation(model) == 2
    assert model.SerializeToString() == before, "nothing is left to shrink"


def test_the_shipped_image_tower_is_safe() -> None:
    from peyda.encoders import resolve_model

    model = onnx.load(resolve_model("mini") / "visual/model.onnx")
    before = model.SerializeToString()
    assert avoid_saturation(model) > 40
    assert model.SerializeToString() == before
