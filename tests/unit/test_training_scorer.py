"""Training the scorer on toy sizes: the loss, resume, and the exported directory against torch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from tokenizers import Tokenizer  # noqa: E402

from peyda.encoders.row_int8 import quantize_outputs  # noqa: E402
from peyda.encoders.sentence import load_sentence_encoder  # noqa: E402
from peyda.errors import ConfigError  # noqa: E402
from peyda.training.e5 import TextConfig, TextTransformer, Vocabulary  # noqa: E402
from peyda.training.pairs import Pair  # noqa: E402
from peyda.training.recipe import save_recipe  # noqa: E402
from peyda.training.scorer import (  # noqa: E402
    ScorerRun,
    damaged_forms,
    embed,
    fit_scorer,
    validate_scorer,
)
from peyda.training.scorer_export import export_scorer  # noqa: E402
from peyda.training.scorer_model import ScorerModel, scorer_loss  # noqa: E402
from peyda.training.text_recipe import PairWeights, ScorerRecipe  # noqa: E402
from peyda.training.tokenizer import tokenizer_json  # noqa: E402

pytestmark = pytest.mark.torch

ENGLISH = ["red dog", "blue cat", "two men", "three women", "white horse", "black bird", "green ball", "yellow bus"]
PERSIAN = ["سگ قرمز", "گربه آبی", "دو مرد", "سه زن", "اسب سفید", "پرنده سیاه", "توپ سبز", "اتوبوس زرد"]
RECIPE = ScorerRecipe(
    name="toy",
    layers=2,
    dim=32,
    hidden=32,
    dropout=0.0,
    context_length=16,
    epochs=30,
    batch=8,
    tower_learning_rate=3e-3,
    head_learning_rate=3e-3,
    ema=0.5,
    weights=PairWeights(),
)


def _run() -> ScorerRun:
    words = sorted({word for text in (*ENGLISH, *PERSIAN) for word in text.split()})
    pieces = ("<s>", "<pad>", "</s>", "<unk>", "▁", *(f"▁{word}" for word in words))
    vocabulary = Vocabulary(pieces, tuple(-float(i) for i in range(len(pieces))), 0, 2, 1, 3)
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_json(vocabulary, prefix="", context_length=16)))
    torch.manual_seed(0)
    tower = TextTransformer(TextConfig(32, 2, 2, 64, len(pieces), 20))
    pairs = [Pair(a, b, "native", a) for a, b in zip(ENGLISH, PERSIAN, strict=True)]
    return ScorerRun(tokenizer, ScorerModel(tower, 32, 32, 0.0), pairs, pairs)


def test_it_begins_as_the_towers_own_mean() -> None:
    run = _run()
    run.model.head.mlp[-1].weight.data.zero_()
    ids = torch.tensor([run.tokenizer.encode("red dog").ids])
    mean = run.model.tower(ids, torch.ones_like(ids))
    wanted = torch.nn.functional.normalize(run.model.head.norm(mean), dim=-1)
    assert torch.allclose(run.model(ids, torch.ones_like(ids)), wanted, atol=1e-6)


def test_loss_is_low_for_right_rows_and_high_for_damaged_ones_beside_them() -> None:
    model = _run().model
    english = torch.eye(4, 32)
    far = torch.roll(torch.eye(4, 32), 8, 1)[:, None]
    made = torch.ones(4, 1, dtype=torch.bool)
    good = scorer_loss(model, english, english, far, made).item()
    confused = scorer_loss(model, english, english, english[:, None], made).item()
    wrong = scorer_loss(model, english, english.roll(1, 0), far, made).item()
    assert good < confused < wrong
    assert scorer_loss(model, english, english, english[:, None], ~made).item() == pytest.approx(good, abs=0.05)


def test_damaged_forms_are_damaged_or_marked_as_missing() -> None:
    pairs = [Pair("a red dog", "سگ قرمز می‌دود", "native", "k"), Pair("of", "و", "native", "k")]
    forms, made = damaged_forms(pairs, 3, np.random.default_rng(0))
    assert made.tolist() == [[True] * 3, [False] * 3]
    assert all(form != pairs[0].persian for form in forms[0])
    assert forms[1] == ["و"] * 3


def test_it_learns_its_pairs_and_the_directory_agrees(tmp_path: Path) -> None:
    run = _run()
    before = validate_scorer(run.model, run.tokenizer, run.val)
    model = fit_scorer(RECIPE, run, tmp_path, lambda _: None)
    after = validate_scorer(model, run.tokenizer, run.val)
    assert after["acc@1"] == 1.0
    assert after["auc"] > before["auc"]
    export_scorer(RECIPE, model, run.tokenizer, tmp_path / "toy-scorer")
    encoder = load_sentence_encoder(tmp_path / "toy-scorer", threads=1)
    assert encoder.name == "toy"
    texts = [*ENGLISH, *PERSIAN]
    ours, theirs = embed(model, run.tokenizer, texts), encoder.encode_texts(texts)
    assert (ours * theirs).sum(1).min() > 0.98
    # A row does not depend on what else is in the batch.
    np.testing.assert_allclose(encoder.encode_texts(texts[:1])[0], theirs[0], atol=1e-5)
    config = json.loads((tmp_path / "toy-scorer/config.json").read_text())
    assert config["peyda"]["kind"] == "scorer"
    assert set(config["peyda"]["files"]) == {"model.onnx", "tokenizer.json", "tokenizer_config.json"}


def test_resume_is_bitwise_equal(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=4, dropout=0.1)
    for name in "ab":
        (tmp_path / name).mkdir()
    whole = fit_scorer(recipe, _run(), tmp_path / "a", lambda _: None)

    def stop(line: str) -> None:
        if line.startswith("epoch=3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_scorer(recipe, _run(), tmp_path / "b", stop)
    resumed = fit_scorer(recipe, _run(), tmp_path / "b", lambda _: None)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_run_belongs_to_the_pairs_that_it_began_with(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=1)
    run = _run()
    fit_scorer(recipe, run, tmp_path, lambda _: None)
    run.pairs = [*run.pairs[:-1], dataclasses.replace(run.pairs[-1], persian="گربه")]
    with pytest.raises(ConfigError, match="have changed"):
        fit_scorer(recipe, run, tmp_path, lambda _: None)


def test_a_run_belongs_to_one_recipe(tmp_path: Path) -> None:
    save_recipe(RECIPE, tmp_path / "run")
    save_recipe(RECIPE, tmp_path / "run")
    with pytest.raises(ConfigError, match="another recipe"):
        save_recipe(dataclasses.replace(RECIPE, layers=3), tmp_path / "run")


def test_int8_keeps_weights_within_half_a_step() -> None:
    weight = np.random.default_rng(0).normal(0, 1, (5, 64)).astype(np.float32)
    q, scales = quantize_outputs(weight)
    assert q.shape == (64, 5)
    assert q.dtype == np.int8
    assert (np.abs(q.T * scales[:, None] - weight) <= scales[:, None] / 2 + 1e-6).all()
