"""The general trainer's parts: losses by hand, gradient caching, freezing, rates, recipes, the processes of a run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from peyda.errors import ConfigError  # noqa: E402
from peyda.training.dual import DualRecipe, is_dual_recipe, read_dual_recipe  # noqa: E402
from peyda.training.dual.fleet import Fleet  # noqa: E402
from peyda.training.dual.grad_cache import Side, backward  # noqa: E402
from peyda.training.dual.loop import precision_context, rate_share  # noqa: E402
from peyda.training.dual.losses import cosine_distance, info_nce, mean_squared_error, sigmoid_loss  # noqa: E402
from peyda.training.dual.model import Average, DualModel, parameter_groups  # noqa: E402
from peyda.training.dual.recipe import (  # noqa: E402
    HeadRecipe,
    ImageRecipe,
    LossRecipe,
    TextRecipe,
    TowerNames,
    TrainRecipe,
    check_recipe,
)
from peyda.training.dual.towers import ImageTower, TextTower, groups_of, load_image_tower, load_text_tower  # noqa: E402

pytestmark = pytest.mark.torch

RECIPES = Path(__file__).parents[2] / "recipes"
TEXTS = ["سگ در برف", "گربه روی میز", "dog", "کوه و دریا"]
ONE = torch.tensor(1.0)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads, and lose much where the cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def recipe(**parts: object) -> DualRecipe:
    """Two tiny towers of random weights."""
    base = DualRecipe(
        name="small",
        towers=TowerNames("random:vit-2x32", "random:bert-3x32"),
        image=ImageRecipe(size_px=32),
        text=TextRecipe(context_length=16, pieces=60),
        heads=HeadRecipe(dim=24),
    )
    return dataclasses.replace(base, **parts)


def build(tmp_path: Path, plan: DualRecipe) -> DualModel:
    check_recipe(plan)
    return DualModel(load_image_tower(plan), load_text_tower(plan, TEXTS, tmp_path / "vocabulary"), plan)


def pixels(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def unit_rows(*rows: Sequence[float]) -> Tensor:
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=1)


# --- losses --------------------------------------------------------------------------------------------------------


def test_infonce_by_hand() -> None:
    loss = info_nce(torch.eye(2), torch.eye(2), torch.arange(2), torch.arange(2), ONE)
    assert loss.item() == pytest.approx(-math.log(math.e / (math.e + 1)), abs=1e-6)


def test_infonce_with_two_captions_of_one_photograph_by_hand() -> None:
    """Photograph 0 has texts a and b, photograph 1 has c; all at right angles but for a = photo 0, c = photo 1."""
    images = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    texts = torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]])
    loss = info_nce(images, texts, torch.tensor([0, 1]), torch.tensor([0, 0, 1]), ONE)
    e = math.e
    to_texts = ((-math.log(e / (e + 2)) - math.log(1 / (e + 2))) / 2 - math.log(e / (e + 2))) / 2
    to_images = (-math.log(e / (e + 1)) - math.log(1 / 2) - math.log(e / (e + 1))) / 3
    assert loss.item() == pytest.approx((to_texts + to_images) / 2, abs=1e-6)


def test_infonce_smoothing_is_even_over_all() -> None:
    logits_equal = unit_rows([1, 0], [1, 0])
    plain = info_nce(logits_equal, logits_equal, torch.arange(2), torch.arange(2), ONE)
    smooth = info_nce(logits_equal, logits_equal, torch.arange(2), torch.arange(2), ONE, smoothing=0.3)
    assert plain.item() == pytest.approx(smooth.item()) == pytest.approx(math.log(2))
    apart = info_nce(torch.eye(2), torch.eye(2), torch.arange(2), torch.arange(2), ONE, smoothing=0.5)
    own, other = -math.log(math.e / (math.e + 1)), -math.log(1 / (math.e + 1))
    assert apart.item() == pytest.approx(0.75 * own + 0.25 * other, abs=1e-6)


def test_sigmoid_loss_by_hand() -> None:
    """SigLIP's, with scale 2 and bias -1: own pairs have logit 1, the others -1."""
    loss = sigmoid_loss(torch.eye(2), torch.eye(2), torch.arange(2), torch.arange(2), 2 * ONE, -ONE)
    own, other = -math.log(1 / (1 + math.exp(-1))), -math.log(1 / (1 + math.exp(-1)))
    assert loss.item() == pytest.approx((2 * own + 2 * other) / 2, abs=1e-6)
    swapped = sigmoid_loss(torch.eye(2), torch.eye(2), torch.arange(2), torch.tensor([1, 0]), 2 * ONE, -ONE)
    wrong = math.log(1 + math.exp(1))
    assert swapped.item() == pytest.approx(2 * wrong, abs=1e-6)


def test_distances_by_hand() -> None:
    student, teacher = torch.tensor([[3.0, 0], [0, 1]]), torch.tensor([[1.0, 0], [1, 0]])
    root = math.sqrt(2)
    assert mean_squared_error(student, teacher).item() == pytest.approx(((3 - root) ** 2 + root**2 + 1) / 4)
    assert cosine_distance(student, teacher).item() == pytest.approx((0 + 1) / 2)


# --- gradients: cached, accumulated, gathered ----------------------------------------------------------------------


def _gradients(model: DualModel, chunk: int, kind: str = "infonce", count: int = 7) -> tuple[float, dict[str, Tensor]]:
    model.zero_grad()
    ids, mask = model.text.tokenize([TEXTS[i % 4] + " " + TEXTS[(i * 3 + 1) % 4] for i in range(count + 2)])
    owners = torch.tensor([*range(count), 0, 1])

    def loss_of(images: Tensor, texts: Tensor) -> Tensor:
        if kind == "sigmoid":
            return sigmoid_loss(images, texts, torch.arange(count), owners, model.scale, model.logit_bias)
        return info_nce(images, texts, torch.arange(count), owners, model.scale, smoothing=0.1)

    sides = [Side(model.embed_images, [pixels(count)]), Side(model.embed_texts, [ids, mask])]
    torch.manual_seed(5)
    loss = backward(sides, loss_of, Fleet(), chunk=chunk)
    grads = {name: value.grad.clone() for name, value in model.learning().items() if value.grad is not None}
    return loss.item(), grads


@pytest.mark.parametrize("kind", ["infonce", "sigmoid"])
def test_cached_gradients_are_the_plain_ones(tmp_path: Path, kind: str) -> None:
    model = build(tmp_path, recipe(loss=LossRecipe(kind=kind))).train()
    plain, grads = _gradients(model, 0, kind)
    for chunk in (3, 100):
        cached, again = _gradients(model, chunk, kind)
        assert cached == pytest.approx(plain, rel=1e-5)
        assert set(again) == set(grads)
        for name, value in grads.items():
            torch.testing.assert_close(again[name], value, atol=2e-5, rtol=1e-3, msg=name)
    assert ("logit_bias" in grads) == (kind == "sigmoid")


def test_cached_second_pass_draws_the_dropout_of_the_first(tmp_path: Path) -> None:
    """One chunk holds the whole batch: with the same dropout both ways must agree, with another they would not."""
    model = build(tmp_path, recipe(heads=HeadRecipe(kind="mlp", dim=24, hidden=32, dropout=0.5))).train()
    plain, grads = _gradients(model, 0)
    cached, again = _gradients(model, 100)
    assert cached == pytest.approx(plain, rel=1e-5)
    for name, value in grads.items():
        torch.testing.assert_close(again[name], value, atol=2e-5, rtol=1e-3, msg=name)


def test_accumulated_distances_equal_one_big_batch(tmp_path: Path) -> None:
    """A mean over rows may be added up in parts; a contrastive loss may not, which is what caching is for."""
    model = build(tmp_path, recipe()).train()
    ids, mask = model.text.tokenize(TEXTS)
    teacher = unit_rows(*np.random.default_rng(0).normal(size=(4, 24)).tolist())
    mean_squared_error(model.project_texts(ids, mask), teacher).backward()
    whole = {name: value.grad.clone() for name, value in model.learning().items() if value.grad is not None}
    model.zero_grad()
    for part in (slice(0, 2), slice(2, 4)):
        side = Side(model.project_texts, [ids[part], mask[part]])
        backward(
            [side],
            lambda rows, part=part: mean_squared_error(rows, teacher[part]),
            Fleet(),
            times=lambda loss: loss / 2,
        )
    for name, value in whole.items():
        torch.testing.assert_close(model.learning()[name].grad, value, atol=1e-6, rtol=1e-4, msg=name)


def test_one_batch_overfits(tmp_path: Path) -> None:
    model = build(tmp_path, recipe()).train()
    ids, mask = model.text.tokenize(TEXTS)
    images, photo = pixels(4), torch.arange(4)
    optimizer = torch.optim.AdamW(model.learning().values(), 3e-3)
    for _ in range(25):
        loss = info_nce(model.embed_images(images), model.embed_texts(ids, mask), photo, photo, model.scale)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    similarity = model.embed_images(images) @ model.embed_texts(ids, mask).T
    assert (similarity.argmax(0) == photo).all()


# --- what learns, and how fast -------------------------------------------------------------------------------------


def _names_with_gradient(model: DualModel) -> set[str]:
    _gradients(model.train(), 0)
    return {name for name, value in model.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0}


def test_everything_learns_by_default(tmp_path: Path) -> None:
    model = build(tmp_path, recipe())
    without = {name for name, _ in model.named_parameters()} - _names_with_gradient(model)
    # Attention does not feel a shift of all keys, so that bias has no gradient but for rounding.
    assert {name for name in without if not name.endswith(".k.bias")} == {"logit_bias"}


def test_locked_image_tuning_leaves_the_image_tower_alone(tmp_path: Path) -> None:
    model = build(tmp_path, recipe(image=ImageRecipe(size_px=32, locked=True)))
    learning = _names_with_gradient(model)
    assert not any(name.startswith("image.") for name in learning)
    assert any(name.startswith("text.") for name in learning)
    assert "image_head.1.weight" in learning
    assert not model.image.training
    assert model.text.training


def test_frozen_layers_and_embeddings(tmp_path: Path) -> None:
    model = build(tmp_path, recipe(text=TextRecipe(context_length=16, pieces=60, frozen_layers=2)))
    learning = {name for name in model.learning() if name.startswith("text.")}
    assert learning
    assert all(".layers.2." in name for name in learning)
    model = build(tmp_path, recipe(text=TextRecipe(context_length=16, pieces=60, frozen_embeddings=True)))
    frozen = {name for name, _ in model.named_parameters()} - set(model.learning()) - {"logit_bias"}
    assert frozen == {"text.net.word.weight", "text.net.position.weight", "text.net.norm.weight", "text.net.norm.bias"}


def test_more_frozen_layers_than_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="frozen_layers is 9, and the tower has 3 layers"):
        build(tmp_path, recipe(text=TextRecipe(context_length=16, pieces=60, frozen_layers=9)))


def test_rates_fall_layer_by_layer(tmp_path: Path) -> None:
    plan = recipe(
        image=ImageRecipe(size_px=32, learning_rate=1.0, layer_decay=0.5),
        text=TextRecipe(context_length=16, pieces=60, learning_rate=8.0),
        heads=HeadRecipe(dim=24, learning_rate=64.0),
        train=TrainRecipe(weight_decay=0.25),
    )
    model = build(tmp_path, plan)
    rates, decays = {}, {}
    names = {id(value): name for name, value in model.named_parameters()}
    for group in parameter_groups(model):
        for parameter in group["params"]:
            assert names[id(parameter)] not in rates
            rates[names[id(parameter)]] = group["lr"]
            decays[names[id(parameter)]] = group["weight_decay"]
    assert set(rates) == set(model.learning())
    assert rates["image.net.norm.weight"] == 1.0
    assert rates["image.net.layers.1.q.weight"] == 0.5
    assert rates["image.net.layers.0.q.weight"] == 0.25
    assert rates["image.net.patches.weight"] == rates["image.net.position"] == 0.125
    assert {rate for name, rate in rates.items() if name.startswith("text.")} == {8.0}
    assert rates["image_head.1.weight"] == rates["logit_scale"] == 64.0
    assert decays["image.net.patches.weight"] == 0.25
    assert decays["image.net.norm.weight"] == decays["logit_scale"] == 0.0


def test_batch_normalisation_keeps_its_statistics(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    plan = recipe()
    text = load_text_tower(plan, TEXTS, tmp_path)
    preprocess = load_image_tower(plan).preprocess
    model = DualModel(ImageTower(net, 4, preprocess, groups_of(net)), text, plan).train()
    before = net[1].running_mean.clone()
    model.embed_images(pixels(4))
    assert torch.equal(net[1].running_mean, before)
    assert model.text.training


def test_average_is_in_place_only_for_a_while(tmp_path: Path) -> None:
    model = build(tmp_path, recipe())
    average = Average(model, 0.75)
    with torch.no_grad():
        model.logit_scale.add_(4.0)
    start = average.values["logit_scale"].item()
    average.update(model)
    assert average.values["logit_scale"].item() == pytest.approx(start + 3.6)  # the first steps forget the start
    with average.in_place(model):
        assert model.logit_scale.item() == pytest.approx(start + 3.6)
    assert model.logit_scale.item() == pytest.approx(start + 4.0)
    average.steps = 1000
    average.update(model)
    assert average.values["logit_scale"].item() == pytest.approx(start + 3.7)
    again = Average(model, 0.75)
    again.load_state_dict(average.state_dict())
    assert again.steps == 1001
    assert torch.equal(again.values["logit_scale"], average.values["logit_scale"])


def test_rates_warm_up_and_fall() -> None:
    plan = TrainRecipe(warmup_steps=4, schedule="linear")
    assert [rate_share(plan, step, 12) for step in (0, 1, 3, 4, 8, 12)] == [0.25, 0.5, 1.0, 1.0, 0.5, 0.0]
    cosine = TrainRecipe(warmup_steps=0)
    assert rate_share(cosine, 5, 10) == pytest.approx(0.5)
    assert rate_share(cosine, 0, 10) == 1.0


def test_float16_needs_a_gpu() -> None:
    with pytest.raises(ConfigError, match="float16 needs a GPU"):
        precision_context(recipe(train=TrainRecipe(precision="float16")), torch.device("cpu"))


def test_bfloat16_embeds_in_half_precision_and_gives_float32(tmp_path: Path) -> None:
    plan = recipe(train=TrainRecipe(precision="bfloat16"))
    model = build(tmp_path, plan).eval()
    exact = model.embed_images(pixels(2))
    with precision_context(plan, torch.device("cpu"))():
        rough = model.embed_images(pixels(2))
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, atol=0.05, rtol=0.1)


# --- towers of this project ----------------------------------------------------------------------------------------


def test_padding_does_not_change_a_text(tmp_path: Path) -> None:
    tower = load_text_tower(recipe(), TEXTS, tmp_path).eval()
    alone = tower(*tower.tokenize(["dog"]))
    padded = tower(*tower.tokenize(["dog", "سگ در برف گربه روی میز"]))
    torch.testing.assert_close(alone[0], padded[0], atol=1e-5, rtol=1e-4)


def test_a_learned_vocabulary_is_kept(tmp_path: Path) -> None:
    first = load_text_tower(recipe(), TEXTS, tmp_path)
    again = load_text_tower(recipe(), ["something else"], tmp_path)
    assert first.tokenizer.to_str() == again.tokenizer.to_str()
    assert first.tokenizer.encode("سگ").ids[0] == first.tokenizer.token_to_id("<s>")


def test_lite2_at_a_size_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from peyda.training.dual import towers_own
    from peyda.training.lite2 import Lite2

    monkeypatch.setattr(towers_own, "load_lite2", lambda: (Lite2(), None, None))
    tower = load_image_tower(recipe(towers=TowerNames("lite2", "random:bert-1x32"), image=ImageRecipe(size_px=64)))
    assert (tower.width, tower.preprocess.size_px) == (1280, 64)
    assert len(tower.groups) == 9  # stem, seven stages, head
    count = sum(len(group) for group in tower.groups)
    assert count == len(list(tower.parameters()))
    with torch.inference_mode():
        assert tower.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 1280)


def test_e5_is_pruned_to_what_the_captions_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.test_training import write_e5

    from peyda.training.dual import towers_own

    write_e5(tmp_path / "e5.bin")
    monkeypatch.setattr(towers_own, "common_words", lambda language, count: ["سگ", "dog"])
    settings = TextRecipe(context_length=16, pieces=11, weights=str(tmp_path / "e5.bin"))
    tower = load_text_tower(recipe(towers=TowerNames("lite2", "e5:1"), text=settings), ["سگ"], tmp_path / "v")
    assert (tower.width, len(tower.groups), tower.pad_token) == (32, 3, "<pad>")
    assert tower(*tower.tokenize(["سگ", "سگ در برف"])).shape == (2, 32)
    with pytest.raises(ConfigError, match="it has 2 layers"):
        load_text_tower(recipe(towers=TowerNames("lite2", "e5:3"), text=settings), ["سگ"], tmp_path / "v")


@pytest.mark.parametrize("name", ["random:vit", "random:bert-2x32", "random:vit-0x32", "random:vit-2x33"])
def test_random_towers_that_there_are_not(name: str) -> None:
    with pytest.raises(ConfigError, match="no random tower"):
        load_image_tower(recipe(towers=TowerNames(name, "random:bert-1x32")))


def test_too_long_a_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.test_training import write_e5

    from peyda.training.dual import towers_own

    write_e5(tmp_path / "e5.bin")
    monkeypatch.setattr(towers_own, "common_words", lambda language, count: [])
    settings = TextRecipe(context_length=41, pieces=11, weights=str(tmp_path / "e5.bin"))
    with pytest.raises(ConfigError, match="reads at most 40 tokens"):
        load_text_tower(recipe(towers=TowerNames("lite2", "e5"), text=settings), ["سگ"], tmp_path / "v")


def test_widths_that_do_not_meet(tmp_path: Path) -> None:
    plan = recipe(towers=TowerNames("random:vit-1x64", "random:bert-1x32"), heads=HeadRecipe(kind="none"))
    with pytest.raises(ConfigError, match="gives 64 numbers and the text tower 32") as caught:
        build(tmp_path, plan)
    assert "heads.dim" in caught.value.hint


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    first, again = build(tmp_path, recipe()).state_dict(), build(tmp_path, recipe()).state_dict()
    other = build(tmp_path, recipe(seed=1)).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["image.net.patches.weight"], other["image.net.patches.weight"])


# --- recipes -------------------------------------------------------------------------------------------------------


def test_recipes_with_towers_are_the_general_ones() -> None:
    general = {path.stem for path in RECIPES.glob("*.toml") if is_dual_recipe(path)}
    assert {"original", "text-distill", "tiny"} <= general
    assert "mini" not in general
    for name in sorted(general):
        assert read_dual_recipe(RECIPES / f"{name}.toml").name == name


def test_what_is_no_recipe_is_no_general_one(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("a = = b")
    assert not is_dual_recipe(tmp_path / "x.toml")
    assert not is_dual_recipe(tmp_path / "absent.toml")


_TOWERS = '[towers]\nimage = "lite2"\ntext = "e5"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae = 'x'\n" + _TOWERS, "unknown key nmae"),
        (_TOWERS + "[train]\nepoch = 3", "unknown key train.epoch"),
        (_TOWERS + "[train]\nepochs = 1.5", "train.epochs must be int"),
        (_TOWERS + "[train]\nepochs = 0", "train.epochs must be at least 1"),
        (_TOWERS + "[train]\nema = 1.0", "train.ema must be from 0 to below 1"),
        (_TOWERS + "[image]\nlayer_decay = 0.0", "image.layer_decay must be above 0"),
        (_TOWERS + "[loss]\nkind = 'triplet'", "loss.kind = 'triplet' is not known"),
        (_TOWERS + "[loss]\nscale = 0", "loss.scale must be above 0"),
        (_TOWERS + "[loss]\nkind = 'mse'", "needs a teacher"),
        (_TOWERS + "[train]\npatience = 2\n[data]\nval_split = ''", "needs something to measure"),
        ('[towers]\nimage = "lite2"\ntext = ""', "towers.text = '' is no tower"),
        ('[towers]\nimage = "torchvision:resnet"\ntext = "e5"', "towers.image = 'torchvision:resnet' is no tower"),
        ('[towers]\nimage = "hf:"\ntext = "e5"', "towers.image = 'hf:' is no tower"),
        (_TOWERS + "[image]\nlocked = true\n[text]\nlocked = true\n[heads]\nkind = 'none'", "nothing would learn"),
    ],
)
def test_recipe_errors_name_the_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_dual_recipe(path)


def test_unknown_key_names_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(_TOWERS + "[heads]\nwidth = 3")
    with pytest.raises(ConfigError) as caught:
        read_dual_recipe(path)
    assert "dim" in caught.value.hint


def test_one_process_is_a_fleet_of_one() -> None:
    fleet = Fleet()
    rows = torch.ones(2, 3)
    assert fleet.is_main
    assert fleet.gather(rows) is rows
    assert fleet.from_main({"a": 1}) == {"a": 1}


def test_text_tower_needs_its_padding_token() -> None:
    from tokenizers import Tokenizer, models

    from peyda.errors import ModelError

    tokenizer = Tokenizer(models.WordLevel({"a": 0}, "a"))
    with pytest.raises(ModelError, match=r"has no \[PAD\]"):
        TextTower(nn.Identity(), 4, tokenizer, "[PAD]", 8, [])
