"""The CorrNet baseline: its loss against NumPy, words, features, graphs against torch, and whole runs at toy size."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("gensim")
pytest.importorskip("transformers")
pytestmark = pytest.mark.torch

from tests.torchvision_ops import define_torchvision_ops  # noqa: E402

define_torchvision_ops()  # before anything of timm or transformers looks for torchvision

from peyda.encoders import load_encoder  # noqa: E402
from peyda.errors import ConfigError, DataError, ModelError, StorageError  # noqa: E402
from peyda.training.baseline import backbone as backbones  # noqa: E402
from peyda.training.baseline.backbone import make_backbone  # noqa: E402
from peyda.training.baseline.corrnet import CorrNet, Standardize, correlation  # noqa: E402
from peyda.training.baseline.features import photo_features, readable  # noqa: E402
from peyda.training.baseline.fit import CHECKPOINT, BaselineData, ValSet, fit  # noqa: E402
from peyda.training.baseline.graphs import image_graph, text_graph  # noqa: E402
from peyda.training.baseline.recipe import (  # noqa: E402
    BaselineRecipe,
    CorrNetRecipe,
    EncoderRecipe,
    FitRecipe,
    WordRecipe,
    read_baseline_recipe,
)
from peyda.training.baseline.run import train_baseline  # noqa: E402
from peyda.training.baseline.words import (  # noqa: E402
    FIRST_WORD,
    WordVectors,
    cached_words,
    split_words,
    train_words,
)

ROOT = Path(__file__).parents[2]
COLOURS = {"قرمز": (225, 30, 30), "سبز": (30, 205, 40), "آبی": (30, 40, 225), "زرد": (240, 225, 20)}


# --- the autoencoder and its loss ----------------------------------------------------------------------------------


def _model(**settings: Any) -> CorrNet:
    torch.manual_seed(3)
    return CorrNet(6, 5, CorrNetRecipe(**{"dim": 4, "dropout": 0.0, **settings}))


def _rows(count: int = 7, seed: int = 0) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=generator), torch.randn(count, 5, generator=generator)


@pytest.mark.parametrize("hidden", [0, 3])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "identity"])
def test_losses_equal_those_worked_out_in_numpy(hidden: int, activation: str) -> None:
    model = _model(hidden=hidden, activation=activation, correlation=2.5)
    images, texts = _rows()
    model.image_input.set_from(images)
    model.text_input.set_from(texts)
    found = model.losses(images, texts)
    weights = {name: value.detach().double().numpy() for name, value in model.state_dict().items()}

    def layers(part: str, x: np.ndarray) -> np.ndarray:
        for n in (0, 2) if hidden else (0,):
            x = np.maximum(x, 0) if n else x
            x = x @ weights[f"{part}.{n}.weight"].T + weights.get(f"{part}.{n}.bias", 0.0)
        return x

    def code(total: np.ndarray) -> np.ndarray:
        return {"sigmoid": lambda t: 1 / (1 + np.exp(-t)), "tanh": np.tanh, "identity": lambda t: t}[activation](total)

    x, y = images.double().numpy(), texts.double().numpy()
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean(0)) / y.std(0)
    of_x, of_y, bias = layers("image_encoder", x), layers("text_encoder", y), weights["bias"]
    h_both, h_x, h_y = code(of_x + of_y + bias), code(of_x + bias), code(of_y + bias)

    def error(h: np.ndarray) -> float:
        return float(((layers("image_decoder", h) - x) ** 2).mean() + ((layers("text_decoder", h) - y) ** 2).mean())

    pearson = np.mean([np.corrcoef(h_x[:, n], h_y[:, n])[0, 1] for n in range(4)])
    wanted = (error(h_both), error(h_x), error(h_y), pearson)
    terms = (found.both, found.from_image, found.from_text, found.correlation)
    assert [term.item() for term in terms] == pytest.approx(wanted, abs=1e-4)
    assert found.total.item() == pytest.approx(sum(wanted[:3]) - 2.5 * pearson, abs=1e-4)


def test_correlation_by_hand() -> None:
    a = torch.tensor([[1.0, 1.0, 5.0], [2.0, 2.0, 5.0], [3.0, 3.0, 5.0]])
    b = torch.tensor([[10.0, 3.0, 1.0], [20.0, 2.0, 2.0], [30.0, 1.0, 9.0]])
    assert correlation(a, b).tolist() == pytest.approx([1.0, -1.0, 0.0], abs=1e-5)


def test_a_coordinate_that_never_varies_becomes_zero() -> None:
    view = Standardize(2)
    view.set_from(torch.tensor([[1.0, 7.0], [3.0, 7.0]]))
    assert view(torch.tensor([[3.0, 7.0]])).tolist() == [[1.0, 0.0]]


def test_gradients_reach_every_weight() -> None:
    model = _model(hidden=3)
    model.losses(*_rows()).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_one_batch_overfits() -> None:
    torch.manual_seed(0)
    images, texts = torch.randn(32, 24), torch.randn(32, 12)
    model = CorrNet(24, 12, CorrNetRecipe(dim=48, dropout=0.0, activation="tanh", correlation=1.0))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.0)
    first = model.losses(images, texts).total.item()
    for _ in range(120):
        loss = model.losses(images, texts).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        model.eval().set_code_statistics(images, texts)
        similarity = model.embed_images(images) @ model.embed_texts(texts).T
    assert (similarity.argmax(0) == torch.arange(32)).all()
    assert loss.item() < first - 4


def test_dropout_thins_what_is_read_but_not_what_is_rebuilt() -> None:
    model = _model(dropout=0.9)
    images, texts = _rows()
    torch.manual_seed(1)
    trained = model.losses(images, texts).both.item()
    assert trained != model.eval().losses(images, texts).both.item()
    # A model that rebuilds nothing has the error of the whole targets, dropout or not.
    with torch.no_grad():
        for decoder in (model.train().image_decoder, model.text_decoder):
            decoder[0].weight.zero_()
            decoder[0].bias.zero_()
    wanted = images.square().mean() + texts.square().mean()
    assert model.losses(images, texts).both.item() == pytest.approx(wanted.item(), rel=1e-6)


# --- words ---------------------------------------------------------------------------------------------------------


def _words() -> WordVectors:
    table = np.asarray([[0, 0], [0, 0], [1, 0], [0, 2], [5, 5]], np.float32)
    return WordVectors(["سگ", "برف", "در"], table, 4)


def test_a_caption_is_the_mean_of_its_known_words() -> None:
    vectors = _words().mean_vectors(["سگ در برف", "سگ, برف!", "سگ ناشناخته", "unknown", "", "سگ سگ سگ سگ برف"])
    np.testing.assert_allclose(vectors, [[2, 7 / 3], [0.5, 1], [1, 0], [0, 0], [0, 0], [1, 0]], rtol=1e-6)


def test_words_are_split_at_spaces_and_punctuation() -> None:
    assert split_words("سگ, در برف! 2 dogs...") == ["سگ", "در", "برف", "2", "dogs"]


def test_word2vec_is_deterministic_and_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["سگ در برف", "گربه در خانه", "سگ در خانه"] * 20
    recipe = WordRecipe(dim=8, epochs=3)
    first = cached_words(texts, recipe, tmp_path, seed=0)
    assert set(first.words) == {"سگ", "در", "برف", "گربه", "خانه"}
    assert first.table.shape == (5 + FIRST_WORD, 8)
    assert not first.table[:FIRST_WORD].any()
    again = train_words(texts, recipe, seed=0)
    assert again.words == first.words
    np.testing.assert_array_equal(again.table, first.table)
    assert not np.array_equal(train_words(texts, recipe, seed=1).table, first.table)
    monkeypatch.setattr("peyda.training.baseline.words.train_words", None)
    cached = cached_words(texts, recipe, tmp_path, seed=0)
    np.testing.assert_array_equal(cached.table, first.table)
    assert cached.words == first.words


def test_captions_without_a_repeated_word_are_an_error() -> None:
    with pytest.raises(DataError, match="no word occurs 2 times"):
        train_words(["سگ در برف"], WordRecipe(dim=4), seed=0)


# --- graphs --------------------------------------------------------------------------------------------------------


def _run(graph: Any, feed: dict[str, np.ndarray]) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, feed)
    return np.asarray(found)


def _backbone_graph(opset: int = 17) -> Any:
    """`image` Float32[b, 3, 2, 1] → `features` Float32[b, 6]: the pixels themselves."""
    from onnx import TensorProto, helper

    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Flatten", ["image"], ["features"])],
            "pixels",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 2, 1])],
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 6])],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )


@pytest.mark.parametrize("settings", [{}, {"activation": "tanh"}, {"activation": "identity", "hidden": 3}])
def test_graphs_equal_torch(settings: dict[str, Any]) -> None:
    model = _model(**settings).eval()
    images, texts = _rows(40)
    with torch.inference_mode():
        model.image_input.set_from(images * 3 + 1)
        model.text_input.set_from(texts * 2 - 1)
        model.set_code_statistics(images, texts)
        pixels = images[:9].numpy().reshape(9, 3, 2, 1)
        found = _run(image_graph(_backbone_graph(), model), {"image": pixels})
        np.testing.assert_allclose(found, model.embed_images(images[:9]).numpy(), atol=1e-5)
        table = np.concatenate([np.zeros((FIRST_WORD, 5), np.float32), texts[:20].numpy()])
        words = WordVectors([f"w{i}" for i in range(20)], table, 8)
        queries = ["w3 w4", "w5", "none w6 w6 w7", "none", "", "w1 w2 w3 w4 w5 w6 w7 w8 w9 w10"]
        ids = [encoding.ids for encoding in words.tokenizer().encode_batch(queries)]
        tokens = np.asarray([[*row, *[0] * (8 - len(row))] for row in ids], np.int32)
        found = _run(text_graph(words, model), {"text": tokens})
        wanted = model.embed_texts(torch.from_numpy(words.mean_vectors(queries))).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found[3], found[4], atol=1e-6, err_msg="unknown words count as none")


def test_a_graph_of_an_old_opset_is_refused() -> None:
    with pytest.raises(ModelError, match="opset 11"):
        image_graph(_backbone_graph(11), _model())


# --- recipes -------------------------------------------------------------------------------------------------------


def test_the_recipe_of_the_repository_is_valid() -> None:
    assert read_baseline_recipe(ROOT / "recipes/baseline.toml").name == "baseline"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae = 'x'", "unknown key nmae"),
        ("[corrnet]\nlamda = 3", "unknown key corrnet.lamda"),
        ("[corrnet]\ndim = '3'", "corrnet.dim must be int"),
        ("[corrnet]\ndim = 0", "corrnet.dim must be at least 1"),
        ("[corrnet]\nactivation = 'gelu'", "unknown corrnet.activation 'gelu'"),
        ("[corrnet]\ndropout = 1.0", "corrnet.dropout"),
        ("[fit]\nbatch = 1", "fit.batch must be at least 2"),
        ("[fit]\nlearning_rate = 0.0", "fit.learning_rate must be above 0"),
        ("[fit]\nlearning_rate = nan", "fit.learning_rate must be above 0"),
        ("[captions]\nnative = 0\nmachine = 0", "nothing to train on"),
    ],
)
def test_recipe_errors_name_the_key(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_baseline_recipe(tmp_path / "recipe.toml")


# --- fitting -------------------------------------------------------------------------------------------------------


def _data(photos: int = 24, seed: int = 0) -> BaselineData:
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(photos + 8, 4)).astype(np.float32)
    images = (hidden @ rng.normal(size=(4, 6))).astype(np.float32)
    texts = (np.repeat(hidden, 2, 0) @ rng.normal(size=(4, 5))).astype(np.float32)
    captions = [(np.asarray([2 * i, 2 * i + 1]), np.asarray([0.5, 0.5], np.float32)) for i in range(photos)]
    val = {
        "sentence": ValSet(texts[2 * photos :: 2], np.arange(8)),
        "short": ValSet(texts[-4:], np.asarray([6, 6, 7, 7])),
    }
    return BaselineData(images[:photos], texts[: 2 * photos], captions, images[photos:], val)


def _recipe(**changes: Any) -> BaselineRecipe:
    fit_recipe = FitRecipe(**{"epochs": 6, "batch": 8, "learning_rate": 1e-2, **changes})
    return BaselineRecipe(corrnet=CorrNetRecipe(dim=8, activation="tanh"), fit=fit_recipe)


class _Killed(Exception):
    pass


def _states_equal(one: CorrNet, other: CorrNet) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def test_resume_is_bitwise_equal(tmp_path: Path) -> None:
    def run(name: str, stop_at: str = "") -> CorrNet:
        def report(line: str) -> None:
            if stop_at and f"epoch={stop_at} " in line:
                raise _Killed

        (tmp_path / name).mkdir(exist_ok=True)
        return fit(_recipe(), _data(), tmp_path / name, report)

    whole = run("whole")
    for stop in ("2", "5"):
        with pytest.raises(_Killed):
            run("broken", stop)
    assert _states_equal(run("broken"), whole)
    assert _states_equal(run("whole"), whole), "a finished run stays as it is"
    first, second = (torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("whole", "broken"))
    assert first["epoch"] == second["epoch"] == 6
    assert all(torch.equal(value, second["model"][name]) for name, value in first["model"].items())


def test_the_best_epoch_is_kept_and_patience_ends_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.1, 0.5, 0.4, 0.5, 0.3, 0.2])
    kept: list[CorrNet] = []

    def validate(model: CorrNet, data: BaselineData) -> dict[str, float]:
        kept.append(CorrNet(6, 5, _recipe().corrnet))
        kept[-1].load_state_dict(model.state_dict())
        return {"score": next(scores)}

    monkeypatch.setattr("peyda.training.baseline.fit.validate", validate)
    best = fit(_recipe(patience=2, epochs=50), _data(), tmp_path, lambda _: None)
    log = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["best_epoch"]) for line in log] == [(1, 1), (2, 2), (3, 2), (4, 2)]
    assert _states_equal(best, kept[1])
    assert not _states_equal(best, kept[3])
    again = fit(_recipe(patience=2, epochs=50), _data(), tmp_path, lambda _: None)
    assert len(kept) == 4, "a run that had ended does not go on"
    assert _states_equal(again, best)


def test_a_loss_that_is_not_finite_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    fit(_recipe(epochs=2), _data(), tmp_path, lambda _: None)
    before = (tmp_path / CHECKPOINT).read_bytes()
    broken = _data()
    broken.images[3] = 1e30
    with pytest.raises(ModelError, match="not finite in epoch 3") as caught:
        fit(_recipe(epochs=4), broken, tmp_path, lambda _: None)
    assert "learning_rate" in caught.value.hint
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(_recipe(epochs=2), _data(), tmp_path, lambda _: None)
    before = (tmp_path / CHECKPOINT).read_bytes()

    def save(_: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(StorageError, match="No space left"):
        fit(_recipe(epochs=4), _data(), tmp_path, lambda _: None)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


# --- the image encoder ---------------------------------------------------------------------------------------------


def test_a_model_directory_gives_its_own_embeddings(tiny_model_dir: Path, photo_dir: Path, tmp_path: Path) -> None:
    recipe = BaselineRecipe(image=EncoderRecipe(encoder=f"{tiny_model_dir}/"))
    photos = sorted(photo_dir.rglob("*.*"))
    backbone = make_backbone(recipe, photos, tmp_path)
    features = photo_features(backbone, photos, tmp_path / "cache", lambda *_: None)
    images = [Image.open(path) for path in photos]
    np.testing.assert_allclose(features, load_encoder(tiny_model_dir).encode_images(images), atol=1e-6)


RESNET_PREPROCESSOR = {
    "crop_pct": 0.875,
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "ConvNextImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "size": {"shortest_edge": 32},
}


def _hf_resnet(folder: Path) -> Any:
    """As microsoft/resnet-18, the original project's encoder, but small: a classifier whose head is not wanted."""
    import transformers

    torch.manual_seed(0)
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    model = transformers.ResNetForImageClassification(config).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(RESNET_PREPROCESSOR))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    return model.resnet


def _hf_clip(folder: Path) -> Any:
    import transformers

    torch.manual_seed(0)
    config = transformers.CLIPVisionConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32, image_size=32, patch_size=8
    )
    model = transformers.CLIPVisionModel(config).eval()
    model.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    crop = {"do_center_crop": True, "crop_size": size, "size": {"shortest_edge": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(RESNET_PREPROCESSOR | crop))
    return model


@pytest.mark.parametrize(("kind", "width"), [("resnet", 16), ("clip", 32)])
def test_models_of_transformers_are_encoders(photo_dir: Path, tmp_path: Path, kind: str, width: int) -> None:
    reference = {"resnet": _hf_resnet, "clip": _hf_clip}[kind](tmp_path / kind)
    recipe = BaselineRecipe(image=EncoderRecipe(encoder=f"hf:{tmp_path / kind}"))
    photos = sorted(photo_dir.rglob("*.*"))
    backbone = make_backbone(recipe, photos, tmp_path)
    assert (backbone.preprocess.size_px, backbone.preprocess.resize_mode) == (32, "shortest")
    assert backbone.preprocess.interpolation == "bicubic"
    if kind == "resnet":
        assert "apache-2.0" in backbone.licence.lower()
    features = photo_features(backbone, photos, tmp_path / "cache", lambda *_: None)
    assert features.shape == (len(photos), width)
    pixels = [backbones.preprocess_image(Image.open(path), backbone.preprocess) for path in photos]
    with torch.inference_mode():
        wanted = reference(pixel_values=torch.from_numpy(np.stack(pixels))).pooler_output.flatten(1).numpy()
    np.testing.assert_allclose(features, wanted, atol=1e-4)
    # The same graph again: what is there is kept, and nothing is loaded a second time.
    before = backbone.path.stat().st_mtime_ns
    assert make_backbone(recipe, photos, tmp_path) == backbone
    assert backbone.path.stat().st_mtime_ns == before


def test_models_of_timm_are_encoders(photo_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("timm", exc_type=ImportError)
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = timm.create_model("resnet10t", pretrained=False).eval()
    config = {"architecture": "resnet10t", "num_classes": 1000, "num_features": 512}
    shown = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear"}
    shown |= {"num_classes": 1000, "classifier": "fc"}
    (tmp_path / "r18").mkdir()
    (tmp_path / "r18/config.json").write_text(json.dumps({**config, "pretrained_cfg": shown}))
    save_file(model.state_dict(), tmp_path / "r18/model.safetensors")
    recipe = BaselineRecipe(image=EncoderRecipe(encoder=f"timm:local-dir:{tmp_path / 'r18'}"))
    photos = sorted(photo_dir.rglob("*.jpg"))
    backbone = make_backbone(recipe, photos, tmp_path)
    features = photo_features(backbone, photos, tmp_path / "cache", lambda *_: None)
    pixels = [backbones.preprocess_image(Image.open(path), backbone.preprocess) for path in photos]
    with torch.inference_mode():
        maps = model.forward_features(torch.from_numpy(np.stack(pixels)))
    np.testing.assert_allclose(features, maps.mean((2, 3)).numpy(), rtol=1e-3, atol=1e-4)
    assert backbone.preprocess.size_px == 32


def test_an_unknown_encoder_is_named(tmp_path: Path) -> None:
    for name, error in (("xx:resnet", ConfigError), ("no-such-model", ModelError), ("hf:/no/such/dir", ModelError)):
        with pytest.raises(error, match=name.replace("/", ".")):
            make_backbone(BaselineRecipe(image=EncoderRecipe(encoder=name)), [], tmp_path)
    assert not (tmp_path / "backbone.onnx").exists()


def test_unreadable_photographs_are_rows_of_nan(tiny_model_dir: Path, photo_dir: Path, tmp_path: Path) -> None:
    photos = sorted(photo_dir.rglob("*.*"))
    photos[2].write_bytes(b"no photograph")
    photos[5].unlink()
    backbone = make_backbone(BaselineRecipe(image=EncoderRecipe(encoder=f"{tiny_model_dir}/")), photos, tmp_path)
    features = photo_features(backbone, photos, tmp_path / "cache", lambda *_: None)
    assert np.flatnonzero(~readable(features)).tolist() == [2, 5]


# --- the whole run -------------------------------------------------------------------------------------------------


def _table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The layout of the development data: photographs of four colours, captioned by their colour."""
    data, rng = tmp_path / "data", np.random.default_rng(0)
    (data / "flickr8k/images").mkdir(parents=True)
    rows: list[tuple[str, str, str]] = []
    for part, count in (("train", 6), ("val", 1), ("test", 1)):
        for colour, rgb in COLOURS.items():
            for n in range(count):
                name = f"{part}{list(COLOURS).index(colour)}{n}.png"
                pixels = np.clip(np.asarray(rgb) + rng.integers(-20, 21, (40, 40, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(data / "flickr8k/images" / name)
                rows.append((name, part, colour))
    _table(data / "flickr8k/split.csv", ["image", "split"], [row[:2] for row in rows])
    captions = [[name, "0", "a colour", f"رنگ {colour} است"] for name, _, colour in rows]
    _table(data / "flickr8k/captions.csv", ["image", "caption_id", "caption_en", "caption_fa"], captions)
    _table(data / "coco/captions.csv", ["image", "caption_id", "caption_en"], [])
    for part, suffix in (("train", ""), ("val", "_val"), ("test", "_test")):
        native = [
            [f"flickr8k/{name}", kind, "0", f"یک تصویر {colour}" if kind == "sentence" else colour]
            for name, where, colour in rows
            if where == part
            for kind in ("sentence", "short")
        ]
        _table(data / f"native_fa{suffix}.csv", ["image", "kind", "caption_id", "caption_fa"], native)
    return data


def _tiny(encoder: str) -> BaselineRecipe:
    return BaselineRecipe(
        name="tiny-baseline",
        image=EncoderRecipe(encoder=encoder, size_px=32),
        words=WordRecipe(dim=12, epochs=30, negative=3),
        corrnet=CorrNetRecipe(dim=12, activation="tanh", dropout=0.0, correlation=3.0),
        fit=FitRecipe(epochs=60, batch=12, learning_rate=1e-2, patience=60),
    )


def _train(recipe: BaselineRecipe, data: Path, run: Path) -> tuple[Path, list[str]]:
    lines: list[str] = []
    return train_baseline(recipe, data, run, run / "model", report=lines.append, progress=lambda *_: None), lines


def test_the_model_loads_and_finds(data_dir: Path, tiny_model_dir: Path, tmp_path: Path, private_home: Path) -> None:
    import peyda
    from peyda.encoders import verify_model

    out, lines = _train(_tiny(f"{tiny_model_dir}/"), data_dir, tmp_path / "run")
    assert any(line.startswith("24 photographs, 72 captions") for line in lines)
    assert verify_model(out) == []
    encoder = load_encoder(out)
    assert (encoder.name, encoder.embed_dim) == ("tiny-baseline", 12)
    photos = sorted((data_dir / "flickr8k/images").glob("test*.png"))
    images = encoder.encode_images([Image.open(path) for path in photos])
    texts = encoder.encode_texts([f"یک تصویر {colour}" for colour in COLOURS])
    assert (texts @ images.T).argmax(1).tolist() == [0, 1, 2, 3]
    # The same embeddings as the weights of the best epoch give in torch.
    state = torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)["best_model"]
    model = CorrNet(16, 12, _tiny("").corrnet).eval()
    model.load_state_dict(state)
    features = load_encoder(tiny_model_dir).encode_images([Image.open(path) for path in photos])
    with torch.inference_mode():
        wanted = model.embed_images(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(images, wanted, atol=1e-4)
    with peyda.Gallery.create(tmp_path / "gallery", model=str(out)) as gallery:
        gallery.index([data_dir / "flickr8k/images"])
        for colour, rgb in COLOURS.items():
            (hit,) = gallery.search(colour, k=1)
            mean = np.asarray(Image.open(hit.path)).mean((0, 1))
            assert np.abs(mean - rgb).max() < 30, colour


def test_unreadable_photographs_are_left_out_and_written_down(
    data_dir: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    images = data_dir / "flickr8k/images"
    (images / "train00.png").write_bytes(b"no photograph")
    (images / "train11.png").unlink()
    (images / "val20.png").write_bytes((images / "val20.png").read_bytes()[:90])
    recipe = dataclasses.replace(_tiny(f"{tiny_model_dir}/"), fit=FitRecipe(epochs=1, batch=8))
    out, lines = _train(recipe, data_dir, tmp_path / "run")
    assert any(line.startswith("22 photographs, 72 captions") and "3 photographs skipped" in line for line in lines)
    skipped = [json.loads(line) for line in (tmp_path / "run/skipped.jsonl").read_text().splitlines()]
    assert sorted(Path(one["path"]).name for one in skipped) == ["train00.png", "train11.png", "val20.png"]
    assert all(one["reason"] for one in skipped)
    assert "3 photographs could not be read" in (out / "model_card.md").read_text(encoding="utf-8")


def _caption_table(data: Path, path: Path, *, leaked: str = "") -> Path:
    """The photographs of `data` as a caption table with splits; `leaked` is in train, too."""
    rows = [
        [f"{part}{n}{i}.png", f"رنگ {colour}", part]
        for part, count in (("train", 6), ("val", 1), ("test", 1))
        for n, colour in enumerate(COLOURS)
        for i in range(count)
    ]
    if leaked:
        rows.append([leaked, "رنگ سبز", "train"])
    _table(path, ["image", "caption_fa", "split"], rows)
    return path


def test_a_caption_table_is_trained_on(data_dir: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(_tiny(f"{tiny_model_dir}/"), fit=FitRecipe(epochs=2, batch=8))
    lines: list[str] = []

    def train(table: Path, images: Path | None) -> Path:
        return train_baseline(
            recipe, None, tmp_path / "run", tmp_path / "out",
            report=lines.append, progress=lambda *_: None, captions=table, images=images,
        )  # fmt: skip

    table = _caption_table(data_dir, tmp_path / "captions.csv")
    images = data_dir / "flickr8k/images"
    out = train(table, images)
    assert any(line.startswith("24 photographs, 24 captions, 5 words") for line in lines)
    assert any("caption_acc@10=" in line for line in lines)
    assert "captions.csv" in (out / "model_card.md").read_text(encoding="utf-8")
    other = tmp_path / "other.csv"
    other.write_text(table.read_text(encoding="utf-8").replace("رنگ", "به رنگ"), encoding="utf-8")
    with pytest.raises(ConfigError, match="other captions"):
        train(other, images)
    with pytest.raises(ConfigError, match="not where they are"):
        train(table, None)
    with pytest.raises(DataError):
        train(_caption_table(data_dir, tmp_path / "leaky.csv", leaked="val00.png"), images)


@pytest.mark.parametrize("leaked", ["val00.png", "test00.png"])
def test_a_val_or_test_caption_stops_the_run(data_dir: Path, tmp_path: Path, leaked: str) -> None:
    with (data_dir / "native_fa.csv").open("a", encoding="utf-8") as file:
        file.write(f"flickr8k/{leaked},sentence,0,سگ\n")
    with pytest.raises(DataError, match="not a training photo"):
        _train(_tiny("efficientnet-lite2"), data_dir, tmp_path / "run")


def test_the_words_of_val_and_test_are_not_learned(data_dir: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    for part in ("val", "test"):
        with (data_dir / f"native_fa_{part}.csv").open("a", encoding="utf-8") as file:
            file.write(f"flickr8k/{part}00.png,sentence,0,پنهان پنهان پنهان\n")
    recipe = dataclasses.replace(_tiny(f"{tiny_model_dir}/"), fit=FitRecipe(epochs=1, batch=8))
    out, _ = _train(recipe, data_dir, tmp_path / "run")
    vocabulary = json.loads((out / "textual/tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert set(vocabulary) == {"<pad>", "<unk>", "یک", "تصویر", "رنگ", "است", *COLOURS}


def test_the_card_shows_measured_numbers_of_these_weights_only(
    data_dir: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    from peyda.evaluation import evaluate_retrieval

    recipe = dataclasses.replace(_tiny(f"{tiny_model_dir}/"), fit=FitRecipe(epochs=2, batch=8))
    run = tmp_path / "run"
    out, _ = _train(recipe, data_dir, run)
    assert "No other captions have been measured yet" in (out / "model_card.md").read_text(encoding="utf-8")
    measured = run / "measured/native-sentences"
    evaluate_retrieval(load_encoder(out), data_dir / "native_fa_test.csv", data_dir, column="caption_fa", out=measured)
    with pytest.MonkeyPatch.context() as patch:  # features are there already: no photograph is read again
        patch.setattr("peyda.training.baseline.features.preprocess_image", None)
        _, lines = _train(recipe, data_dir, run)
    card = (out / "model_card.md").read_text(encoding="utf-8")
    assert "| native sentences | text → image | " in card
    assert card.startswith("---\nlicense: ")
    facts = json.loads((measured / "run.json").read_text())
    (measured / "run.json").write_text(json.dumps({**facts, "fingerprint": "0" * 32}))
    _, lines = _train(recipe, data_dir, run)
    assert any(line.startswith("native-sentences was measured with other weights") for line in lines)
    assert "native sentences |" not in (out / "model_card.md").read_text(encoding="utf-8")


def test_the_default_encoder_is_made_int8(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole run with the real Lite2 code and random weights: the pretrained ones are not needed to test it."""
    import onnx

    from peyda.training import lite2

    def load() -> tuple[Any, Any, Any]:
        torch.manual_seed(1)
        return lite2.Lite2().eval(), torch.zeros(1000, 1280), torch.zeros(1000)

    monkeypatch.setattr(lite2, "load_lite2", load)
    monkeypatch.setattr(backbones, "_CALIBRATION_PHOTOS", 4)
    recipe = dataclasses.replace(_tiny("efficientnet-lite2"), fit=FitRecipe(epochs=1, batch=8))
    out, _ = _train(recipe, data_dir, tmp_path / "run")
    operators = {node.op_type for node in onnx.load(out / "visual/model.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "LpNormalization"} <= operators
    rows = load_encoder(out).encode_images([Image.new("RGB", (30, 20), "red")] * 2)
    assert rows.shape == (2, 12)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_a_run_of_another_recipe_is_refused(data_dir: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(_tiny(f"{tiny_model_dir}/"), fit=FitRecipe(epochs=1, batch=8))
    _train(recipe, data_dir, tmp_path / "run")
    with pytest.raises(ConfigError, match="another recipe"):
        _train(dataclasses.replace(recipe, seed=1), data_dir, tmp_path / "run")


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command_trains_and_says_what_it_needs(
    data_dir: Path, tiny_model_dir: Path, tmp_path: Path, private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peyda.cli.train_baseline import baseline

    monkeypatch.delenv("PEYDA_DATA", raising=False)
    recipe = tmp_path / "r.toml"
    recipe.write_text(f"[image]\nencoder = '{tiny_model_dir}/'\n[fit]\nepochs = 1\nbatch = 8\n[words]\ndim = 8\n")
    arguments = [str(recipe), "--run", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    missing = CliRunner().invoke(baseline, arguments)
    assert isinstance(missing.exception, ConfigError)
    assert "--data" in missing.exception.hint
    done = CliRunner().invoke(baseline, [*arguments, "--data", str(data_dir)], catch_exceptions=False)
    assert done.exit_code == 0
    assert f"model written to {tmp_path / 'out'}" in done.output
    assert load_encoder(tmp_path / "out").embed_dim == 256
