"""Training the translator on toy sizes: pairs, pieces, one batch learned, resume, and the ONNX graphs against torch."""

from __future__ import annotations

import csv
import dataclasses
import gzip
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from peyda.errors import ConfigError, DataError  # noqa: E402
from peyda.persian import normalize  # noqa: E402
from peyda.training.batches import batches_of, draw, token_batches  # noqa: E402
from peyda.training.e5 import E5File, TextConfig, TextTransformer, Vocabulary  # noqa: E402
from peyda.training.pairs import (  # noqa: E402
    KINDS,
    Pair,
    belongs_to_scorer,
    load_held_out,
    load_machine_held_out,
    load_pairs,
)
from peyda.training.recipe import read_recipe_as  # noqa: E402
from peyda.training.text_recipe import PairWeights, ScorerRecipe, TranslatorRecipe  # noqa: E402
from peyda.training.translator import TranslatorRun, fit_translator, mean_chrf, translate_greedily  # noqa: E402
from peyda.training.translator_export import export_translator  # noqa: E402
from peyda.training.translator_model import TranslatorModel  # noqa: E402
from peyda.training.translator_pieces import END, PAD, START, initial_table, target_tokenizer  # noqa: E402
from peyda.translate.mini import MiniEngine  # noqa: E402
from peyda.translate.protocol import Translated  # noqa: E402

pytestmark = pytest.mark.torch

ENGLISH = ["dog", "red dog", "cat", "red cat", "a dog runs", "a cat runs", "snow", "red snow"]
PERSIAN = ["سگ", "سگ قرمز", "گربه", "گربه‌ی قرمز", "سگی می‌دود", "گربه‌ای می‌دود", "برف", "برف قرمز"]


# --- pairs -----------------------------------------------------------------------------------------------------------


def write_data(folder: Path) -> None:
    """A development folder with 60 training photos, one of val and one of test."""
    photos = [f"p{n}.jpg" for n in range(60)]
    (folder / "flickr8k").mkdir()
    (folder / "coco").mkdir()
    (folder / "text").mkdir()

    def table(name: str, header: list[str], rows: list[list[str]]) -> None:
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows])

    split = [[photo, "train"] for photo in photos] + [["v.jpg", "val"], ["t.jpg", "test"]]
    table("flickr8k/split.csv", ["image", "split"], split)
    rows = [[photo, str(k), f"dog {photo} number {k} .", f"سگ {photo} {k}"] for photo, _ in split for k in range(2)]
    rows += [[photos[0], "2", "dog t.jpg number 0", "تکرار"]]  # says what a test caption says
    table("flickr8k/captions.csv", ["image", "caption_id", "caption_en", "caption_fa"], rows)
    table("coco/captions.csv", ["image", "caption_id", "caption_en"], [["c.jpg", "0", "A cat ."]])
    native = [[f"flickr8k/{photo}", "sentence", "1", f"سگی در {photo}"] for photo in photos]
    native += [[f"flickr8k/{photos[0]}", "short", "", "سگ"], ["coco/c.jpg", "sentence", "0", "گربه‌ای"]]
    columns = ["image", "kind", "caption_id", "caption_fa"]
    table("native_fa.csv", columns, native)
    table("native_fa_val.csv", columns, [["flickr8k/v.jpg", "sentence", "0", "سگی در v"]])
    table("native_fa_test.csv", columns, [["flickr8k/t.jpg", "sentence", "0", "سگی در t"]])
    (folder / "text/coco_val2017_en_fa.tsv").write_text(
        "1\t1\t1\t0.9\tA horse .\tیک اسب.\n2\t2\t2\t0.1\tA bus .\tغلط.\n", encoding="utf-8"
    )
    (folder / "text/tatoeba_en_fa.tsv").write_text("Go on.\tادامه بده ( ادامه دادن )\n", encoding="utf-8")
    (folder / "text/wiktionary_en_fa.txt").write_text("# x\nabdomen {n} (belly) :: شکم /šekam/, کم\n", encoding="utf-8")
    with gzip.open(folder / "text/en_fa_dictionary_sentences.csv.gz", "wt", encoding="utf-8-sig") as file:
        file.write("English,EnglishSentence,EnglishSentenceTranslate\nthe,The ball is here.,توپ اینجاست.\n")


def test_translator_and_scorer_share_no_sentence_and_see_nothing_held_out(tmp_path: Path) -> None:
    write_data(tmp_path)
    ours, theirs = load_pairs(tmp_path)
    texts = [{normalize(text) for pair in pairs for text in (pair.english, pair.persian)} for pairs in (ours, theirs)]
    assert not texts[0] & texts[1]
    assert not {pair.key for pair in ours} & {pair.key for pair in theirs}
    assert all(belongs_to_scorer(pair.key) for pair in theirs)
    assert not any(belongs_to_scorer(pair.key) for pair in ours)
    both = [*ours, *theirs]
    assert {pair.kind for pair in both} == set(KINDS)
    photos = [pair.key for pair in both if pair.kind == "machine"]
    assert 0.7 < sum(not belongs_to_scorer(key) for key in photos) / len(photos) < 0.95
    held = {*load_held_out(tmp_path, "val"), *load_held_out(tmp_path, "test")}
    held |= {*load_machine_held_out(tmp_path, "val"), *load_machine_held_out(tmp_path, "test")}
    assert not {normalize(pair.english) for pair in held} & (texts[0] | texts[1])
    assert not any("v.jpg" in pair.key or "t.jpg" in pair.key for pair in both)
    assert [pair.persian for pair in both if pair.kind == "tatoeba"] == ["ادامه بده  "]
    assert ("abdomen", "شکم") in {(pair.english, pair.persian.strip()) for pair in both}
    assert not any("bus" in pair.english for pair in both if pair.kind == "coco")


def test_a_test_photo_among_the_native_captions_stops_everything(tmp_path: Path) -> None:
    write_data(tmp_path)
    with (tmp_path / "native_fa.csv").open("a", encoding="utf-8") as file:
        file.write("flickr8k/t.jpg,sentence,0,سگ\n")
    with pytest.raises(DataError, match="not a training photo"):
        load_pairs(tmp_path)


def test_held_out_pairs(tmp_path: Path) -> None:
    write_data(tmp_path)
    assert [(p.english, p.persian) for p in load_held_out(tmp_path, "test")] == [("dog t.jpg number 0 .", "سگی در t")]
    assert len(load_machine_held_out(tmp_path, "test")) == 2
    assert [p.where[1] for p in load_machine_held_out(tmp_path, "test", first_only=True)] == ["0"]


# --- batches ---------------------------------------------------------------------------------------------------------


def test_pairs_are_drawn_by_the_weight_of_their_kind() -> None:
    pairs = [Pair("a", "b", kind, "k") for kind in ("native", "machine", "word") for _ in range(1000)]
    weights = PairWeights(native=2.0, machine=0.25, word=0.0)
    rows = draw(pairs, weights, np.random.default_rng(0))
    counts = np.bincount(rows // 1000, minlength=3)
    assert counts[0] == 2000
    assert 180 < counts[1] < 320
    assert counts[2] == 0


def test_batches_hold_every_row_once_within_their_bound() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 40, 500)
    batches = token_batches(rng.permutation(500), lengths, 200, rng)
    assert sorted(int(n) for batch in batches for n in batch) == list(range(500))
    assert all(len(batch) == 1 or len(batch) * lengths[batch].max() <= 200 for batch in batches)
    even = batches_of(rng.permutation(500), lengths, 32, rng)
    assert all(len(batch) == 32 for batch in even)
    assert len({int(n) for batch in even for n in batch}) == 32 * len(even)


# --- the model -------------------------------------------------------------------------------------------------------


def _tokenizers(folder: Path) -> tuple[object, object]:
    from peyda.training.tokenizer import tokenizer_json

    words = sorted({word for text in ENGLISH for word in text.split()})
    pieces = ("<s>", "<pad>", "</s>", "<unk>", "▁", *(f"▁{word}" for word in words))
    vocabulary = Vocabulary(pieces, tuple(-float(i) for i in range(len(pieces))), 0, 2, 1, 3)
    import json

    from tokenizers import Tokenizer

    source = Tokenizer.from_str(json.dumps(tokenizer_json(vocabulary, prefix="")))
    return source, target_tokenizer(PERSIAN * 20, folder, pieces=120)


def _run(folder: Path, recipe: TranslatorRecipe) -> TranslatorRun:
    source, target = _tokenizers(folder)
    torch.manual_seed(0)
    encoder = TextTransformer(TextConfig(32, 2, 2, 64, source.get_vocab_size(), 40))  # type: ignore[attr-defined]
    model = TranslatorModel(
        encoder,
        target.get_vocab_size(),  # type: ignore[attr-defined]
        layers=recipe.decoder_layers,
        ffn=recipe.ffn,
        limit=recipe.target_limit,
        dropout=recipe.dropout,
    )
    pairs = [Pair(a, b, "native", a) for a, b in zip(ENGLISH, PERSIAN, strict=True)]
    sources = [one.ids for one in source.encode_batch(ENGLISH)]  # type: ignore[attr-defined]
    targets = [[*one.ids, END] for one in target.encode_batch(PERSIAN)]  # type: ignore[attr-defined]
    return TranslatorRun(source, target, model, pairs, sources, targets, pairs)  # type: ignore[arg-type]


RECIPE = TranslatorRecipe(
    name="toy",
    decoder_layers=2,
    ffn=64,
    source_limit=40,
    target_limit=24,
    dropout=0.0,
    word_dropout=0.0,
    smoothing=0.0,
    epochs=120,
    native_epochs=1,
    batch_tokens=1000,
    encoder_learning_rate=3e-3,
    decoder_learning_rate=3e-3,
    ema=0.5,
)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[TranslatorRun, TranslatorModel, Path]:
    folder = tmp_path_factory.mktemp("translator")
    prepared = _run(folder, RECIPE)
    return prepared, fit_translator(RECIPE, prepared, folder, lambda _: None), folder


def test_pieces_keep_half_spaces(tmp_path: Path) -> None:
    _, target = _tokenizers(tmp_path)
    for text in (*PERSIAN, "ناشناس‌ها، ۱۲"):
        assert target.decode(target.encode(text).ids) == text  # type: ignore[attr-defined]
    assert [target.token_to_id(piece) for piece in ("<s>", "<pad>", "</s>")] == [START, PAD, END]  # type: ignore[attr-defined]


def test_a_piece_begins_as_the_mean_of_e5s_pieces(tmp_path: Path) -> None:
    _, target = _tokenizers(tmp_path)
    pieces = ("<s>", "<pad>", "</s>", "<unk>", "▁", "▁سگ", "▁می", "▁دود", "▁قرمز")
    words = np.random.default_rng(1).normal(0, 1, (len(pieces), 32)).astype(np.float32)
    vocabulary = Vocabulary(pieces, tuple(-float(i) for i in range(len(pieces))), 0, 2, 1, 3)
    file = E5File(TextConfig(hidden=32, vocab=len(pieces)), vocabulary, {"emb.word": words})
    table = initial_table(target, file)  # type: ignore[arg-type]
    row = table[target.token_to_id("▁سگ")]  # type: ignore[attr-defined]
    wanted = words[5] - words.mean(0)
    cosine = row @ wanted / np.linalg.norm(row) / np.linalg.norm(wanted)
    assert cosine > 0.9
    assert 0.5 < float(table.std()) * 32**0.5 < 1.5


def test_it_learns_its_pairs_by_heart(learned: tuple[TranslatorRun, TranslatorModel, Path]) -> None:
    prepared, model, _ = learned
    assert translate_greedily(RECIPE, model, prepared, ENGLISH) == PERSIAN


def test_the_exported_engine_says_what_the_model_says(
    learned: tuple[TranslatorRun, TranslatorModel, Path], tmp_path: Path
) -> None:
    prepared, model, _ = learned
    export_translator(RECIPE, model, prepared.source, prepared.target, tmp_path / "model")
    engine = MiniEngine(tmp_path / "model", threads=1, beams=1)
    assert engine.label == "mini:toy"
    assert engine.translate(ENGLISH) == [Translated(text) for text in PERSIAN]
    assert engine.translate(["red dog"]) == [Translated("سگ قرمز")]


def test_a_run_belongs_to_the_pairs_that_it_began_with(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=1)
    prepared = _run(tmp_path, recipe)
    fit_translator(recipe, prepared, tmp_path, lambda _: None)
    prepared.pairs = prepared.pairs[::-1]
    with pytest.raises(ConfigError, match="have changed"):
        fit_translator(recipe, prepared, tmp_path, lambda _: None)


def test_resume_is_bitwise_equal(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=4, dropout=0.1, word_dropout=0.1)
    whole = fit_translator(recipe, _run(tmp_path, recipe), _made(tmp_path / "a"), lambda _: None)
    seen: list[str] = []

    def stop(line: str) -> None:
        seen.append(line)
        if line.startswith("epoch=2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_translator(recipe, _run(tmp_path, recipe), _made(tmp_path / "b"), stop)
    resumed = fit_translator(recipe, _run(tmp_path, recipe), _made(tmp_path / "b"), lambda _: None)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_mean_chrf_is_sacrebleus() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    said, wanted = ["سگی در برف می دود", "دو مرد کنار آب"], ["یک سگ در برف", "دو مرد نزدیک آب"]
    assert mean_chrf(said, wanted) == pytest.approx(sacrebleu.corpus_chrf(said, [wanted]).score, abs=0.01)
    assert mean_chrf([""], ["سگ"]) == 0.0


def test_recipes_in_the_repository_are_read_strictly(tmp_path: Path) -> None:
    recipes = Path(__file__).parents[2] / "recipes"
    assert read_recipe_as(TranslatorRecipe, recipes / "translator.toml").name == "mini"
    assert read_recipe_as(ScorerRecipe, recipes / "scorer.toml").name == "mini"
    (tmp_path / "x.toml").write_text("layerz = 3")
    with pytest.raises(ConfigError, match="layerz"):
        read_recipe_as(ScorerRecipe, tmp_path / "x.toml")
