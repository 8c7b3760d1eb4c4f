"""Whole runs of the general trainer on toy sizes: resume, early stopping, distillation, bad input, processes."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from tests.conftest import COLOURS  # noqa: E402

from peyda.encoders import load_encoder, read_model_info, verify_model  # noqa: E402
from peyda.errors import ConfigError, DataError, ModelError, PeydaError, StorageError  # noqa: E402
from peyda.training.dual import DualRecipe, objectives  # noqa: E402
from peyda.training.dual.data import Share, pair_data, photo_data  # noqa: E402
from peyda.training.dual.fleet import Fleet  # noqa: E402
from peyda.training.dual.grad_cache import Side, backward  # noqa: E402
from peyda.training.dual.losses import info_nce  # noqa: E402
from peyda.training.dual.recipe import (  # noqa: E402
    DataRecipe,
    HeadRecipe,
    ImageRecipe,
    LossRecipe,
    TextRecipe,
    TowerNames,
    TrainRecipe,
)
from peyda.training.dual.run import train_dual  # noqa: E402
from peyda.training.dual.state import save_state, trim_log  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain photographs of six colours, four of each to train on and one to choose by, and their captions."""
    folder = tmp_path_factory.mktemp("dual")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(5):
        for name, (persian, rgb) in COLOURS.items():
            pixels = np.clip(np.asarray(rgb) + rng.integers(-8, 9, (40, 48, 3)), 0, 255).astype(np.uint8)
            photo = f"{name}{number}.png"
            Image.fromarray(pixels).save(folder / "photos" / photo)
            split = "val" if number == 4 else "train"
            rows.append([photo, "0", f"a {name} wall", f"دیوار {persian}", split])
            rows.append([photo, "1", name, persian, split])
    _write(folder / "captions.csv", rows)
    return folder


def _write(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["image", "caption_id", "caption_en", "caption_fa", "split"], *rows])


def recipe(**parts: Any) -> DualRecipe:
    base = DualRecipe(
        name="toy",
        towers=TowerNames("random:vit-1x32", "random:bert-1x32"),
        image=ImageRecipe(size_px=32, learning_rate=3e-3),
        text=TextRecipe(context_length=32, pieces=80, learning_rate=3e-3),
        heads=HeadRecipe(dim=24, learning_rate=3e-3),
        train=TrainRecipe(epochs=3, batch=8, warmup_steps=2),
    )
    return dataclasses.replace(base, **parts)


def run(plan: DualRecipe, data: Path, folder: Path, **options: Any) -> Path:
    given: dict[str, Any] = {
        "captions": data / "captions.csv",
        "images": data / "photos",
        "data": None,
        "run": folder,
        "out": folder / "model",
        "report": lambda line: None,
        "progress": lambda what, done, total: None,
    }
    return train_dual(plan, **{**given, **options})


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class _Killed(Exception):
    pass


def killing(what: str, step: int) -> Callable[[str, int, int], None]:
    def progress(name: str, done: int, _total: int) -> None:
        if (name, done) == (what, step):
            raise _Killed

    return progress


def test_a_tiny_run_ends_in_a_model_that_searches(data: Path, tmp_path: Path) -> None:
    """The recipe of the repository, with a batch that these photographs fill, and epochs enough to learn colours."""
    from peyda.training.dual import read_dual_recipe

    plan = read_dual_recipe(Path(__file__).parents[2] / "recipes/tiny.toml")
    plan = dataclasses.replace(plan, train=dataclasses.replace(plan.train, batch=12, epochs=12))
    lines: list[str] = []
    out = run(plan, data, tmp_path / "run", report=lines.append)
    assert lines[0] == "24 photographs, 48 captions; 6 photographs to choose by"
    assert [line["epoch"] for line in log_of(tmp_path / "run")] == list(range(1, 13))
    assert verify_model(out) == []
    encoder = load_encoder(out)
    assert (encoder.name, encoder.embed_dim, encoder.image_size_px) == ("tiny", 64, 64)
    photos = [Image.new("RGB", (60, 40), rgb) for _, rgb in COLOURS.values()]
    texts = [f"دیوار {persian}" for persian, _ in COLOURS.values()]
    scores = encoder.encode_texts(texts) @ encoder.encode_images(photos).T
    assert (scores.argmax(1) == np.arange(6)).sum() >= 5
    saved = json.loads((tmp_path / "run/recipe.json").read_text())
    assert saved["train"]["batch"] == 12
    assert saved["text"]["layer_decay"] == 1.0
    assert "acc@10" in (out / "model_card.md").read_text()


def test_resume_is_bitwise_equal(data: Path, tmp_path: Path) -> None:
    """Killed in mid-epoch, at the end of an epoch before anything of it is kept, and between checkpoint and log."""
    plan = recipe(
        heads=HeadRecipe(kind="mlp", dim=24, hidden=32, dropout=0.3, learning_rate=3e-3),
        data=DataRecipe(captions_per_photo=2),
        train=TrainRecipe(epochs=3, batch=8, accumulate=1, warmup_steps=2, ema=0.5, checkpoint_steps=1),
    )
    whole = run(plan, data, tmp_path / "whole")

    def killed(line: str) -> None:
        if line.startswith("epoch=2"):
            raise _Killed

    for options in (
        {"progress": killing("epoch 1", 2)},
        {"progress": killing("epoch 1", 3)},
        {"progress": killing("epoch 2", 3)},
        {"report": killed},
    ):
        with pytest.raises(_Killed):
            run(plan, data, tmp_path / "broken", **options)
    again = run(plan, data, tmp_path / "broken")
    for name in ("visual/model.onnx", "textual/model.onnx", "textual/tokenizer.json"):
        assert (whole / name).read_bytes() == (again / name).read_bytes(), name
    states = [torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "broken")]
    for part in ("average", "standing"):
        assert str(states[0][part]) == str(states[1][part])
    for name, value in states[0]["model"]["values"].items():
        assert torch.equal(value, states[1]["model"]["values"][name]), name
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "broken")


def test_a_finished_run_exports_again_without_training(data: Path, tmp_path: Path) -> None:
    first = read_model_info(run(recipe(), data, tmp_path / "run")).fingerprint
    again = run(recipe(), data, tmp_path / "run", progress=killing("epoch 1", 1))
    assert read_model_info(again).fingerprint == first


def test_accumulation_and_caching_give_whole_runs(data: Path, tmp_path: Path) -> None:
    """Caching is exact but for rounding, so its run has the loss of the plain one."""
    plain = recipe(train=TrainRecipe(epochs=1, batch=12, warmup_steps=1))
    cached = recipe(train=TrainRecipe(epochs=1, batch=12, warmup_steps=1, cache_chunk=5))
    run(plain, data, tmp_path / "plain")
    run(cached, data, tmp_path / "cached")
    losses = [log_of(tmp_path / name)[0]["loss"] for name in ("plain", "cached")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    steps: list[int] = []
    accumulated = recipe(train=TrainRecipe(epochs=1, batch=4, accumulate=4, warmup_steps=1))
    run(accumulated, data, tmp_path / "more", progress=lambda what, done, total: steps.append(total))
    assert steps == [2, 2]  # six batches: a step of four, and one of the two that are left


def test_the_sigmoid_loss_learns_its_bias(data: Path, tmp_path: Path) -> None:
    plan = recipe(loss=LossRecipe(kind="sigmoid", scale=10.0))
    run(plan, data, tmp_path / "run")
    values = torch.load(tmp_path / "run/last.pt", weights_only=True)["model"]["values"]
    assert values["logit_bias"].item() != -10.0
    losses = [line["loss"] for line in log_of(tmp_path / "run")]
    assert losses[-1] < losses[0]


def test_training_stops_early_and_keeps_the_best_epoch(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.2, 0.6, 0.5, 0.5, 0.6])  # four epochs, and once more for the card
    monkeypatch.setattr(objectives.Contrastive, "validate", lambda self: {"val_acc@10": next(scores), "val_mrr": 0.1})
    lines: list[str] = []
    run(recipe(train=TrainRecipe(epochs=9, batch=8, patience=2)), data, tmp_path / "run", report=lines.append)
    assert next(scores, None) is None
    assert [line["epoch"] for line in log_of(tmp_path / "run")] == [1, 2, 3, 4]
    assert "epoch 2 has the best val_acc@10: 0.6" in lines


def test_without_a_val_split_the_last_epoch_is_exported(data: Path, tmp_path: Path) -> None:
    out = run(
        recipe(data=DataRecipe(val_split=""), train=TrainRecipe(epochs=1, batch=8, ema=0.9)), data, tmp_path / "r"
    )
    assert not (tmp_path / "r/best.pt").exists()
    assert [set(line) for line in log_of(tmp_path / "r")] == [{"epoch", "loss"}]
    assert load_encoder(out).embed_dim == 24


def test_tensorboard_is_asked_for_by_name(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match="needs the package tensorboard"):
        run(recipe(train=TrainRecipe(epochs=1, batch=8, tensorboard=True)), data, tmp_path / "run")


def test_tensorboard_gets_every_number(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer of torch in a stand-in: the package itself is no dependency of the tests."""
    written: list[tuple[str, int]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            assert (Path(folder).name, purge_step) == ("tensorboard", 0)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, step))

        def close(self) -> None:
            written.append(("closed", 0))

    import types

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    run(recipe(train=TrainRecipe(epochs=1, batch=8, tensorboard=True)), data, tmp_path / "run")
    assert {("loss", 3), ("val_acc@10", 3)} <= set(written)
    assert written[-1] == ("closed", 0)


# --- distillation --------------------------------------------------------------------------------------------------


def distilling(model_dir: Path, **parts: Any) -> DualRecipe:
    settings: dict[str, Any] = {
        "towers": TowerNames(f"model:{model_dir}", "random:bert-1x32"),
        "heads": HeadRecipe(kind="mlp", hidden=32, learning_rate=3e-3),
        "loss": LossRecipe(kind="mse"),
        "train": TrainRecipe(epochs=12, batch=8, warmup_steps=2),
        "text": TextRecipe(context_length=32, pieces=80, learning_rate=3e-3, augment=False),
    }
    return recipe(**{**settings, **parts})


@pytest.mark.parametrize("kind", ["mse", "cosine"])
def test_a_new_text_tower_joins_an_image_tower_as_it_is(
    data: Path, tmp_path: Path, tiny_model_dir: Path, kind: str
) -> None:
    out = run(distilling(tiny_model_dir, loss=LossRecipe(kind=kind)), data, tmp_path / "run", images=None)
    old, new = load_encoder(tiny_model_dir), load_encoder(out)
    assert new.visual_fingerprint == old.visual_fingerprint
    assert new.fingerprint != old.fingerprint
    for name in ("visual/model.onnx", "visual/preprocess_cfg.json"):
        assert (out / name).read_bytes() == (tiny_model_dir / name).read_bytes()
    photos = [Image.new("RGB", (60, 40), rgb) for _, rgb in COLOURS.values()]
    persian = [f"دیوار {word}" for word, _ in COLOURS.values()]
    scores = new.encode_texts(persian) @ old.encode_images(photos).T  # the gallery of the old model
    assert (scores.argmax(1) == np.arange(6)).sum() >= 5
    last = log_of(tmp_path / "run")[-1]
    assert last["val_cosine"] > 0.9
    assert last["val_acc@1"] > 0.5


def test_distillation_resumes_bitwise_and_computes_its_teacher_once(
    data: Path, tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = distilling(
        tiny_model_dir,
        train=TrainRecipe(epochs=2, batch=8, warmup_steps=2, accumulate=2, checkpoint_steps=1),
        text=TextRecipe(context_length=32, pieces=80, augment=True),
    )
    whole = run(plan, data, tmp_path / "whole")
    with pytest.raises(_Killed):
        run(plan, data, tmp_path / "broken", progress=killing("epoch 2", 2))
    monkeypatch.setattr("peyda.training.dual.run.teacher_embeddings", None)
    again = run(plan, data, tmp_path / "broken")
    assert (whole / "textual/model.onnx").read_bytes() == (again / "textual/model.onnx").read_bytes()


def test_a_finished_image_tower_may_be_trained_against(data: Path, tmp_path: Path, tiny_model_dir: Path) -> None:
    """Locked-image tuning with the image half of a model directory: photographs, no teacher, the same files."""
    plan = distilling(
        tiny_model_dir, loss=LossRecipe(kind="infonce"), train=TrainRecipe(epochs=1, batch=8, cache_chunk=3)
    )
    out = run(plan, data, tmp_path / "run")
    assert read_model_info(out).visual_fingerprint == read_model_info(tiny_model_dir).visual_fingerprint
    with pytest.raises(ConfigError, match="stays as it is"):
        run(dataclasses.replace(plan, image=ImageRecipe(resize="longest")), data, tmp_path / "other")


def test_a_teacher_that_is_not_there(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model"):
        run(distilling(tmp_path / "absent"), data, tmp_path / "run")


# --- bad input -----------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_leaves_the_last_state_whole(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(recipe(), data, tmp_path / "whole")
    calls = iter(range(100))
    real = objectives.info_nce

    def poisoned(*args: Any, **options: Any) -> Any:
        loss = real(*args, **options)
        return loss * float("nan") if next(calls) == 4 else loss

    with monkeypatch.context() as patch:
        patch.setattr(objectives, "info_nce", poisoned)
        with pytest.raises(ModelError, match="the loss is nan in epoch 2, batch 2") as caught:
            run(recipe(), data, tmp_path / "run")
    assert "last.pt holds the last good state" in caught.value.hint
    again = run(recipe(), data, tmp_path / "run")
    assert (whole / "visual/model.onnx").read_bytes() == (again / "visual/model.onnx").read_bytes()


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(data: Path, tmp_path: Path) -> None:
    plan = recipe(loss=LossRecipe(scale=1e30), image=ImageRecipe(size_px=32, learning_rate=1e30))
    with pytest.raises(ModelError, match=r"is (nan|inf)"):
        run(plan, data, tmp_path / "run")


def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path: Path) -> None:
    """A limit on the size of files stands for the end of the disk: torch's own writer meets it."""

    class Part:
        def __init__(self, size: int) -> None:
            self.size = size

        def state_dict(self) -> dict[str, Any]:
            return {"values": torch.zeros(self.size)}

    save_state(tmp_path, {"part": Part(3)}, 1)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*last\.pt") as caught:
            save_state(tmp_path, {"part": Part(100_000)}, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert "run the same command again" in caught.value.hint
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_a_full_disk_anywhere_in_a_run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(*_args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl")

    monkeypatch.setattr("peyda.training.dual.loop.log_line", full)
    with pytest.raises(StorageError, match="No space left"):
        run(recipe(), data, tmp_path / "run")
    monkeypatch.undo()
    run(recipe(), data, tmp_path / "run")


def test_a_run_of_another_recipe_or_of_other_towers(data: Path, tmp_path: Path) -> None:
    plan = recipe(image=ImageRecipe(size_px=32, locked=True), train=TrainRecipe(epochs=1, batch=8))
    run(plan, data, tmp_path / "run")
    with pytest.raises(ConfigError, match="another recipe"):
        run(dataclasses.replace(plan, seed=3), data, tmp_path / "run")
    state = torch.load(tmp_path / "run/last.pt", weights_only=True)
    state["model"]["frozen"] = "0" * 32
    torch.save(state, tmp_path / "run/last.pt")
    with pytest.raises(ModelError, match="not the ones that this run began with"):
        run(plan, data, tmp_path / "run")
    (tmp_path / "run/last.pt").write_bytes(b"half a file")
    with pytest.raises(ModelError, match=r"cannot go on from .*last\.pt"):
        run(plan, data, tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"captions": None}, ConfigError, "no photographs to train on"),
        ({"images": None}, ConfigError, "not where they are"),
        ({"captions": Path("absent.csv")}, DataError, "absent.csv"),
        ({"images": Path("absent")}, DataError, "absent"),
    ],
)
def test_missing_data_is_said(
    data: Path, tmp_path: Path, options: dict[str, Any], error: type[PeydaError], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(recipe(), data, tmp_path / "run", **options)


def test_too_few_photographs_for_a_batch(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="less data than one batch of 64"):
        run(recipe(train=TrainRecipe(batch=64)), data, tmp_path / "run")


def test_a_photograph_in_two_splits_is_refused(data: Path, tmp_path: Path) -> None:
    rows = list(csv.reader((data / "captions.csv").read_text(encoding="utf-8").splitlines()))[1:]
    _write(tmp_path / "captions.csv", [*rows, ["red0.png", "9", "red", "قرمز", "val"]])
    with pytest.raises(DataError, match=r"red0\.png"):
        photo_data(recipe(), tmp_path / "captions.csv", data / "photos", None)


def test_corrupt_photographs_are_skipped_and_counted(data: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(data / "photos", tmp_path / "photos")
    for name in ("red0.png", "blue4.png"):  # one to train on, one to choose by
        (tmp_path / "photos" / name).write_bytes((data / "photos" / name).read_bytes()[:200])
    lines: list[str] = []
    run(recipe(), data, tmp_path / "run", images=tmp_path / "photos", report=lines.append)
    assert any("1 photographs skipped" in line for line in lines)


def test_pairs_of_two_languages(data: Path, tmp_path: Path) -> None:
    plan = distilling(tmp_path)
    train, val = pair_data(plan, data / "captions.csv", None)
    assert (len(train), len(val)) == (48, 12)
    assert (train.sources[0], train.targets[0]) == ("a red wall", "دیوار قرمز")
    everything, none = pair_data(
        dataclasses.replace(plan, data=DataRecipe(split="", val_split="")), data / "captions.csv", None
    )
    assert (len(everything), len(none)) == (60, 0)
    with pytest.raises(DataError, match="no row of the split 'other'"):
        pair_data(dataclasses.replace(plan, data=DataRecipe(split="other")), data / "captions.csv", None)
    with pytest.raises(ConfigError, match="no captions"):
        pair_data(plan, None, None)


def test_log_lines_of_epochs_that_were_lost_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n{"epoch": 3, "lo')
    trim_log(tmp_path, 1)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"epoch": 1}\n'


# --- several processes ---------------------------------------------------------------------------------------------


def test_shares_of_an_epoch_are_apart_and_equal(data: Path) -> None:
    source = photo_data(recipe(), data / "captions.csv", data / "photos", None).train
    shares = [Share(source, rank=rank, world=5, seed=0, epoch=1) for rank in range(5)]
    assert [len(share) for share in shares] == [4] * 5
    assert len({int(number) for share in shares for number in share.numbers}) == 20
    assert shares[0].texts_of(0) == source.texts_of(int(shares[0].numbers[0]))
    other = Share(source, rank=0, world=5, seed=0, epoch=2)
    assert other.numbers.tolist() != shares[0].numbers.tolist()


def _sums(own: slice) -> dict[int, list[Any]]:
    """Loss and gradients of a fixed batch of ten, of which this process has the rows `own`; plain and cached."""
    fleet = Fleet()
    layer = torch.nn.Linear(6, 4)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(24.0).reshape(4, 6).sin())
        layer.bias.zero_()
    scale = torch.nn.Parameter(torch.tensor(3.0))
    rows = torch.arange(60.0).reshape(10, 6).cos()[own]
    photo = fleet.gather(torch.arange(10)[own])

    def embed(x: Any) -> Any:
        return torch.nn.functional.normalize(layer(x))

    out = {}
    for chunk in (0, 2):
        layer.zero_grad()
        scale.grad = None
        sides = [Side(embed, [rows]), Side(embed, [rows.flip(1)])]
        loss = backward(sides, lambda a, b: info_nce(a, b, photo, photo, scale), fleet, chunk=chunk)
        assert scale.grad is not None
        scale.grad /= fleet.world
        fleet.sum_gradients([*layer.parameters(), scale])
        out[chunk] = [loss, layer.weight.grad.clone(), layer.bias.grad.clone(), scale.grad.clone()]
    return out


def _work(data: Path, out: Path) -> None:
    """What each of two processes does."""
    torch.set_num_threads(1)
    fleet = Fleet()
    sums = _sums(slice(0, 7) if fleet.rank == 0 else slice(7, 10))
    torch.save(sums, out / f"sums{fleet.rank}.pt")
    assert fleet.from_main(f"said by {fleet.rank}") == "said by 0"
    run(recipe(train=TrainRecipe(epochs=1, batch=8, warmup_steps=1)), data, out / "run")


_WORKER = """
import sys
from pathlib import Path
from tests.unit import test_training_dual_run as test
test._work(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_two_processes_have_the_gradient_of_one(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "ACCELERATE_USE_CPU": "true",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = [sys.executable, "-c", _WORKER, str(data), str(tmp_path)]
    processes = [
        subprocess.Popen(
            command, env={**environment, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True
        )
        for rank in ("0", "1")
    ]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    expected = _sums(slice(0, 10))
    for rank in range(2):
        found = torch.load(tmp_path / f"sums{rank}.pt", weights_only=True)
        for chunk, values in expected.items():
            for one, other in zip(found[chunk], values, strict=True):
                torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)
    assert load_encoder(tmp_path / "run/model").embed_dim == 24
    assert len(log_of(tmp_path / "run")) == 1
