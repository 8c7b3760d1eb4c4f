"""Where exports read from, what they refuse and why, and what they leave behind when they are stopped."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import http.server
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("onnx")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import foreign_models  # noqa: E402
from peyda.cli import models_export  # noqa: E402
from peyda.encoders import load_encoder, model_info  # noqa: E402
from peyda.encoders.export import ExportPlan  # noqa: E402
from peyda.encoders.export import parity as parity_module  # noqa: E402
from peyda.encoders.export.licences import read_licence  # noqa: E402
from peyda.encoders.export.preprocess import read_hf_preprocess  # noqa: E402
from peyda.encoders.export.run import export_model  # noqa: E402
from peyda.encoders.export.sources import Source, default_name, open_source, split_pair, wanted_files  # noqa: E402
from peyda.errors import ConfigError, ModelError  # noqa: E402
from torchvision_ops import define_torchvision_ops  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module", autouse=True)
def _libraries() -> Iterator[None]:
    define_torchvision_ops()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def text_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign_models.roberta_text(tmp_path_factory.mktemp("foreign") / "pair-text")


@pytest.fixture(scope="module")
def image_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign_models.clip_vision(tmp_path_factory.mktemp("foreign") / "pair-vision")


@pytest.fixture
def plan(text_dir: Path, image_dir: Path, tmp_path: Path) -> ExportPlan:
    return ExportPlan(text=str(text_dir), image=str(image_dir), out=tmp_path / "models/out")


def copied(folder: Path, target: Path) -> Path:
    target.mkdir()
    for one in folder.iterdir():
        (target / one.name).write_bytes(one.read_bytes())
    return target


def edit(path: Path, **changes: Any) -> None:
    value = json.loads(path.read_text())
    value |= changes
    path.write_text(json.dumps(value))


def refused(plan: ExportPlan, **changes: Any) -> ModelError:
    plan = dataclasses.replace(plan, **changes)
    with pytest.raises(ModelError) as caught:
        export_model(plan)
    assert not plan.out.exists()
    assert not list(plan.out.parent.glob(".*")), "nothing of the work is left"
    assert caught.value.hint
    return caught.value


# What SOURCE may say.


def test_pairs_are_told_from_single_sources(tmp_path: Path) -> None:
    (tmp_path / "a+b").mkdir()
    assert split_pair(str(tmp_path / "a+b")) == (str(tmp_path / "a+b"),) * 2
    assert split_pair(f"hf:a/b+{tmp_path}") == ("hf:a/b", str(tmp_path))
    assert split_pair("hf:M-CLIP/X+open_clip:ViT-B-16-plus-240:laion400m_e32")[1].endswith("laion400m_e32")
    assert default_name("hf:M-CLIP/XLM-Roberta@main", "open_clip:ViT-B-32:openai") == "XLM-Roberta-ViT-B-32__openai"


@pytest.mark.parametrize("source", ["nothing-there", "open_clip:ViT-B-32", "open_clip:", "hf:a/b/c", "hf:"])
def test_sources_that_name_nothing(plan: ExportPlan, source: str) -> None:
    refused(plan, text=source, image=source)


def test_files_of_a_repository_are_chosen_once() -> None:
    both = ["open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "config.json"]
    assert wanted_files([*both[:3], "README.md"]) == [*both[:2], "README.md"]
    assert wanted_files([*both, "pytorch_model.bin"]) == [both[0], "config.json", "pytorch_model.bin"]
    assert wanted_files(["0_Transformer/model.safetensors", "0_Transformer/pytorch_model.bin", "modules.json"]) == [
        "0_Transformer/model.safetensors",
        "modules.json",
    ]
    assert wanted_files(["onnx/config.json", "a/b/config.json", "training.pt", "flax_model.msgpack"]) == []


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: cc-by-nc-4.0\n---\n", "cc-by-nc-4.0"),
        ("---\r\nlanguage: fa\r\nlicense: 'mit'\r\n---\r\nlicense: gpl\r\n", "mit"),
        ("---\nlicense: other\nlicense_name: apple-amlr\n---\n", "apple-amlr"),
        ("---\nlicense:\n- apache-2.0\n---\n", "apache-2.0"),
        ("license: mit\n", ""),
        (None, ""),
    ],
)
def test_licences_are_read_from_cards(tmp_path: Path, card: str | None, licence: str) -> None:
    if card is not None:
        (tmp_path / "README.md").write_bytes(card.encode())
    assert read_licence(tmp_path) == licence


# What is refused, and how it is said.


def test_towers_that_do_not_belong_together(plan: ExportPlan, tmp_path: Path) -> None:
    image = foreign_models.clip_vision(tmp_path / "other", projection=24)
    assert "32 numbers, the image tower 24" in refused(plan, image=str(image)).message


def test_weights_that_are_missing_or_left_over(plan: ExportPlan, text_dir: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(text_dir / "model.safetensors")
    poor = copied(text_dir, tmp_path / "poor")
    lost = "encoder.layer.1.output.dense.weight"
    save_file({key: value for key, value in tensors.items() if key != lost}, poor / "model.safetensors")
    assert f"lacks weights of its RobertaModel: {lost}" in refused(plan, text=str(poor)).message
    rich = copied(text_dir, tmp_path / "rich")
    save_file(tensors | {"projection.weight": torch.zeros(3, 3)}, rich / "model.safetensors")
    assert "no place for: projection.weight" in refused(plan, text=str(rich)).message
    headed = {f"roberta.{key}": value for key, value in tensors.items() if "pooler" not in key}
    save_file(headed | {"lm_head.bias": torch.zeros(3)}, rich / "model.safetensors")
    assert export_model(ExportPlan(text=str(rich), image=plan.image, out=plan.out)).name, "a masked language model"
    assert json.loads((plan.out / "config.json").read_text())["text_cfg"]["hf_pooler_type"] == "mean"


def test_a_pooler_that_was_never_trained(plan: ExportPlan, tmp_path: Path) -> None:
    text = foreign_models.roberta_text(tmp_path / "text", pooler=False)
    assert "no trained pooler" in refused(plan, text=str(text), pooling="pooler").message


class _Runs:
    """What a hostile pickle does when it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("family", ["transformers", "M-CLIP", "open_clip"])
def test_pickles_are_never_run(plan: ExportPlan, text_dir: Path, tmp_path: Path, family: str) -> None:
    bad = copied(text_dir, tmp_path / "bad")
    (bad / "model.safetensors").unlink()
    if family == "M-CLIP":
        edit(bad / "config.json", model_type="M-CLIP", modelBase=str(text_dir), transformerDimensions=32, numDims=32)
    if family == "open_clip":
        pytest.importorskip("open_clip")
        bad = foreign_models.open_clip_repository(tmp_path / "oc", "clip")
        (bad / "open_clip_model.safetensors").unlink()
    name = "open_clip_pytorch_model.bin" if family == "open_clip" else "pytorch_model.bin"
    (bad / name).write_bytes(pickle.dumps({"a": _Runs(str(tmp_path / "ran"))}, protocol=2))
    error = refused(plan, text=str(bad))
    assert not (tmp_path / "ran").exists()
    assert "safetensors" in error.hint


def test_models_that_bring_code_along(plan: ExportPlan, text_dir: Path, tmp_path: Path) -> None:
    coded = copied(text_dir, tmp_path / "coded")
    edit(coded / "config.json", model_type="jina_clip", auto_map={"AutoConfig": "m.C", "AutoModel": "m.M"})
    (coded / "m.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n")
    assert "never runs" in refused(plan, text=str(coded)).hint
    assert not (tmp_path / "ran").exists()


def test_unknown_architectures(plan: ExportPlan, text_dir: Path, tmp_path: Path) -> None:
    strange = copied(text_dir, tmp_path / "strange")
    edit(strange / "config.json", model_type="clap-of-thunder")
    assert "newer transformers" in refused(plan, text=str(strange)).hint
    edit(strange / "config.json", model_type="bart", is_encoder_decoder=True)
    refused(plan, text=str(strange))
    (strange / "config.json").write_text("{")
    refused(plan, text=str(strange))
    refused(plan, image=str(text_dir))
    pytest.importorskip("open_clip")
    assert "newer" in refused(plan, text="open_clip:ViT-Nonsense:openai").hint


@pytest.mark.parametrize("package", ["transformers", "open_clip", "huggingface_hub"])
def test_packages_that_are_missing(plan: ExportPlan, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    source = {"open_clip": "open_clip:ViT-B-32:openai", "huggingface_hub": "hf:a/b"}.get(package, plan.text)
    error = refused(plan, text=source)
    assert package in error.message
    assert "peyda[export]" in error.hint


def test_a_target_that_is_there(plan: ExportPlan) -> None:
    plan.out.mkdir(parents=True)
    (plan.out / "mine.txt").write_text("mine")
    with pytest.raises(ModelError, match="there already"):
        export_model(plan)
    assert (plan.out / "mine.txt").read_text() == "mine"


def test_an_export_that_differs_is_not_written(plan: ExportPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    from peyda.encoders.export import run

    export_text_tower = run.export_text_tower

    def spoiled(tower: Any, path: Path) -> None:
        table = tower.module.encoder.embeddings.word_embeddings.weight
        with torch.no_grad():
            before = table.clone()
            table.mul_(1.3)
            export_text_tower(tower, path)
            table.copy_(before)

    monkeypatch.setattr(run, "export_text_tower", spoiled)
    assert "text tower differs from torch" in refused(plan).message


def test_a_tokenizer_that_differs_is_not_written(plan: ExportPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    from peyda.encoders.export import tokenizer

    bare = tokenizer._bare
    monkeypatch.setattr(tokenizer, "_bare", lambda document: _without_specials(bare(document)))
    assert "does not give the tokens" in refused(plan).message


def _without_specials(document: str) -> str:
    value = json.loads(document)
    value["post_processor"] = None
    return json.dumps(value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"crop_size": {"height": 24, "width": 24}}, "crop"),
        ({"size": {"height": 32, "width": 24}}, "square"),
        ({"size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48}}, "tower reads 32"),
        ({"resample": 1}, "resampling"),
        ({"rescale_factor": 1.0}, "0 to 1"),
    ],
)
def test_preprocessing_that_the_layout_cannot_say(
    image_dir: Path, tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    other = copied(image_dir, tmp_path / "other")
    edit(other / "preprocessor_config.json", **changes)
    with pytest.raises(ModelError, match=complaint):
        read_hf_preprocess(Source("other", folder=other), 32)


def test_preprocessing_in_all_its_spellings(tmp_path: Path) -> None:
    def read(**raw: Any) -> Any:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(raw))
        return read_hf_preprocess(Source("it", folder=tmp_path), 32)

    old = read(do_center_crop=True, crop_size=32, size=32, resample=3, image_mean=[0, 0, 0], image_std=[1, 1, 1])
    new = read(
        do_center_crop=True,
        crop_size={"height": 32, "width": 32},
        size={"shortest_edge": 32},
        image_mean=[0, 0, 0],
        image_std=[1, 1, 1],
    )
    assert old == new
    assert (old.resize_mode, old.interpolation) == ("shortest", "bicubic")
    flat = read(size={"height": 32, "width": 32}, resample=2, image_mean=0.5, image_std=0.5)
    assert (flat.resize_mode, flat.interpolation, flat.mean) == ("squash", "bilinear", (0.5, 0.5, 0.5))
    assert read(size=32, do_normalize=False, do_resize=True).std == (1.0, 1.0, 1.0)


def test_preprocessing_that_did_not_come_along(plan: ExportPlan, image_dir: Path, tmp_path: Path) -> None:
    bare = copied(image_dir, tmp_path / "bare")
    (bare / "preprocessor_config.json").unlink()
    assert "--preprocess" in refused(plan, image=str(bare)).hint
    export_model(dataclasses.replace(plan, image=str(bare), preprocess="imagenet"))
    config = load_encoder(plan.out).preprocess_config  # type: ignore[attr-defined]
    assert (config.size_px, config.resize_mode, config.mean) == (32, "squash", (0.485, 0.456, 0.406))


# What is left behind.


def test_a_killed_export_leaves_nothing_that_looks_whole(plan: ExportPlan, tmp_path: Path) -> None:
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})
from torchvision_ops import define_torchvision_ops
define_torchvision_ops()
from pathlib import Path
from peyda.encoders.export import ExportPlan
from peyda.encoders.export.run import export_model
def say(line):
    if line.startswith("comparing"):
        os.kill(os.getpid(), signal.SIGKILL)
export_model(ExportPlan(text={plan.text!r}, image={plan.image!r}, out=Path({str(plan.out)!r})), say=say)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr[-500:]
    work = plan.out.parent / ".out.export"
    assert work.is_dir()
    assert not plan.out.exists()
    handle = os.open(work, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)  # as if that export were still running
    with pytest.raises(ModelError, match="is running"):
        export_model(plan)
    os.close(handle)
    export_model(plan)
    assert [one.name for one in plan.out.parent.iterdir()] == ["out"]
    assert load_encoder(plan.out).encode_texts(["خانه"]).shape == (1, 32)


def test_a_full_disk_is_no_model(plan: ExportPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    from peyda.encoders.export import graph

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(graph.onnx, "save_model", full)
    with pytest.raises(OSError, match="No space"):
        export_model(plan)
    assert list(plan.out.parent.iterdir()) == []


# The hub.


class _Hub(http.server.BaseHTTPRequestHandler):
    """The hub's file API for one folder; `owner/gated` and others that are not there."""

    folder: Path
    asked: list[str]
    sha = "0123456789abcdef0123456789abcdef01234567"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.asked.append(self.path)
        if "/gated" in self.path:
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "no"}, body=body)
        elif self.path.startswith("/api/models/owner/text"):
            names = [one.name for one in self.folder.iterdir()] + ["onnx/model.onnx", "tf_model.h5"]
            answer = {"id": "owner/text", "sha": self.sha, "siblings": [{"rfilename": name} for name in names]}
            self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body=body)
        elif self.path.startswith(f"/owner/text/resolve/{self.sha}/"):
            data = (self.folder / self.path.rsplit("/", 1)[-1]).read_bytes()
            tag = hashlib.sha256(data).hexdigest()
            self._send(200, data, {"ETag": f'"{tag}"', "X-Repo-Commit": self.sha}, body=body)
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "no"}, body=body)

    def _send(self, status: int, data: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def hub(text_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Hub]]:
    import huggingface_hub

    handler = type("Handler", (_Hub,), {"folder": text_dir, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield handler
    server.shutdown()
    server.server_close()


def test_a_repository_is_fetched_from_the_mirror(hub: type[_Hub], plan: ExportPlan) -> None:
    report = export_model(dataclasses.replace(plan, text="hf:owner/text"))
    assert report.licence == "mit + apache-2.0"
    config = json.loads((plan.out / "config.json").read_text())
    assert config["peyda"]["sources"] == ["hf:owner/text", "pair-vision"]
    assert "base_model:\n- owner/text\n" in (plan.out / "model_card.md").read_text(encoding="utf-8")
    assert not [path for path in hub.asked if path.endswith((".h5", "/onnx/model.onnx"))]
    asked = len(hub.asked)
    assert open_source("hf:owner/text").files.joinpath("config.json").is_file()
    again = hub.asked[asked:]
    assert not [path for path in again if path.endswith("model.safetensors")], "what is in the cache is not fetched"


@pytest.mark.usefixtures("hub")
def test_repositories_that_cannot_be_had(plan: ExportPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "HF_TOKEN" in refused(plan, text="hf:owner/gated").hint
    assert "not on the hub" in refused(plan, text="hf:owner/nothing").message
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "HF_ENDPOINT" in refused(plan, text="hf:owner/text").hint


# The command.


def run_command(*arguments: object) -> Any:
    return CliRunner().invoke(models_export.export, [str(one) for one in arguments])


def test_the_command_and_the_recall_that_8_bits_cost(plan: ExportPlan, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, photo in enumerate(parity_module.probe_photographs()):
        photo.save(photos / f"{number}.png")
    table = tmp_path / "captions.csv"
    rows = [f"{number}.png,{text}" for number, text in enumerate(foreign_models.TEXTS)]
    table.write_text("image,caption_fa\n" + "\n".join(rows) + "\n", encoding="utf-8")
    given = (
        "--text",
        plan.text,
        "--vision",
        plan.image,
        "--out",
        plan.out,
        "--name",
        "mine",
        "--licence",
        "cc-by-nc-4.0",
    )
    result = run_command(*given, "--int8", "--captions", table, "--images", photos, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["name"] == "mine"
    assert report["is_non_commercial"]
    assert "forbids commercial use" in result.stderr
    recall = report["int8"]["recall"]
    assert (recall["queries"], recall["images"]) == (6, 6)
    assert list(recall["float"]) == list(recall["int8"]) == ["1", "5", "10"]
    assert recall["int8"]["10"] == 1.0, "six photographs are among the first ten"
    info = model_info(plan.out)
    assert (info.name, info.licence) == ("mine", "cc-by-nc-4.0")
    assert "| float | " in info.card_path.read_text(encoding="utf-8")
    assert "no commercial use" in info.card_path.read_text(encoding="utf-8")
    assert str(tmp_path) not in (plan.out / "config.json").read_text()


def test_the_command_says_what_it_wrote(
    plan: ExportPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private_home: Path
) -> None:
    monkeypatch.setenv("PEYDA_MODELS", str(tmp_path / "installed"))
    result = run_command(f"{plan.text}+{plan.image}")
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "installed/pair") in result.stdout
    assert "licence     mit + apache-2.0" in result.stdout
    assert load_encoder("pair").embed_dim == 32


def test_the_command_wants_both_towers_and_whole_wishes(plan: ExportPlan, tmp_path: Path) -> None:
    assert run_command("--text", plan.text).exit_code == 2
    assert run_command(plan.text, "--captions", "x.csv").exit_code == 2
    assert run_command(plan.text, "--pooling", "max").exit_code == 2
    missing = run_command(plan.text, "--int8", "--captions", tmp_path / "no.csv", "--images", tmp_path)
    assert type(missing.exception).__name__ == "DataError", "before the model is read"


def test_without_torch_the_extra_is_named(plan: ExportPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "peyda.encoders.export.run")
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = run_command(plan.text, "--out", plan.out)
    assert isinstance(result.exception, ConfigError)
    assert "peyda[export]" in result.exception.hint


# Exports of others in this layout.


def foreign_export(folder: Path, source: Path, **config: Any) -> Path:
    """As Immich publishes them: one row at a time, no record of ours."""
    import onnx

    for part in ("visual", "textual"):
        (folder / part).mkdir(parents=True)
        for one in (source / part).iterdir():
            (folder / part / one.name).write_bytes(one.read_bytes())
        graph = onnx.load(folder / part / "model.onnx")
        graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
        if part == "textual":
            graph.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 40
        onnx.save(graph, folder / part / "model.onnx")
    raw = json.loads((source / "config.json").read_text())
    raw.pop("peyda")
    raw["text_cfg"] |= config
    (folder / "config.json").write_text(json.dumps(raw))
    return folder


def test_graphs_of_one_row_take_any_number(plan: ExportPlan, tmp_path: Path) -> None:
    export_model(dataclasses.replace(plan, context_length=40))
    ours, theirs = load_encoder(plan.out), load_encoder(foreign_export(tmp_path / "theirs", plan.out))
    texts = [*foreign_models.TEXTS, ""] * 10
    images = [*parity_module.probe_photographs(), Image.new("L", (5, 9))]
    np.testing.assert_allclose(theirs.encode_texts(texts), ours.encode_texts(texts), atol=1e-5)
    np.testing.assert_allclose(theirs.encode_images(images), ours.encode_images(images), atol=1e-5)
    assert theirs.encode_texts([]).shape == theirs.encode_images([]).shape == (0, 32)


def test_exports_of_nllb_read_persian_as_persian(plan: ExportPlan, tmp_path: Path) -> None:
    """Their tokenizer begins texts with the token of English; punctuation goes where `clean` says so."""
    export_model(plan)
    wanted = {"hf_tokenizer_name": "facebook/nllb-200-distilled-600M"}
    theirs = foreign_export(tmp_path / "theirs", plan.out, **wanted, context_length=40)
    tokenizer = foreign_models.nllb_tokenizer()
    tokenizer.save_pretrained(theirs / "textual")
    codes = {code: tokenizer.convert_tokens_to_ids(code) for code in ("eng_Latn", "pes_Arab")}
    assert tokenizer("سگ")["input_ids"][0] == codes["eng_Latn"]
    encoder: Any = load_encoder(theirs)
    assert encoder.text_tokens(["سگ"])[0][0] == codes["pes_Arab"]
    assert encoder.text_tokens(["سگ " * 99])[0][-1] == 2, "the end of text survives the cut"
    raw = json.loads((theirs / "config.json").read_text())
    raw["text_cfg"]["tokenizer_kwargs"] = {"language": "eng_Latn", "clean": "canonicalize"}
    (theirs / "config.json").write_text(json.dumps(raw))
    english: Any = load_encoder(theirs)
    assert english.text_tokens(["a dog, a dog"])[0][0] == codes["eng_Latn"]
    assert english.text_tokens(["a dog, a_dog!"]) == english.text_tokens(["a dog a dog"])
    raw["text_cfg"]["tokenizer_kwargs"] = ["clean"]
    (theirs / "config.json").write_text(json.dumps(raw))
    with pytest.raises(ModelError, match="text_cfg"):
        load_encoder(theirs)
