"""`export_model`: from sources to a model directory that stands, or nothing.

All is written to a folder beside the target, `config.json` last, and renamed when both towers have proven equal to
torch's. A run that is killed leaves that folder; the next one to the same target clears it away.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch

from peyda._version import __version__
from peyda.encoders.directory import file_records, write_json
from peyda.encoders.export.card import model_card
from peyda.encoders.export.graph import export_image_tower, export_text_tower, save
from peyda.encoders.export.hf_image import load_hf_image_tower
from peyda.encoders.export.hf_text import load_hf_text_tower
from peyda.encoders.export.int8 import quantize_tower
from peyda.encoders.export.open_clip_model import load_open_clip, open_clip_image_tower, open_clip_text_tower
from peyda.encoders.export.parity import check_image_tower, check_text_tower, compare_encoders
from peyda.encoders.export.plan import ExportPlan, ExportReport, Int8Report
from peyda.encoders.export.preprocess import PRESETS, preprocess_document
from peyda.encoders.export.sources import Source, default_name, open_source
from peyda.encoders.export.towers import TorchImageTower, TorchTextTower, loading
from peyda.encoders.hub.licences import is_non_commercial
from peyda.encoders.onnx_encoder import OnnxEncoder
from peyda.errors import ModelError

Say = Callable[[str], None]
Measure = Callable[[OnnxEncoder, OnnxEncoder], dict[str, Any]]


def export_model(plan: ExportPlan, *, say: Say = lambda _: None, measure: Measure | None = None) -> ExportReport:
    """Export a model, check it against torch, and put it in its place.

    Args:
        plan: What, from where, to where.
        say: Called with one line a step.
        measure: Called with the float and the 8-bit model; what it returns is recorded as the recall that 8 bits cost.

    Raises:
        ModelError: A source cannot be read or is of an unknown kind, the towers do not fit each other, a library is
            missing, or the exported towers differ from torch's. Nothing is written then.
        StorageError: Through the caller, from OSError, when the disk is full.
        ValueError: An unknown preset.
    """
    if plan.preprocess and plan.preprocess not in PRESETS:
        raise ValueError(f"unknown preset {plan.preprocess!r}")
    _require_free(plan.out)
    text, image = _load(plan, say)
    embed_dim = _common_dim(text, image)
    with _work_folder(plan.out) as work:
        float_dir = work / "model"
        say("writing the image tower")
        _write_image(image, float_dir / "visual")
        say("writing the text tower")
        _write_text(text, float_dir / "textual")
        base = _config(plan, text, image, embed_dim)
        write_json(float_dir / "config.json", base)
        say("comparing both with torch")
        encoder = OnnxEncoder(float_dir)
        text_parity, image_parity = check_text_tower(text, encoder), check_image_tower(image, encoder)
        del text, image
        gc.collect()
        int8 = None
        final = float_dir
        if plan.is_int8:
            say("storing both in 8 bits")
            final = _quantize(float_dir, work / "int8")
            int8 = _int8_report(float_dir, final, measure, say)
        licence = base["peyda"]["licence"]
        report = ExportReport(
            directory=plan.out,
            name=base["peyda"]["name"],
            embed_dim=base["embed_dim"],
            image_size_px=base["vision_cfg"]["image_size"],
            context_length=base["text_cfg"]["context_length"],
            size_bytes=_tower_bytes(final),
            licence=licence,
            is_non_commercial=is_non_commercial(licence),
            text_parity=text_parity,
            image_parity=image_parity,
            int8=int8,
            notes=_notes(licence),
        )
        _finish(final, base, report, plan)
    return report


def _require_free(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ModelError(f"{out} is there already", hint="remove it, or choose another --out")


def _load(plan: ExportPlan, say: Say) -> tuple[TorchTextTower, TorchImageTower]:
    """Both towers in torch; a source that has both is opened once."""
    is_one = plan.text == plan.image
    say(f"reading {plan.text}")
    text_source = open_source(plan.text)
    image_source = text_source if is_one else open_source(plan.image)
    models: dict[Source, Any] = {}

    def model_of(source: Source) -> Any:
        if source not in models:
            models[source] = load_open_clip(source)
        return models[source]

    if text_source.is_open_clip:
        text = open_clip_text_tower(text_source, model_of(text_source), plan.language, plan.context_length)
    else:
        text = load_hf_text_tower(text_source, plan.pooling, plan.context_length)
    if not is_one:
        say(f"reading {plan.image}")
    if image_source.is_open_clip:
        image = open_clip_image_tower(image_source, model_of(image_source), plan.preprocess)
    else:
        image = load_hf_image_tower(image_source, plan.preprocess)
    return text, image


@contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out`, empty, locked for as long as the context lasts, and gone afterwards."""
    out.parent.mkdir(parents=True, exist_ok=True)
    work = out.parent / f".{out.name}.export"
    work.mkdir(exist_ok=True)
    handle = os.open(work, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ModelError(f"another export to {out} is running", hint="wait for it, or stop it") from error
        _clear(work)
        try:
            for part in ("visual", "textual"):
                (work / "model" / part).mkdir(parents=True)
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    finally:
        os.close(handle)


def _clear(folder: Path) -> None:
    for one in folder.iterdir():
        shutil.rmtree(one) if one.is_dir() else one.unlink()


def _write_image(tower: TorchImageTower, folder: Path) -> None:
    export_image_tower(tower.module, tower.preprocess.size_px, folder / "model.onnx")
    write_json(folder / "preprocess_cfg.json", preprocess_document(tower.preprocess))


def _write_text(tower: TorchTextTower, folder: Path) -> None:
    export_text_tower(tower, folder / "model.onnx")
    (folder / "tokenizer.json").write_text(tower.tokenizer.document, encoding="utf-8")
    write_json(folder / "tokenizer_config.json", tower.tokenizer.config)


def _common_dim(text: TorchTextTower, image: TorchImageTower) -> int:
    """How long the embeddings of both towers are.

    Raises:
        ModelError: They are not equally long, or one of the towers fails.
    """
    size_px = image.preprocess.size_px
    tokens = torch.full((1, text.context_length), text.pad_id, dtype=torch.int32)
    known = text.tokenizer.reference(["خانه"])[0]
    tokens[0, : len(known)] = torch.tensor(known, dtype=torch.int32)
    with torch.inference_mode():
        with loading("the text tower"):
            of_text = int(text.module(tokens).shape[-1])
        with loading("the image tower"):
            of_image = int(image.module(torch.zeros(1, 3, size_px, size_px)).shape[-1])
    if of_text != of_image:
        raise ModelError(
            f"the text tower gives {of_text} numbers, the image tower {of_image}: they do not belong together",
            hint="take two towers that were trained together; the card of one names the other",
        )
    return of_text


def _config(plan: ExportPlan, text: TorchTextTower, image: TorchImageTower, embed_dim: int) -> dict[str, Any]:
    """`config.json`, but for the hashes."""
    named = [one for one in dict.fromkeys((text.licence, image.licence)) if one]
    sources = list(dict.fromkeys((text.label, image.label)))
    licence = plan.licence or " + ".join(named)
    vocabulary = len(json.loads(text.tokenizer.document)["model"].get("vocab", ()))
    return {
        "embed_dim": embed_dim,
        "vision_cfg": {"image_size": image.preprocess.size_px},
        "text_cfg": text.text_config | {"context_length": text.context_length, "vocab_size": vocabulary},
        "peyda": {
            "name": plan.name or default_name(plan.text, plan.image),
            "description": f"Exported from {' and '.join(sources)}" + (", 8 bits." if plan.is_int8 else "."),
            "licence": licence,
            "is_non_commercial": is_non_commercial(licence),
            "sources": sources,
        },
    }


def _quantize(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("model.onnx*"))
    for part in ("visual", "textual"):
        save(quantize_tower(onnx.load(source / part / "model.onnx")), target / part / "model.onnx")
    return target


def _int8_report(float_dir: Path, int8_dir: Path, measure: Measure | None, say: Say) -> Int8Report:
    encoders = OnnxEncoder(float_dir), OnnxEncoder(int8_dir)
    texts, images = compare_encoders(*encoders)
    recall = None
    if measure is not None:
        say("measuring what 8 bits cost")
        recall = measure(*encoders)
    return Int8Report(
        float_bytes=_tower_bytes(float_dir),
        int8_bytes=_tower_bytes(int8_dir),
        text_cosine_mean=float(texts.mean()),
        text_cosine_worst=float(texts.min()),
        image_cosine_mean=float(images.mean()),
        image_cosine_worst=float(images.min()),
        recall=recall,
    )


def _tower_bytes(folder: Path) -> int:
    return sum(one.stat().st_size for part in ("visual", "textual") for one in (folder / part).iterdir())


def _notes(licence: str) -> list[str]:
    if not licence:
        return ["its licence is not stated: ask before you pass the model on"]
    if is_non_commercial(licence):
        return [f"its licence ({licence}) forbids commercial use"]
    return []


def _finish(folder: Path, config: dict[str, Any], report: ExportReport, plan: ExportPlan) -> None:
    """Card, then hashes and configuration, then the name: what is there under the name is whole."""
    (folder / "model_card.md").write_text(model_card(report, config["peyda"]["sources"]), encoding="utf-8")
    record = report.to_dict()
    config["peyda"] |= {
        "exported_with": __version__,
        "parity": {"text": record["text_parity"], "image": record["image_parity"]},
        **({"int8": record["int8"]} if report.int8 else {}),
        "files": file_records(folder),
    }
    write_json(folder / "config.json", config)
    _sync(folder)
    if plan.out.is_dir():
        plan.out.rmdir()  # an empty one: `_require_free` saw to that, and this fails if it no longer is
    folder.rename(plan.out)


def _sync(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
