"""Training on toy sizes: the file formats, the loss, resume, the ONNX graphs against torch."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from tokenizers import Tokenizer  # noqa: E402

from peyda.encoders.image_graph import attach_head  # noqa: E402
from peyda.encoders.onnx_parts import quantize_blocks  # noqa: E402
from peyda.encoders.text_graph import TextGraphConfig, build_text_graph  # noqa: E402
from peyda.errors import ConfigError, DataError, ModelError  # noqa: E402
from peyda.training import clip, tuning  # noqa: E402
from peyda.training.baseline.recipe import read_baseline_recipe  # noqa: E402
from peyda.training.data import (  # noqa: E402
    add_translations,
    caltech_split,
    flickr_split,
    load_queries,
    load_training_data,
)
from peyda.training.dual import is_dual_recipe, read_dual_recipe  # noqa: E402
from peyda.training.e5 import (  # noqa: E402
    TextConfig,
    TextTransformer,
    Vocabulary,
    build_text_tower,
    prune_vocabulary,
    read_e5,
)
from peyda.training.export import head_weights  # noqa: E402
from peyda.training.heads import DualHeads, contrastive_loss, correct_hubs, join_heads  # noqa: E402
from peyda.training.lite2 import Lite2, SameConv  # noqa: E402
from peyda.training.lite2_tuning import late_pooled  # noqa: E402
from peyda.training.memory import FeatureMemory  # noqa: E402
from peyda.training.prepare import add_guesses  # noqa: E402
from peyda.training.recipe import (  # noqa: E402
    ClassRecipe,
    HeadRecipe,
    HubRecipe,
    Recipe,
    RefitRecipe,
    TuneRecipe,
    read_recipe,
    read_recipe_as,
)
from peyda.training.text_pooling import FeatureScale, pool, pooled_layers, pooled_width  # noqa: E402
from peyda.training.text_recipe import ScorerRecipe, TranslatorRecipe  # noqa: E402
from peyda.training.tokenizer import pieces_to_keep, tokenizer_json  # noqa: E402

PIECES = ("<s>", "<pad>", "</s>", "<unk>", "▁", "▁query", ":", "▁سگ", "▁برف", "▁dog", "س", "گ", "▁در")
VOCABULARY = Vocabulary(PIECES, tuple(-float(i) for i in range(len(PIECES))), 0, 2, 1, 3)


# --- the text tower's file -----------------------------------------------------------------------------------------


def _pack(weight: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Float32[n, 32k] → the file's 4-bit blocks, and what they decode to."""
    raw, decoded = b"", []
    for block in weight.reshape(-1, 32):
        scale = np.float16(block[np.abs(block).argmax()] / -8 or 1)
        nibbles = np.clip(np.rint(block / np.float32(scale)) + 8, 0, 15).astype(np.uint8)
        raw += scale.tobytes() + bytes(nibbles[:16] | (nibbles[16:] << 4))
        decoded.append((nibbles.astype(np.float32) - 8) * np.float32(scale))
    return raw, np.concatenate(decoded).reshape(weight.shape)


def write_e5(path: Path, *, layers: int = 2) -> dict[str, np.ndarray]:
    """A small file in the very format of e5-small-q4.bin; returns the tensors that it decodes to."""
    rng = np.random.default_rng(0)
    h, ffn, vocab, positions = 32, 64, len(PIECES), 40
    shapes = {"emb.word": (vocab, h), "emb.pos": (positions, h), "emb.type": (2, h)}
    vectors = {"emb.ln.w": h, "emb.ln.b": h}
    for n in range(layers):
        shapes |= {f"l{n}.{m}.w": (h, h) for m in ("q", "k", "v", "ao")}
        shapes |= {f"l{n}.fi.w": (ffn, h), f"l{n}.fo.w": (h, ffn)}
        vectors |= {f"l{n}.{m}.b": h for m in ("q", "k", "v", "ao", "fo")} | {f"l{n}.fi.b": ffn}
        vectors |= {f"l{n}.{norm}.{part}": h for norm in ("aln", "oln") for part in ("w", "b")}
    tensors: dict[str, np.ndarray] = {}
    blobs: list[tuple[str, int, bytes]] = []
    for name, shape in shapes.items():
        value = rng.normal(0, 0.3, shape).astype(np.float32)
        if name in ("emb.pos", "emb.type"):
            tensors[name], data = value, value.tobytes()
        else:
            data, tensors[name] = _pack(value)
        blobs.append((name, value.size, data))
    for name, size in vectors.items():
        value = rng.normal(1 if name.endswith(".w") else 0, 0.1, size).astype(np.float32)
        tensors[name] = value
        blobs.append((name, size, value.tobytes()))
    text = [piece.encode() for piece in PIECES]
    offsets = np.cumsum([0, *map(len, text)]).astype("<u4")
    head = struct.pack("<4sI7ifi", b"E5S1", 1, h, layers, 4, ffn, vocab, positions, 2, 1e-12, 32)
    head += struct.pack("<5iQ", vocab, 0, 2, 1, 3, len(b"".join(text))) + offsets.tobytes()
    head += np.asarray(VOCABULARY.scores, "<f4").tobytes() + b"".join(text) + struct.pack("<iI", 0, 0)
    head += struct.pack("<i", len(blobs))
    table = sum(2 + len(name) + 1 + 4 + 16 for name, _, _ in blobs)
    at = len(head) + table
    for name, size, data in blobs:
        head += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", 0, size, at, len(data))
        at += len(data)
    path.write_bytes(head + b"".join(data for _, _, data in blobs))
    return tensors


def test_e5_file_round_trip(tmp_path: Path) -> None:
    tensors = write_e5(tmp_path / "e5.bin")
    file = read_e5(tmp_path / "e5.bin")
    assert file.vocabulary == VOCABULARY
    assert file.config == TextConfig(32, 2, 4, 64, len(PIECES), 40, file.config.layer_norm_eps)
    assert set(file.tensors) == set(tensors)
    for name, value in tensors.items():
        np.testing.assert_allclose(file.tensors[name], value, atol=1e-6, err_msg=name)


def test_e5_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"ABCD" + bytes(200))
    with pytest.raises(ModelError, match="not an E5S1"):
        read_e5(tmp_path / "x.bin")
    with pytest.raises(ModelError, match="cannot read"):
        read_e5(tmp_path / "absent.bin")


def test_pruned_tower_gives_the_same_features(tmp_path: Path) -> None:
    write_e5(tmp_path / "e5.bin")
    file = read_e5(tmp_path / "e5.bin")
    keep = [7, 8, 4, 5, 6]
    vocabulary, old = prune_vocabulary(file.vocabulary, keep)
    assert [vocabulary.pieces[vocabulary.bos], vocabulary.pieces[vocabulary.pad]] == ["<s>", "<pad>"]
    whole, pruned = build_text_tower(file).eval(), build_text_tower(file, old).eval()
    ids = torch.tensor([[0, 7, 8, 2]])
    renumbered = torch.tensor([[old.index(int(i)) for i in ids[0]]])
    mask = torch.ones_like(ids)
    torch.testing.assert_close(whole(ids, mask), pruned(renumbered, mask))


@pytest.mark.parametrize("pooling", ["mean", "layers"])
def test_padding_does_not_change_features(tmp_path: Path, pooling: str) -> None:
    write_e5(tmp_path / "e5.bin")
    tower = build_text_tower(read_e5(tmp_path / "e5.bin"), pooling=pooling).eval()
    short = tower(torch.tensor([[0, 7, 2]]), torch.tensor([[1, 1, 1]]))
    padded = tower(torch.tensor([[0, 7, 2, 1, 1]]), torch.tensor([[1, 1, 1, 0, 0]]))
    torch.testing.assert_close(short, padded, atol=1e-5, rtol=1e-4)


def test_pooling_of_layers_by_hand() -> None:
    states = [torch.full((1, 3, 2), float(n)) for n in range(3)]
    states[2][0, :, 0] = torch.tensor([5.0, 7.0, 900.0])  # the last token is padding
    pooled = pool(states, torch.tensor([[1, 1, 0]]), (0, 2))
    assert pooled.tolist() == [[0, 0, 6, 2, 5, 2, 7, 2]]
    assert pooled.shape[1] == pooled_width(2, (0, 2))
    assert pool(states, torch.tensor([[1, 1, 0]]), (2,)).tolist() == [[6, 2]]


def test_which_layers_are_pooled() -> None:
    assert pooled_layers("mean", 12) == (12,)
    assert pooled_layers("layers", 12) == (0, 3, 6, 9, 11, 12)
    assert pooled_layers("layers", 6) == (0, 3, 6)
    with pytest.raises(ConfigError, match=r"text\.pooling must be mean or layers"):
        pooled_layers("max", 12)


def test_scaled_features_have_mean_0_and_spread_1() -> None:
    features = np.random.default_rng(0).normal([3, -1, 0], [2, 0.1, 0], (500, 3)).astype(np.float16)
    scaled = FeatureScale.of(features).apply(features)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-2)
    np.testing.assert_allclose(scaled.std(0), [1, 1, 0], atol=1e-2)


# --- the tokenizer -------------------------------------------------------------------------------------------------


def test_tokenizer_template_and_truncation() -> None:
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_json(VOCABULARY, context_length=6)))
    assert tokenizer.encode("سگ در برف").tokens == ["<s>", "▁query", ":", "▁سگ", "▁در", "</s>"]
    assert tokenizer.encode("").tokens == ["<s>", "▁query", ":", "</s>"]


def test_pieces_to_keep_follow_use_and_keep_the_alphabet() -> None:
    kept = pieces_to_keep(VOCABULARY, ["سگ"] * 3 + ["برف"], limit=8)
    pieces = {PIECES[i] for i in kept}
    assert {"▁", "▁query", ":", "س", "گ", "▁سگ"} <= pieces
    assert "▁dog" not in pieces


# --- heads, loss, graphs -------------------------------------------------------------------------------------------


def test_loss_by_hand() -> None:
    images = torch.eye(2)
    loss = contrastive_loss(images, images, torch.tensor([0, 1]), torch.tensor(1.0), 0.0)
    assert loss.item() == pytest.approx(-np.log(np.e / (np.e + 1)), abs=1e-6)


def test_pairs_of_one_label_are_not_pushed_apart() -> None:
    rows = torch.nn.functional.normalize(torch.ones(2, 4), dim=1)
    together = contrastive_loss(rows, rows, torch.tensor([5, 5]), torch.tensor(10.0), 0.0)
    apart = contrastive_loss(rows, rows, torch.tensor([5, 6]), torch.tensor(10.0), 0.0)
    assert together.item() == pytest.approx(apart.item()) == pytest.approx(np.log(2), abs=1e-6)
    assert not torch.allclose(
        contrastive_loss(torch.eye(2), torch.eye(2), torch.tensor([5, 5]), torch.tensor(10.0), 0.0),
        contrastive_loss(torch.eye(2), torch.eye(2), torch.tensor([5, 6]), torch.tensor(10.0), 0.0),
    )


def test_one_batch_overfits() -> None:
    torch.manual_seed(0)
    heads = DualHeads(24, 12, 16, 32, 0.0)
    images, texts = torch.randn(32, 24), torch.randn(32, 12)
    optimizer = torch.optim.AdamW(heads.parameters(), 1e-2)
    labels = torch.arange(32)
    for _ in range(150):
        loss = contrastive_loss(heads.image(images), heads.text(texts), labels, heads.scale, 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    similarity = heads.image(images) @ heads.text(texts).T
    assert (similarity.argmax(0) == labels).all()


def test_four_bit_blocks_are_reproduced_exactly() -> None:
    rng = np.random.default_rng(1)
    scales = rng.uniform(-1, 1, (6, 2)).astype(np.float32)
    nibbles = rng.integers(-8, 8, (6, 2, 32)).astype(np.float32)
    nibbles[..., 3] = -8  # a Q4_0 block always holds its extreme
    weight = (nibbles * scales[..., None]).reshape(6, 64)
    packed, found = quantize_blocks(weight, 4)
    values = np.stack([packed & 15, packed >> 4], -1).reshape(6, 2, 32).astype(np.float32) - 8
    np.testing.assert_array_equal((values * found[..., None]).reshape(6, 64), weight)


@pytest.mark.parametrize(
    ("bits", "members", "corrected", "pooling"),
    [(4, 1, False, "mean"), (8, 1, False, "mean"), (8, 3, False, "mean"), (8, 2, True, "mean"), (8, 2, True, "layers")],
)
def test_text_graph_equals_torch(tmp_path: Path, bits: int, members: int, corrected: bool, pooling: str) -> None:
    import onnxruntime

    write_e5(tmp_path / "e5.bin")
    tower = build_text_tower(read_e5(tmp_path / "e5.bin"), pooling=pooling).eval()
    torch.manual_seed(2)
    images, texts = torch.randn(90, 32), torch.randn(90, tower.width)
    joined = join_heads([DualHeads(32, tower.width, 32, 32, 0.5) for _ in range(members)], images, texts).eval()
    if corrected:
        correct_hubs(joined, images, texts[:20], share=0.5, sharpness=20)
    head = joined.text
    scale = FeatureScale(
        *np.random.default_rng(0).uniform(0.5, 1, (2, tower.width)).astype(np.float32)
        if pooling == "layers"
        else np.asarray([[0], [1]], np.float32)
    )
    weights = {name: value.numpy() for name, value in tower.state_dict().items()}
    weights["word"], weights["position"] = weights.pop("word.weight"), weights.pop("position.weight")
    weights |= scale.weights() | head_weights(head)
    model = build_text_graph(TextGraphConfig(4, 2, 1, 40, tower_bits=bits, pooled=tower.kept), weights)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ids = np.asarray([[0, 7, 8, 2], [0, 9, 2, 1]], np.int32)
    (found,) = session.run(None, {"text": ids})
    with torch.inference_mode():
        features = tower(torch.from_numpy(ids).long(), torch.from_numpy((ids != 1).astype(np.int64)))
        wanted = head(torch.from_numpy(scale.apply(features.numpy()))).numpy()
        if members == 1:  # its turn changes no cosine and is left out
            wanted = wanted @ np.linalg.inv(head.turn.numpy())
    assert (found * wanted).sum(1).min() > 0.999
    (alone,) = session.run(None, {"text": ids[:1]})
    np.testing.assert_allclose(alone, found[:1], atol=1e-5, err_msg="a row must not depend on its batch")


def test_image_head_with_hubs_corrected_equals_torch() -> None:
    import onnx
    import onnxruntime

    torch.manual_seed(3)
    joined = join_heads([DualHeads(64, 32, 32, 32, 0.5) for _ in range(2)], torch.randn(90, 64), torch.randn(90, 32))
    joined.eval()
    bank, images = torch.randn(40, 32), torch.randn(7, 64)
    correct_hubs(joined, torch.randn(90, 64), bank, share=0.5, sharpness=20)
    value = onnx.helper.make_tensor_value_info
    empty = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["image"], ["features"])],
        "backbone",
        [value("image", onnx.TensorProto.FLOAT, ["batch", 64])],
        [value("features", onnx.TensorProto.FLOAT, ["batch", 64])],
    )
    model = attach_head(onnx.helper.make_model(empty), head_weights(joined.image))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": images.numpy()})
    assert found.shape == (7, 32)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    with torch.inference_mode():
        wanted = joined.image(images).numpy()
    assert (found * wanted).sum(1).min() > 0.999
    assert np.corrcoef(found[:, 0], wanted[:, 0])[0, 1] > 0.99


def test_a_hub_loses_what_it_has_in_common_with_all_texts() -> None:
    """Scores change by −share · nearness, up to the lengths of the rows, which the small column hardly changes."""
    torch.manual_seed(4)
    joined = join_heads([DualHeads(48, 32, 64, 32, 0.5) for _ in range(2)], torch.randn(200, 48), torch.randn(200, 32))
    joined.eval()
    images, texts, bank = torch.randn(60, 48), torch.randn(50, 32), torch.randn(30, 32)
    before = (joined.image(images) @ joined.text(texts).T).detach()
    rows = joined.text(bank).detach()
    near = torch.logsumexp(20 * joined.image(images).detach() @ rows.T, 1, keepdim=True) / 20 - math.log(30) / 20
    correct_hubs(joined, images, bank, share=0.5, sharpness=20)
    after = (joined.image(images) @ joined.text(texts).T).detach() * (1 + 0.25**2) ** 0.5
    torch.testing.assert_close(after, before - 0.5 * (near - near.mean()), atol=0.05, rtol=0)
    hub = int(near.argmax())
    assert (after[hub] < before[hub]).all()


def test_same_padding_is_tensorflows() -> None:
    conv = SameConv(1, 1, 3, 2, bias=False)
    torch.nn.init.ones_(conv.weight)
    # At stride 2 on an even side all padding goes to the right and below: the first window starts at 0.
    assert conv(torch.ones(1, 1, 4, 4))[0, 0].tolist() == [[9.0, 6.0], [6.0, 4.0]]


def test_early_and_late_compose() -> None:
    torch.manual_seed(0)
    tower = Lite2().eval()
    pixels = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        for stage in (0, 4, 6):
            parts = tower.late(tower.early(pixels, stage), stage).mean((2, 3))
            torch.testing.assert_close(parts, tower(pixels))


def test_crops_keep_a_constant_map_and_mirror() -> None:
    rng = np.random.default_rng(0)
    torch.testing.assert_close(tuning.crop_maps(torch.full((4, 2, 7, 7), 3.0), 0.5, rng), torch.full((4, 2, 7, 7), 3.0))
    maps = torch.arange(7.0).expand(64, 1, 7, 7).clone()
    whole = tuning.crop_maps(maps, 1.0, rng)
    mirrored = torch.isclose(whole, maps.flip(3), atol=1e-4).all(3).all(2).all(1)
    kept = torch.isclose(whole, maps, atol=1e-4).all(3).all(2).all(1)
    assert (mirrored | kept).all()
    assert 10 < int(mirrored.sum()) < 54
    sided = np.ones(64, bool)
    torch.testing.assert_close(tuning.crop_maps(maps, 1.0, rng, sided), maps, atol=1e-4, rtol=0)


@pytest.mark.parametrize("stage", [2, 4, 6])
def test_late_part_for_tuning_is_the_late_part(stage: int) -> None:
    """The same values as the module's own forward, and the same gradients but for the depthwise kernels."""
    torch.manual_seed(0)
    tower = Lite2(drop_rate=0.0).eval()
    for module in tower.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.running_mean)
    tower = tower.double()
    maps = tower.early(torch.randn(2, 3, 64, 64, dtype=torch.float64), stage).detach()
    weights = torch.randn(2, 1280, dtype=torch.float64)

    def gradients(pooled: Any) -> dict[str, Any]:
        tower.zero_grad(set_to_none=True)
        (pooled * weights).sum().backward()
        return {name: p.grad for name, p in tower.named_parameters() if p.grad is not None}

    plain = tower.late(maps, stage).mean((2, 3))
    fast = late_pooled(tower, maps, stage, dtype=torch.float64)
    torch.testing.assert_close(fast.double(), plain, rtol=1e-5, atol=1e-6)
    wanted, found = gradients(plain), gradients(fast)
    depthwise = {n for n, m in tower.named_modules() if isinstance(m, torch.nn.Conv2d) and m.groups > 1}
    # The scale of the norm that follows belongs to the kernel.
    norms = {f"{n.rpartition('.')[0]}.{int(n.rpartition('.')[2]) + 1}" for n in depthwise}
    assert set(wanted) - set(found) == {f"{n}.weight" for n in (*depthwise, *norms) if f"{n}.weight" in wanted}
    for name in found:
        torch.testing.assert_close(found[name].double(), wanted[name], rtol=1e-4, atol=1e-5, msg=name)


def test_memory_gives_back_the_latest_and_learns_the_way() -> None:
    rng = np.random.default_rng(0)
    frozen = rng.normal(size=(300, 8)).astype(np.float32)
    turn = rng.normal(size=(8, 8)).astype(np.float32) / 8 + np.eye(8, dtype=np.float32)
    memory = FeatureMemory(300, 8)
    assert memory.transport(frozen) is None
    assert len(memory.latest(5, without=np.asarray([], np.int64))) == 0
    for start in range(0, 300, 10):
        photos = np.arange(start, start + 10)
        memory.remember(photos, torch.from_numpy(frozen[photos] @ turn + 1))
    latest = memory.latest(12, without=np.asarray([299, 295]))
    assert sorted(latest.tolist()) == sorted({*range(290, 299)} - {295} | {280, 281, 282, 283})
    found = memory.transport(frozen)
    assert found is not None
    near = np.abs(frozen @ found[0] + found[1] - (frozen @ turn + 1)).mean()
    assert near < 0.1 * np.abs(frozen @ turn + 1 - frozen).mean()


def test_joined_heads_give_the_mean_of_their_cosines() -> None:
    torch.manual_seed(0)
    pairs = [DualHeads(8, 6, 16, 12, 0.5).eval() for _ in range(3)]
    # Eight plus six dimensions in, so that twice the sixteen of the turn hold nearly all there is.
    images, texts = torch.randn(400, 8), torch.randn(400, 6)
    joined = join_heads(pairs, images, texts)
    mean = torch.stack([pair.image(images[:50]) @ pair.text(texts[:50]).T for pair in pairs]).mean(0)
    found = joined.image(images[:50]) @ joined.text(texts[:50]).T
    assert joined.image(images).shape == (400, 16)
    correlation = torch.corrcoef(torch.stack([mean.flatten(), found.flatten()]))[0, 1]
    assert correlation > 0.95
    torch.testing.assert_close(joined.image.turn.T @ joined.image.turn, torch.eye(16), atol=1e-5, rtol=0)


# --- recipes -------------------------------------------------------------------------------------------------------


def test_recipes_of_the_repository_are_valid() -> None:
    recipes = Path(__file__).parents[2] / "recipes"
    readers = {
        "mini": read_recipe,
        "translator": lambda path: read_recipe_as(TranslatorRecipe, path),
        "scorer": lambda path: read_recipe_as(ScorerRecipe, path),
        "baseline": read_baseline_recipe,
    }
    found = sorted(recipes.glob("*.toml"))
    assert len(found) >= 7
    for path in found:
        assert is_dual_recipe(path) == (path.stem not in readers)
        assert readers.get(path.stem, read_dual_recipe)(path).name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae = 'x'", "unknown key nmae"),
        ("[heads]\nepoch = 3", "unknown key heads.epoch"),
        ("seed = 'zero'", "seed must be int"),
        ("heads = 3", "must be a table"),
        ("a = = b", "not TOML"),
    ],
)
def test_recipe_errors_name_the_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_recipe(path)


# --- data and the whole run ----------------------------------------------------------------------------------------


def _table(path: Path, header: list[str], rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The layout of the development data, with 12 plain photographs."""
    data = tmp_path / "data"
    names = [f"p{i}.jpg" for i in range(12)]
    parts = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    rng = np.random.default_rng(0)
    (data / "flickr8k/images").mkdir(parents=True)
    for name in names:
        pixels = np.clip(rng.integers(0, 256, 3) + rng.integers(-9, 9, (40, 40, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(data / "flickr8k/images" / name)
    _table(data / "flickr8k/split.csv", ["image", "split"], [[n, p] for n, p in zip(names, parts, strict=True)])
    _table(
        data / "flickr8k/captions.csv",
        ["image", "caption_id", "caption_en", "caption_fa"],
        [[n, "0", f"dog {i}", "سگ در برف" if i % 2 else ""] for i, n in enumerate(names)],
    )
    _table(data / "coco/captions.csv", ["image", "caption_id", "caption_en"], [])

    def native(part: str) -> list[list[str]]:
        return [[f"flickr8k/{n}", "sentence", "0", "سگ"] for n, p in zip(names, parts, strict=True) if p == part] + [
            [f"flickr8k/{n}", "short", "", "برف"] for n, p in zip(names, parts, strict=True) if p == part
        ]

    header = ["image", "kind", "caption_id", "caption_fa"]
    _table(data / "native_fa.csv", header, native("train"))
    _table(data / "native_fa_val.csv", header, native("val"))
    _table(data / "native_fa_test.csv", header, native("test"))
    return data


WEIGHTS = {"native": 1.0, "machine": 0.5, "english": 0.5, "class": 0.0, "guessed": 0.0}


def test_only_training_photos_are_read(data_dir: Path) -> None:
    training = load_training_data(data_dir, weights=WEIGHTS)
    assert sorted(path.name for path in training.photos) == [f"p{i}.jpg" for i in range(8)]
    assert len(training.texts) == 8 * 2 + 4 + 8
    for ids, share in training.captions_by_photo():
        assert share.sum() == pytest.approx(1)
        assert len(ids) in (3, 4)


def test_translated_captions_bring_no_photograph_in(data_dir: Path, tmp_path: Path) -> None:
    training = load_training_data(data_dir, weights=WEIGHTS)
    before = len(training.texts)
    table = tmp_path / "kept.csv"
    _table(
        table,
        ["image", "caption_id", "caption_en", "caption_fa", "engine", "kept"],
        [
            ["p1.jpg", "1", "a dog", "سگی در باغ", "mini", "true"],
            ["p2.jpg", "1", "a dog", "سگی بد", "mini", "false"],
            ["p3.jpg", "1", "a dog", "سگی که از پیش بود", "", "true"],
            ["p8.jpg", "1", "a dog", "سگ عکس آزمون", "mini", "true"],
        ],
    )
    assert add_translations(training, table, 0.3) == 1
    assert (training.texts[before:], training.kinds[before:]) == (["سگی در باغ"], ["translated"])
    assert training.reweighted({**WEIGHTS, "translated": 0.7}).weights[-1] == 0.7
    _table(table, ["image", "caption_fa", "engine"], [["p8.jpg", "سگ", "mini"]])
    with pytest.raises(DataError, match="no translated caption"):
        add_translations(training, table, 0.3)


def test_photographs_are_given_the_names_that_the_classifier_is_sure_of(data_dir: Path) -> None:
    training = load_training_data(data_dir, weights=WEIGHTS)
    before = len(training.texts)
    weight = torch.eye(4)[:3] * 9
    features = np.zeros((len(training.photos), 4), np.float32)
    features[2, 1] = features[5, 0] = 1.0  # the others leave it undecided
    names = [["سگ", "dog"], ["برف"], ["آب"]]
    add_guesses(training, features, weight, torch.zeros(3), names, 0.2)
    added = list(zip(training.photo_of, training.texts, training.weights, strict=True))[before:]
    assert added == [(2, "برف", 0.2), (5, "سگ", 0.1), (5, "dog", 0.1)]


def test_sides_are_told_from_whole_words(data_dir: Path) -> None:
    training = load_training_data(data_dir, weights=WEIGHTS)
    training.add(0, "سگی سمت چپ ایستاده", "native", 1.0)
    training.add(1, "درِ راستین", "native", 1.0)
    training.add(2, "a dog on the left", "english", 1.0)
    assert training.sided_photos().tolist()[:3] == [True, False, True]


@pytest.mark.parametrize("leaked", ["p8.jpg", "p11.jpg", "unknown.jpg"])
def test_a_val_or_test_caption_stops_the_run(data_dir: Path, leaked: str) -> None:
    with (data_dir / "native_fa.csv").open("a", encoding="utf-8") as file:
        file.write(f"flickr8k/{leaked},sentence,0,سگ\n")
    with pytest.raises(DataError, match="not a training photo"):
        load_training_data(data_dir, weights=WEIGHTS)


def test_queries_have_the_whole_split_as_gallery(data_dir: Path) -> None:
    for kind, count in (("sentence", 2), ("short", 2), ("machine", 1), ("english", 2)):
        queries = load_queries(data_dir, "test", kind)
        assert [path.name for path in queries.photos] == ["p10.jpg", "p11.jpg"]
        assert len(queries.texts) == count


def test_caltech_split_is_by_hash_and_whole_classes_are_unseen(tmp_path: Path) -> None:
    for c in range(25):
        (tmp_path / "caltech101" / f"c{c}").mkdir(parents=True)
        for i in range(20):
            (tmp_path / "caltech101" / f"c{c}" / f"{i}.jpg").touch()
    split = caltech_split(tmp_path)
    parts_of = {c: {split[p] for p in split if p.parent.name == f"c{c}"} for c in range(25)}
    assert sum(parts == {"unseen"} for parts in parts_of.values()) == 20
    seen = [part for part in split.values() if part != "unseen"]
    assert 0.05 < seen.count("test") / len(seen) < 0.4
    assert caltech_split(tmp_path) == split


def _tiny_recipe(path: Path) -> Recipe:
    return Recipe(
        name="tiny",
        heads=HeadRecipe(dim=32, hidden=32, epochs=3, batch=4),
        tune=TuneRecipe(epochs=2, batch=4, memory=3),
        refit=RefitRecipe(epochs=1, batch=4, members=2),
        hubs=HubRecipe(share=0.4, texts=3),
        classes=ClassRecipe(per_batch=2),
        text=dataclasses.replace(Recipe().text, weights=str(path), pieces=13, layers=2),
        image=dataclasses.replace(Recipe().image, size_px=64),
    )


@pytest.fixture
def without_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Lite2 of random weights and no word lists: the real code, without the pretrained packages."""
    from peyda.training import prepare

    def load(*, drop_rate: float) -> tuple[Lite2, Any, Any]:
        torch.manual_seed(1)
        return Lite2(drop_rate=drop_rate).eval(), torch.randn(1000, 1280), torch.zeros(1000)

    monkeypatch.setattr(prepare, "load_lite2", load)
    monkeypatch.setattr(prepare, "_common_words", lambda recipe: ["سگ", "dog"])


def test_whole_run_makes_a_model_that_loads(data_dir: Path, tmp_path: Path, without_downloads: None) -> None:
    from peyda.encoders import load_encoder
    from peyda.training.run import train_clip

    write_e5(tmp_path / "e5.bin")
    recipe = _tiny_recipe(tmp_path / "e5.bin")
    lines: list[str] = []
    out = train_clip(
        recipe, data_dir, tmp_path / "run", tmp_path / "model", report=lines.append, progress=lambda *_: None
    )
    encoder = load_encoder(out)
    rows = encoder.encode_images([Image.new("RGB", (30, 20), "red")])
    assert rows.shape == (1, 32)
    assert encoder.encode_texts(["سگ در برف", "dog"]).shape == (2, 32)
    log = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["epoch"]) for line in log if "epoch" in line] == [
        ("heads", 1), ("heads", 2), ("heads", 3), ("tune", 1), ("tune", 2), ("refit", 1), ("refit-2", 1),
    ]  # fmt: skip
    with (data_dir / "native_fa.csv").open("a", encoding="utf-8") as table:
        name = next(name for name, part in flickr_split(data_dir).items() if part == "train")
        table.write(f"flickr8k/{name},short,,گربه\n")
    with pytest.raises(ConfigError, match="have changed"):
        train_clip(
            recipe, data_dir, tmp_path / "run", tmp_path / "model", report=lines.append, progress=lambda *_: None
        )
    with pytest.raises(ConfigError, match="another recipe"):
        train_clip(
            dataclasses.replace(recipe, seed=9),
            data_dir, tmp_path / "run", tmp_path / "model2", report=lines.append, progress=lambda *_: None,
        )  # fmt: skip


def test_text_embeddings_of_an_exported_run_are_those_of_training(
    data_dir: Path, tmp_path: Path, without_downloads: None
) -> None:
    """As the shipped recipe has it: several layers pooled and brought to one scale, the tuned heads going on alone."""
    from peyda.encoders import load_encoder
    from peyda.training import run as runs

    write_e5(tmp_path / "e5.bin")
    tiny = _tiny_recipe(tmp_path / "e5.bin")
    recipe = dataclasses.replace(
        tiny,
        text=dataclasses.replace(tiny.text, pooling="layers"),
        refit=dataclasses.replace(tiny.refit, start="tuned"),
    )
    quiet = {"report": lambda _: None, "progress": lambda *_: None}
    out = runs.train_clip(recipe, data_dir, tmp_path / "run", tmp_path / "model", **quiet)
    prepared = runs.prepare(recipe, data_dir, tmp_path / "run", lambda *_: None)
    assert prepared.text_features.shape[1] == 4 * 32  # two layers' means, the last one's first token and maximum
    heads = DualHeads(1280, 4 * 32, 32, 32, 0.5)
    heads.load_state_dict(torch.load(tmp_path / "run/refit.pt", weights_only=True)["average"])
    rows = prepared.text_row[:6]
    features = torch.from_numpy(prepared.text_features[rows].astype(np.float32))
    wanted = heads.eval().text(features).detach().numpy()
    # The columns are turned, and one stands for hubs: what texts have among each other stays.
    texts = [prepared.data.texts[i] for i in range(6)]
    found = load_encoder(out).encode_texts(texts)[:, 1:]
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, atol=0.05)
    without_heads = dataclasses.replace(recipe, tune=dataclasses.replace(recipe.tune, epochs=0))
    with pytest.raises(ConfigError, match="needs tuned heads"):
        runs.train_clip(without_heads, data_dir, tmp_path / "run2", tmp_path / "model2", **quiet)


class _Killed(Exception):
    pass


def test_resume_is_bitwise_equal(data_dir: Path, tmp_path: Path, without_downloads: None) -> None:
    """A run that dies after an epoch of either stage ends with the very weights of an unbroken one."""
    from peyda.training.prepare import prepare

    write_e5(tmp_path / "e5.bin")
    recipe = _tiny_recipe(tmp_path / "e5.bin")

    def run(name: str, stop_after: tuple[str, ...]) -> dict[str, Any]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        prepared = prepare(recipe, data_dir, tmp_path / "shared", lambda *_: None)

        def report(line: str) -> None:
            if any(line.startswith(start) for start in stop_after):
                raise _Killed

        heads = clip.train_heads(recipe, prepared, folder, report)
        return tuning.tune(recipe, prepared, tuning.ClipModel(heads, prepared.tower), folder, report).state_dict()

    whole = run("whole", ())
    for stop in ("stage=heads epoch=2", "stage=tune epoch=2"):
        with pytest.raises(_Killed):
            run("broken", (stop,))
    resumed = run("broken", ())
    for part in ("heads", "tower"):
        for name, value in whole[part].items():
            assert torch.equal(value, resumed[part][name]), f"{part}.{name}"


def test_text_transformer_is_differentiable() -> None:
    tower = TextTransformer(TextConfig(16, 1, 2, 32, 10, 8))
    tower(torch.tensor([[0, 4, 2]]), torch.ones(1, 3, dtype=torch.int64)).sum().backward()
    assert all(parameter.grad is not None for parameter in tower.layers.parameters())
