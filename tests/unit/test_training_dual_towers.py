"""Towers of other people's libraries: small random models in the files that hubs serve, trained a step and exported."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests import foreign_models  # noqa: E402
from tests.torchvision_ops import define_torchvision_ops  # noqa: E402

define_torchvision_ops()

from peyda.encoders import load_encoder  # noqa: E402
from peyda.encoders.export.parity import probe_photographs  # noqa: E402
from peyda.errors import ConfigError, ModelError  # noqa: E402
from peyda.persian import normalize  # noqa: E402
from peyda.training.dual.export import export_model  # noqa: E402
from peyda.training.dual.losses import info_nce  # noqa: E402
from peyda.training.dual.model import DualModel, parameter_groups  # noqa: E402
from peyda.training.dual.recipe import (  # noqa: E402
    DualRecipe,
    HeadRecipe,
    ImageRecipe,
    TextRecipe,
    TowerNames,
    check_recipe,
)
from peyda.training.dual.towers import load_image_tower, load_text_tower  # noqa: E402

pytestmark = pytest.mark.torch

SIZE = foreign_models.IMAGE_SIZE


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _plan(image: str, text: str, length: int, /, **parts: Any) -> DualRecipe:
    settings = {"image": ImageRecipe(), "text": TextRecipe(context_length=length), "heads": HeadRecipe(dim=16)}
    recipe = DualRecipe(name="pair", towers=TowerNames(image, text), **{**settings, **parts})
    check_recipe(recipe)
    return recipe


def _pair(recipe: DualRecipe, folder: Path) -> DualModel:
    return DualModel(load_image_tower(recipe), load_text_tower(recipe, [], folder), recipe)


def _train_a_step(model: DualModel) -> None:
    """One step changes every layer of both towers."""
    size = model.image.preprocess.size_px
    before = {name: value.detach().clone() for name, value in model.learning().items()}
    optimizer = torch.optim.AdamW(parameter_groups(model), 1e-2)
    photo = torch.arange(4)
    images = model.train().embed_images(torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0)))
    texts = model.embed_texts(*model.text.tokenize(foreign_models.TEXTS[:4]))
    info_nce(images, texts, photo, photo, model.scale).backward()
    optimizer.step()
    changed = [name for name, value in model.learning().items() if not torch.equal(value, before[name])]
    assert any(name.startswith("image.") for name in changed)
    assert any(name.startswith("text.") for name in changed)


def _bert(folder: Path) -> Path:
    import transformers

    tokenizer = foreign_models.bert_tokenizer()
    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=len(tokenizer)
    )
    return foreign_models.save(folder, foreign_models.enliven(transformers.BertModel(config)), tokenizer)


def _xlm_roberta(folder: Path) -> Path:
    import transformers

    tokenizer = foreign_models.xlm_roberta_tokenizer()
    config = transformers.XLMRobertaConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=66,
        vocab_size=len(tokenizer),
        pad_token_id=1,
        type_vocab_size=1,
    )
    return foreign_models.save(folder, foreign_models.enliven(transformers.XLMRobertaModel(config)), tokenizer)


def _vit(folder: Path) -> Path:
    import transformers

    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=SIZE, patch_size=8
    )
    model = foreign_models.enliven(transformers.ViTModel(config))
    return foreign_models.save(folder, model, preprocessor=foreign_models.SIGLIP_PREPROCESSOR)


_PAIRS = {
    "CLIP and RoBERTa": (foreign_models.clip_vision, foreign_models.roberta_text, 48, ("shortest", "bicubic")),
    "ViT and BERT": (_vit, _bert, 32, ("squash", "bilinear")),
    "SigLIP 2, both halves": (foreign_models.siglip2, None, 64, ("squash", "bilinear")),
    "CLIP, both halves": (foreign_models.clip, None, 40, ("shortest", "bicubic")),
}


@pytest.mark.parametrize("kind", _PAIRS)
def test_hub_pairs_train_and_export(tmp_path: Path, kind: str) -> None:
    make_image, make_text, length, how = _PAIRS[kind]
    image = make_image(tmp_path / "image")
    text = image if make_text is None else make_text(tmp_path / "text")
    model = _pair(_plan(f"hf:{image}", f"hf:{text}", length), tmp_path / "vocabulary")
    assert (model.image.preprocess.resize_mode, model.image.preprocess.interpolation) == how
    assert (len(model.image.groups), len(model.text.groups)) == (4, 4)  # embeddings, two layers, the top
    for tower in (model.image, model.text):
        assert sum(map(len, tower.groups)) == len(list(tower.parameters()))
        assert all(tower.groups[1:3])
    _train_a_step(model)
    encoder = load_encoder(export_model(model, tmp_path / "out", measured={"val_acc@10": 0.5}))
    texts = encoder.encode_texts(foreign_models.TEXTS)
    with torch.inference_mode():
        normalised = [normalize(text) for text in foreign_models.TEXTS]
        expected = model.embed_texts(*model.text.tokenize(normalised)).numpy()
    np.testing.assert_allclose(texts, expected, atol=2e-3)
    photos = probe_photographs()[:2]
    with torch.inference_mode():
        pixels = torch.from_numpy(np.stack([encoder.preprocess(photo) for photo in photos]))
        expected = model.embed_images(pixels).numpy()
    np.testing.assert_allclose(encoder.encode_images(photos), expected, atol=2e-3)
    card = (tmp_path / "out/model_card.md").read_text()
    assert "`hf:image`" in card
    assert str(tmp_path) not in card + (tmp_path / "out/config.json").read_text()


def test_towers_without_heads_as_the_original_project_had_them(tmp_path: Path) -> None:
    image = foreign_models.clip_vision(tmp_path / "image")
    text = foreign_models.roberta_text(tmp_path / "text")
    recipe = _plan(
        f"hf:{image}",
        f"hf:{text}",
        80,
        image=ImageRecipe(pool="pooler", resize="squash", normalize="imagenet"),
        text=TextRecipe(context_length=80, pool="pooler"),
        heads=HeadRecipe(kind="none"),
    )
    model = _pair(recipe, tmp_path)
    assert model.embed_dim == foreign_models.WIDTH
    assert (model.image.preprocess.resize_mode, model.image.preprocess.mean[0]) == ("squash", 0.485)
    assert {name.split(".")[0] for name in model.learning()} == {"image", "text", "logit_scale"}
    with pytest.raises(ConfigError, match="reads at most 80 tokens"):
        _pair(_plan(f"hf:{image}", f"hf:{text}", 81), tmp_path)


def test_poolings_differ_and_a_missing_pooler_is_said(tmp_path: Path) -> None:
    text = foreign_models.roberta_text(tmp_path / "text", pooler=True)
    rows = {}
    for pool in ("cls", "mean", "pooler"):
        plan = _plan("lite2", f"hf:{text}", 32, text=TextRecipe(context_length=32, pool=pool))
        tower = load_text_tower(plan, [], tmp_path).eval()
        rows[pool] = tower(*tower.tokenize(["سگ در برف"])).detach()
        padded = tower(*tower.tokenize(["سگ در برف", foreign_models.TEXTS[0]])).detach()
        torch.testing.assert_close(rows[pool][0], padded[0], atol=1e-4, rtol=1e-3)
        assert any("pooler" in name for name, _ in tower.named_parameters()) == (pool == "pooler")
    assert not torch.allclose(rows["cls"], rows["mean"])
    import transformers

    tokenizer = foreign_models.bert_tokenizer()
    config = transformers.DistilBertConfig(dim=32, n_layers=1, n_heads=4, hidden_dim=64, vocab_size=len(tokenizer))
    folder = foreign_models.save(tmp_path / "distil", transformers.DistilBertModel(config), tokenizer)
    with pytest.raises(ConfigError, match="has no pooler"):
        load_text_tower(
            _plan("lite2", f"hf:{folder}", 32, text=TextRecipe(context_length=32, pool="pooler")), [], tmp_path
        )


def test_siglip_text_reads_its_whole_context(tmp_path: Path) -> None:
    folder = foreign_models.siglip2(tmp_path / "siglip2")
    tower = load_text_tower(_plan("lite2", f"hf:{folder}", 64), [], tmp_path)
    assert tower.tokenize(["dog"])[0].shape == (1, 64)
    with pytest.raises(ConfigError, match="reads exactly 64 tokens"):
        load_text_tower(_plan("lite2", f"hf:{folder}", 32), [], tmp_path)


@pytest.mark.parametrize(("name", "size"), [("test_vit", 32), ("test_efficientnet", 64)])
def test_timm_with_a_persian_text_tower(tmp_path: Path, name: str, size: int) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    options = {"img_size": size} if name == "test_vit" else {}
    torch.save(timm.create_model(name, **options).state_dict(), tmp_path / "weights.pth")
    text = _xlm_roberta(tmp_path / "text")
    recipe = _plan(f"timm:{name}:{tmp_path}/weights.pth", f"hf:{text}", 64, image=ImageRecipe(size_px=size))
    model = _pair(recipe, tmp_path)
    assert model.image.preprocess.size_px == size
    assert len(model.image.groups) > 2
    assert sum(map(len, model.image.groups)) == len(list(model.image.parameters()))
    _train_a_step(model)
    encoder = load_encoder(export_model(model, tmp_path / "out", measured={}))
    assert encoder.image_size_px == size
    assert str(tmp_path) not in (tmp_path / "out/config.json").read_text()


def test_timm_models_that_there_are_not(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    with pytest.raises(ModelError, match="no_such_model"):
        load_image_tower(_plan("timm:no_such_model", "e5", 32))
    with pytest.raises(ModelError, match="no file"):
        load_image_tower(_plan(f"timm:test_vit:{tmp_path}/absent.pth", "e5", 32))


def test_open_clip_both_halves(tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    foreign_models.open_clip_repository(tmp_path / "repository", "clip")
    name = f"open_clip:tiny-clip:{tmp_path}/repository/open_clip_model.safetensors"
    model = _pair(_plan(name, name, 77, heads=HeadRecipe(kind="none")), tmp_path)
    assert model.embed_dim == 24
    assert any(parameter is model.image.net.proj for parameter in model.image.groups[-1])
    assert any(parameter is model.text.net.net.text_projection for parameter in model.text.groups[-1])
    with torch.no_grad():
        rows = model.embed_texts(*model.text.tokenize(foreign_models.TEXTS))
    assert (rows @ rows.T).min() < 0.99  # the weights of the file, not the library's own small ones
    _train_a_step(model)
    encoder = load_encoder(export_model(model, tmp_path / "out", measured={}))
    assert encoder.encode_texts(["سگ", "dog"]).shape == (2, 24)
    with pytest.raises(ConfigError, match="reads exactly 77 tokens"):
        load_text_tower(_plan("lite2", name, 32), [], tmp_path)
    with pytest.raises(ModelError, match="no file"):
        load_image_tower(_plan("open_clip:tiny-clip:absent.pt", "e5", 32))


def test_a_directory_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError):
        load_image_tower(_plan(f"hf:{tmp_path}/empty", "e5", 32))
    text = foreign_models.roberta_text(tmp_path / "text")
    with pytest.raises(ModelError, match="no photographs"):
        load_image_tower(_plan(f"hf:{text}", "e5", 32))


def test_missing_preprocessing_is_said_or_given(tmp_path: Path) -> None:
    folder = foreign_models.clip_vision(tmp_path / "image")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError) as caught:
        load_image_tower(_plan(f"hf:{folder}", "e5", 32))
    assert "image.resize and image.normalize" in caught.value.hint
    given = ImageRecipe(resize="squash", normalize="clip")
    tower = load_image_tower(_plan(f"hf:{folder}", "e5", 32, image=given))
    assert (tower.preprocess.size_px, tower.preprocess.resize_mode) == (SIZE, "squash")
    with pytest.raises(ConfigError, match="reads photographs of 32 px"):
        load_image_tower(_plan(f"hf:{folder}", "e5", 32, image=dataclasses.replace(given, size_px=64)))


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match="needs the package timm"):
        load_image_tower(_plan("timm:test_vit", "e5", 32))
