"""The dual encoder as a directory: loading, checking, and what every encoder promises."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from peyda.encoders import list_models, load_encoder, model_info, read_model_info, verify_model
from peyda.encoders.directory import PreprocessConfig, file_hashes
from peyda.encoders.preprocess import preprocess_image
from peyda.errors import ModelError


@pytest.fixture
def copy_of_tiny(tiny_model_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "copy"))


def test_rows_are_unit_finite_and_in_order(tiny_encoder: Any) -> None:
    colours = [(220, 30, 30), (30, 200, 40), (30, 40, 220)]
    images = tiny_encoder.encode_images([Image.new("RGB", (40, 30), c) for c in colours])
    texts = tiny_encoder.encode_texts(["قرمز", "سبز", "آبی"])
    for rows in (images, texts):
        assert rows.dtype == np.float32
        assert rows.shape == (3, tiny_encoder.embed_dim)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert (texts @ images.T).argmax(1).tolist() == [0, 1, 2]


@pytest.mark.parametrize("count", [0, 1, 16, 17, 70])
def test_any_length_gives_the_rows_of_single_calls(tiny_encoder: Any, count: int) -> None:
    rng = np.random.default_rng(count)
    images = [Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8)) for _ in range(count)]
    words = ["قرمز", "red green", "سفید سیاه آبی"]
    texts = [words[i % 3] for i in range(count)]
    assert tiny_encoder.encode_images(images).shape == (count, tiny_encoder.embed_dim)
    for i in range(0, count, 16):
        np.testing.assert_allclose(
            tiny_encoder.encode_images(images)[i], tiny_encoder.encode_images([images[i]])[0], atol=1e-6
        )
        np.testing.assert_allclose(
            tiny_encoder.encode_texts(texts)[i], tiny_encoder.encode_texts([texts[i]])[0], atol=1e-6
        )
    assert tiny_encoder.encode_texts(texts).shape == (count, tiny_encoder.embed_dim)


def test_texts_are_normalised_first(tiny_encoder: Any) -> None:
    arabic, persian = tiny_encoder.encode_texts(["مشكي", "مشکی"])
    np.testing.assert_array_equal(arabic, persian)


def test_one_str_is_a_mistake(tiny_encoder: Any) -> None:
    with pytest.raises(TypeError, match="list of str"):
        tiny_encoder.encode_texts("قرمز")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "I;16"])
def test_images_of_any_mode(tiny_encoder: Any, mode: str) -> None:
    assert tiny_encoder.encode_images([Image.new(mode, (5, 9))]).shape == (1, tiny_encoder.embed_dim)


def test_fingerprints_follow_content(tiny_model_dir: Path, other_model_dir: Path, copy_of_tiny: Path) -> None:
    tiny, other, copied = (read_model_info(path) for path in (tiny_model_dir, other_model_dir, copy_of_tiny))
    assert tiny.fingerprint == copied.fingerprint
    assert tiny.visual_fingerprint != other.visual_fingerprint
    tokenizer = copy_of_tiny / "textual/tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    changed = read_model_info(copy_of_tiny)
    assert changed.fingerprint != tiny.fingerprint
    assert changed.visual_fingerprint == tiny.visual_fingerprint, "a text tower of its own needs no re-index"


@pytest.mark.parametrize("name", ["config.json", "visual/model.onnx", "textual/tokenizer.json"])
def test_missing_file_is_named(copy_of_tiny: Path, name: str) -> None:
    (copy_of_tiny / name).unlink()
    with pytest.raises(ModelError, match=name):
        read_model_info(copy_of_tiny)


@pytest.mark.parametrize("text", ["{", "[]", '{"embed_dim": "many"}', "{}"])
def test_malformed_config(copy_of_tiny: Path, text: str) -> None:
    (copy_of_tiny / "config.json").write_text(text)
    with pytest.raises(ModelError):
        read_model_info(copy_of_tiny)


def test_weights_that_are_not_onnx(copy_of_tiny: Path) -> None:
    (copy_of_tiny / "visual/model.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="cannot load"):
        load_encoder(copy_of_tiny).encode_images([Image.new("RGB", (4, 4))])


def test_recorded_hashes_are_trusted_by_size_and_verified_on_demand(copy_of_tiny: Path) -> None:
    config = json.loads((copy_of_tiny / "config.json").read_text())
    config["peyda"] = {
        "name": "recorded",
        "files": {
            name: {"sha256": value, "size_bytes": (copy_of_tiny / name).stat().st_size}
            for name, value in file_hashes(copy_of_tiny).items()
        },
    }
    (copy_of_tiny / "config.json").write_text(json.dumps(config))
    assert read_model_info(copy_of_tiny).name == "recorded"
    assert verify_model(copy_of_tiny) == []
    model = copy_of_tiny / "visual/model.onnx"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    assert verify_model(copy_of_tiny) == ["visual/model.onnx"]
    model.write_bytes(content[:-1])
    with pytest.raises(ModelError, match="incomplete"):
        read_model_info(copy_of_tiny)


def test_another_normaliser_is_refused(copy_of_tiny: Path) -> None:
    config = json.loads((copy_of_tiny / "config.json").read_text())
    config["peyda"] = {"normalizer_version": "0"}
    (copy_of_tiny / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="normaliser"):
        load_encoder(copy_of_tiny)


def test_unknown_name_lists_the_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_model_dir: Path) -> None:
    monkeypatch.setenv("PEYDA_MODELS", str(tiny_model_dir.parent))
    with pytest.raises(ModelError) as caught:
        model_info("nothing-like-it")
    assert "tiny" in caught.value.hint
    assert "tiny" in [info.name for info in list_models()]
    assert model_info("tiny").embed_dim == 16
    with pytest.raises(ModelError, match="no model directory"):
        load_encoder(tmp_path / "absent")


def test_squash_shortest_and_longest() -> None:
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    image.paste((0, 0, 255), (0, 0, 10, 20))  # a blue quarter at the left

    def blue_share(mode: str) -> float:
        config = PreprocessConfig(8, (0.0,) * 3, (1.0,) * 3, "bilinear", mode)  # type: ignore[arg-type]
        pixels = preprocess_image(image, config)
        assert pixels.shape == (3, 8, 8)
        return float(pixels[2].mean())

    assert blue_share("squash") == pytest.approx(0.25, abs=0.05)
    assert blue_share("shortest") == pytest.approx(0.0, abs=0.05)
    assert blue_share("longest") == pytest.approx(0.125, abs=0.05)


def test_preprocess_is_the_documented_arithmetic() -> None:
    image = Image.fromarray(np.full((3, 3, 3), [0, 51, 255], np.uint8))
    config = PreprocessConfig(3, (0.1, 0.2, 0.3), (0.5, 0.25, 2.0))
    pixels = preprocess_image(image, config)
    np.testing.assert_allclose(pixels[:, 1, 1], [-0.1 / 0.5, (0.2 - 0.2) / 0.25, (1 - 0.3) / 2], atol=1e-6)
