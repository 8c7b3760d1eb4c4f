"""Models of every family, in the files that hubs serve, exported by the real code, loaded, and compared with torch.

What torch gives is worked out here anew, with the families' own libraries (their tokenizers and picture processors
too), and by nothing of the exporter.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("onnx")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import foreign_models  # noqa: E402
from peyda.encoders import load_encoder, model_info, verify_model  # noqa: E402
from peyda.encoders.export import ExportPlan, ExportReport  # noqa: E402
from peyda.encoders.export.parity import PROBE_TEXTS, probe_photographs  # noqa: E402
from peyda.encoders.export.run import export_model  # noqa: E402
from peyda.persian import normalize  # noqa: E402
from torchvision_ops import define_torchvision_ops  # noqa: E402

pytestmark = pytest.mark.torch

TEXTS = [*foreign_models.TEXTS, *PROBE_TEXTS]
PHOTOS = probe_photographs()
Rows = np.ndarray


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    define_torchvision_ops()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    yield
    torch.set_num_threads(threads)


def export(tmp_path: Path, text: Path | str, image: Path | str, **options: Any) -> tuple[ExportReport, Any]:
    plan = ExportPlan(text=str(text), image=str(image), out=tmp_path / "out", **options)
    report = export_model(plan)
    assert verify_model(plan.out) == []
    assert report.text_parity.worst <= 1e-3
    assert report.image_parity.worst <= 1e-3
    assert not list(tmp_path.glob(".*")), "nothing of the work is left beside the model"
    return report, load_encoder(plan.out, threads=1)


def unit(rows: Any) -> Rows:
    rows = np.asarray(rows.detach() if isinstance(rows, torch.Tensor) else rows, np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def cosine_distance(a: Rows, b: Rows) -> float:
    return float((1 - (a * b).sum(1)).max())


def check_texts(encoder: Any, embed: Callable[[str], Any], texts: list[str] = TEXTS) -> None:
    """`embed` takes one text, as a user of the model's own library would write it."""
    with torch.no_grad():
        expected = np.concatenate([unit(embed(normalize(text))) for text in texts])
    found = encoder.encode_texts(texts)
    assert cosine_distance(found, expected) <= 1e-4
    different = found[:6] @ found[:6].T - np.eye(6)
    assert different.max() < 0.9995, "texts are told apart, so that equality says something"


def check_pixels(encoder: Any, embed: Callable[[Any], Any]) -> None:
    """`embed` takes Float32[n, 3, s, s], prepared."""
    pixels = np.stack([encoder.preprocess(photo) for photo in PHOTOS])
    with torch.no_grad():
        expected = unit(embed(torch.from_numpy(pixels)))
    assert cosine_distance(encoder.encode_images(PHOTOS), expected) <= 1e-4
    assert cosine_distance(np.roll(expected, 1, 0), expected) > 1e-3, "pictures are told apart"


def check_processor(encoder: Any, processor: Any, allowed: float = 0.06) -> None:
    """Our pixels are those of the library's own picture processor, but for how the border of a resize is rounded."""
    photo = PHOTOS[0]
    theirs = np.asarray(processor(images=photo, return_tensors="np")["pixel_values"][0])
    assert np.abs(encoder.preprocess(photo) - theirs).mean() < allowed


def test_a_persian_pair_of_roberta_and_clip(tmp_path: Path) -> None:
    """The original project's models, and CLIPfa's: both embed with the pooler's output."""
    text = foreign_models.roberta_text(tmp_path / "persian-clip-text")
    image = foreign_models.clip_vision(tmp_path / "persian-clip-vision")
    report, encoder = export(tmp_path, text, image)
    model = transformers.RobertaModel.from_pretrained(text).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(text)

    def embed(one: str) -> Any:
        return model(**tokenizer(one, return_tensors="pt", truncation=True, max_length=80)).pooler_output

    check_texts(encoder, embed)
    check_pixels(encoder, lambda x: transformers.CLIPVisionModel.from_pretrained(image).eval()(x).pooler_output)
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    check_processor(encoder, CLIPImageProcessorPil.from_pretrained(image))
    assert (report.name, report.embed_dim, report.context_length) == ("persian-clip", 32, 80)
    assert report.licence == "mit + apache-2.0"
    assert "persian-clip-text and persian-clip-vision" in model_info(tmp_path / "out").description
    assert "Licence: mit + apache-2.0" in model_info(tmp_path / "out").card_path.read_text(encoding="utf-8")


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_pooling_can_be_said(tmp_path: Path, pooling: Any) -> None:
    text = foreign_models.roberta_text(tmp_path / "text", pooler=False)
    image = foreign_models.clip_vision(tmp_path / "vision")
    _, encoder = export(tmp_path, text, image, pooling="auto" if pooling == "mean" else pooling, context_length=20)
    model = transformers.RobertaModel.from_pretrained(text, add_pooling_layer=False).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(text)

    def embed(one: str) -> Any:
        states = model(**tokenizer(one, return_tensors="pt", truncation=True, max_length=20)).last_hidden_state
        return states.mean(1) if pooling == "mean" else states[:, 0]

    check_texts(encoder, embed)


def test_clip_of_transformers(tmp_path: Path) -> None:
    source = foreign_models.clip(tmp_path / "clip")
    report, encoder = export(tmp_path, source, source)
    model = transformers.CLIPModel.from_pretrained(source).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    check_texts(
        encoder,
        lambda one: (
            model.get_text_features(
                **tokenizer(one, return_tensors="pt", padding="max_length", truncation=True, max_length=77)
            ).pooler_output
        ),
    )
    check_pixels(encoder, lambda x: model.get_image_features(pixel_values=x).pooler_output)
    assert report.embed_dim == 24


def test_siglip_drops_punctuation_and_sees_its_padding(tmp_path: Path) -> None:
    source = foreign_models.siglip(tmp_path / "siglip")
    report, encoder = export(tmp_path, source, source)
    model = transformers.SiglipModel.from_pretrained(source).eval()
    tokenizer = transformers.SiglipTokenizer.from_pretrained(source)

    def embed(one: str) -> Any:
        ids = tokenizer(one, return_tensors="pt", padding="max_length", truncation=True, max_length=16)["input_ids"]
        return model.get_text_features(input_ids=ids).pooler_output

    # transformers joins what an underscore parts, open_clip and big_vision part it.
    check_texts(encoder, embed, [text for text in TEXTS if "_" not in text])
    check_pixels(encoder, lambda x: model.get_image_features(pixel_values=x).pooler_output)
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    check_processor(encoder, SiglipImageProcessorPil.from_pretrained(source))
    np.testing.assert_array_equal(*encoder.encode_texts(["a dog, on the beach!", "a dog on the beach"]))
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["text_cfg"]["tokenizer_kwargs"] == {"clean": "canonicalize"}
    assert report.context_length == 16


@pytest.mark.parametrize("naflex", [False, True])
def test_siglip2(tmp_path: Path, naflex: bool) -> None:
    source = foreign_models.siglip2(tmp_path / "siglip2", naflex=naflex)
    report, encoder = export(tmp_path, source, source)
    model = transformers.AutoModel.from_pretrained(source).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)

    def embed(one: str) -> Any:
        ids = tokenizer(one, return_tensors="pt", padding="max_length", truncation=True, max_length=64)["input_ids"]
        assert ids.shape == (1, 64)
        return model.get_text_features(input_ids=ids).pooler_output

    def embed_patches(pixels: Any) -> Any:
        from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

        patches = np.stack([convert_image_to_patches(one, 8) for one in pixels.numpy()])
        return model.get_image_features(
            pixel_values=torch.from_numpy(patches),
            pixel_attention_mask=torch.ones(patches.shape[:2], dtype=torch.long),
            spatial_shapes=torch.full((len(patches), 2), 4),
        ).pooler_output

    check_texts(encoder, embed)
    check_pixels(encoder, embed_patches if naflex else lambda x: model.get_image_features(pixel_values=x).pooler_output)
    assert encoder.text_tokens(["سگ"])[0][-1] == 1, "the end of text"
    assert (report.image_size_px, report.context_length) == (32, 64)


def test_vision_text_dual_encoder(tmp_path: Path) -> None:
    source = foreign_models.vision_text_dual_encoder(tmp_path / "dual")
    _, encoder = export(tmp_path, source, source)
    model = transformers.VisionTextDualEncoderModel.from_pretrained(source).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)

    def embed(one: str) -> Any:
        inputs = tokenizer(one, return_tensors="pt", truncation=True, max_length=64)
        return model.get_text_features(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])

    check_texts(encoder, lambda one: getattr(embed(one), "pooler_output", None))
    check_pixels(encoder, lambda x: model.get_image_features(pixel_values=x).pooler_output)


@pytest.mark.parametrize("as_pickle", [True, False])
def test_m_clip(tmp_path: Path, as_pickle: bool) -> None:
    text = foreign_models.m_clip(tmp_path / "text", tmp_path / "base", as_pickle=as_pickle)
    image = foreign_models.clip_vision(tmp_path / "vision", projection=24)
    report, encoder = export(tmp_path, text, image, licence="mit")
    if as_pickle:
        tensors = torch.load(text / "pytorch_model.bin", weights_only=True)
    else:
        from safetensors.torch import load_file

        tensors = load_file(text / "model.safetensors")
    model = transformers.XLMRobertaModel(transformers.XLMRobertaConfig.from_pretrained(tmp_path / "base")).eval()
    model.load_state_dict({k[12:]: v for k, v in tensors.items() if k[:12] == "transformer."}, strict=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "text", padding_side="right")

    def embed(one: str) -> Any:
        inputs = tokenizer(one, return_tensors="pt", truncation=True, max_length=64)
        mean = model(**inputs)[0].mean(1)
        return mean @ tensors["LinearTransformation.weight"].T + tensors["LinearTransformation.bias"]

    check_texts(encoder, embed)
    with_projection = transformers.CLIPVisionModelWithProjection.from_pretrained(image).eval()
    check_pixels(encoder, lambda x: with_projection(x).image_embeds)
    assert report.licence == "mit"


def test_a_text_tower_of_sentence_transformers(tmp_path: Path) -> None:
    text = foreign_models.sentence_transformer(tmp_path / "text")
    image = foreign_models.clip_vision(tmp_path / "vision", projection=24)
    report, encoder = export(tmp_path, text, image)
    from safetensors.torch import load_file

    model = transformers.AutoModel.from_pretrained(text / "0_Transformer").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(text / "0_Transformer")
    dense = load_file(text / "2_Dense/model.safetensors")["linear.weight"]

    def embed(one: str) -> Any:
        inputs = tokenizer(one, return_tensors="pt", truncation=True, max_length=48)
        inputs.pop("token_type_ids", None)
        return model(**inputs)[0].mean(1) @ dense.T

    check_texts(encoder, embed)
    assert (report.context_length, report.licence) == (48, "apache-2.0")


@pytest.mark.parametrize(
    ("kind", "as_pickle"), [("clip", False), ("siglip", False), ("xlm-roberta", True), ("nllb", False)]
)
def test_open_clip(tmp_path: Path, kind: str, as_pickle: bool) -> None:
    open_clip = pytest.importorskip("open_clip")
    source = foreign_models.open_clip_repository(tmp_path / f"tiny-{kind}", kind, as_pickle=as_pickle)
    report, encoder = export(tmp_path, source, f"open_clip:{source}")
    model = open_clip.create_model(f"local-dir:{source}").eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{source}")
    if kind == "nllb":
        tokenizer.tokenizer.src_lang = "pes_Arab"
    check_texts(encoder, lambda one: model.encode_text(tokenizer([one])))
    check_pixels(encoder, model.encode_image)
    # torchvision's own transforms cannot be had beside this torch, but open_clip says what they would be.
    theirs = open_clip.get_model_preprocess_cfg(model)
    ours = json.loads((tmp_path / "out/visual/preprocess_cfg.json").read_text())
    assert {key: ours[key] for key in ("interpolation", "resize_mode")} == {
        key: theirs[key] for key in ("interpolation", "resize_mode")
    }
    assert report.name == f"tiny-{kind}"
    if kind == "nllb":
        code = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]["pes_Arab"]
        assert all(ids[0] == code and ids[-1] == 2 for ids in encoder.text_tokens(TEXTS))
        config = json.loads((tmp_path / "out/config.json").read_text())
        assert config["text_cfg"]["tokenizer_kwargs"] == {"language": "pes_Arab"}


def test_open_clip_by_name_with_weights_from_a_file(tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    source = foreign_models.open_clip_repository(tmp_path / "tiny-clip", "clip")
    name = f"open_clip:tiny-clip:{source / 'open_clip_model.safetensors'}"
    report, encoder = export(tmp_path, name, name)
    assert report.name == "tiny-clip__open_clip_model"
    assert str(tmp_path) not in (tmp_path / "out/config.json").read_text()
    export_model(ExportPlan(text=str(source), image=str(source), out=tmp_path / "again"))
    again = load_encoder(tmp_path / "again")
    np.testing.assert_allclose(again.encode_texts(TEXTS[:3]), encoder.encode_texts(TEXTS[:3]), atol=1e-6)


def test_eight_bits(tmp_path: Path) -> None:
    """Smaller, close to the float model, and no row depends on what else is in its batch."""
    source = foreign_models.clip(tmp_path / "clip")
    float_report, full = export(tmp_path, source, source)
    (tmp_path / "out").rename(tmp_path / "float")
    report, small = export(tmp_path, source, source, is_int8=True)
    assert report.int8 is not None
    assert report.int8.float_bytes == float_report.size_bytes
    assert report.size_bytes == report.int8.int8_bytes < float_report.size_bytes
    full = load_encoder(tmp_path / "float", threads=1)
    cosines = (full.encode_texts(PROBE_TEXTS) * small.encode_texts(PROBE_TEXTS)).sum(1)
    assert cosines.min() == pytest.approx(report.int8.text_cosine_worst, abs=1e-6)
    assert 0.99 < cosines.min() < 0.99999
    assert (full.encode_images(PHOTOS) * small.encode_images(PHOTOS)).sum(1).min() > 0.99
    np.testing.assert_allclose(small.encode_texts(TEXTS)[3], small.encode_texts([TEXTS[3]])[0], atol=1e-6)
    import onnx

    graph = onnx.load(tmp_path / "out/textual/model.onnx").graph
    floats = [one for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT and len(one.dims) == 2]
    assert max((int(np.prod(one.dims)) for one in floats if not one.name.endswith("row_scales")), default=0) <= 77 * 32


def test_weights_that_do_not_fit_into_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peyda.encoders.export import graph

    source = foreign_models.clip(tmp_path / "clip")
    _, inside = export(tmp_path, source, source)
    monkeypatch.setattr(graph, "EXTERNAL_LIMIT_BYTES", 10_000)
    (tmp_path / "out").rename(tmp_path / "inside")
    report, beside = export(tmp_path, source, source, is_int8=True)
    weights = tmp_path / "out/textual/model.onnx.data"
    assert weights.stat().st_size > 10_000
    assert report.size_bytes > weights.stat().st_size
    inside = load_encoder(tmp_path / "inside")
    assert (inside.encode_texts(TEXTS) * beside.encode_texts(TEXTS)).sum(1).min() > 0.99
    before = model_info(tmp_path / "out")
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(Exception, match=r"model\.onnx\.data"):
        model_info(tmp_path / "out")
    config = json.loads((tmp_path / "out/config.json").read_text())
    del config["peyda"]["files"]  # as a foreign export has none
    (tmp_path / "out/config.json").write_text(json.dumps(config))
    after = model_info(tmp_path / "out")
    assert after.fingerprint != before.fingerprint
    assert after.visual_fingerprint == before.visual_fingerprint


def test_pictures_of_every_mode_are_embedded(tmp_path: Path) -> None:
    source = foreign_models.siglip2(tmp_path / "siglip2")
    _, encoder = export(tmp_path, source, source)
    images = [Image.new(mode, (9, 5)) for mode in ("L", "RGBA", "P", "CMYK")]
    assert encoder.encode_images(images).shape == (4, 32)
    assert encoder.encode_images([]).shape == (0, 32)
    assert encoder.encode_texts([]).shape == (0, 32)
