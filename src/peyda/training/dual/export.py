"""From a trained dual encoder to a model directory that `peyda.load_encoder` loads, checked against torch.

The graphs, the probes and the bound on how far they may lie from torch are those of `peyda models export`. A finished
image tower (`model:`) is copied byte for byte: the new model has the old one's `visual_fingerprint`, and galleries made
with the old one are searched with the new one as they are.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from peyda._version import __version__
from peyda.encoders.directory import file_records, read_json, write_json
from peyda.encoders.export.graph import export_image_tower, export_text_tower
from peyda.encoders.export.parity import check_image_tower, check_text_tower
from peyda.encoders.export.preprocess import preprocess_document
from peyda.encoders.export.towers import TokenizerFiles, TorchImageTower, TorchTextTower
from peyda.encoders.onnx_encoder import OnnxEncoder
from peyda.errors import ModelError
from peyda.persian import NORMALIZER_VERSION
from peyda.training.dual.model import DualModel
from peyda.training.dual.towers import TextTower
from peyda.training.dual.towers_own import FinishedTower


class _ImageGraph(nn.Module):
    """Pixels to the shared space."""

    def __init__(self, model: DualModel) -> None:
        super().__init__()
        self.tower, self.head = model.image, model.image_head

    def forward(self, pixels: Tensor) -> Tensor:
        rows: Tensor = self.head(self.tower(pixels))
        return rows


class _TextGraph(nn.Module):
    """Token ids, filled up with the padding's id, to the shared space."""

    def __init__(self, model: DualModel) -> None:
        super().__init__()
        self.tower, self.head = model.text, model.text_head

    def forward(self, ids: Tensor) -> Tensor:
        ids = ids.long()
        rows: Tensor = self.head(self.tower(ids, (ids != self.tower.pad_id).long()))
        return rows


def export_model(model: DualModel, out: Path, *, measured: Mapping[str, float]) -> Path:
    """Write the model directory; an older one there is replaced only when the new one is whole.

    Args:
        model: The trained model, with the weights to export. Moved to the processor, in evaluation mode.
        out: The model directory.
        measured: Numbers of the model on the val set, for its card.

    Returns:
        `out`.

    Raises:
        ModelError: A tower has no ONNX form, or the exported one lies further than 1e-3 in cosine distance from torch.
    """
    model = model.cpu().float().eval()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
        new = Path(folder) / "model"
        (new / "visual").mkdir(parents=True)
        (new / "textual").mkdir()
        text = _write_text(model, new / "textual")
        image = _write_image(model, new / "visual")
        config = _config(model)
        write_json(new / "config.json", config)
        encoder = OnnxEncoder(new)
        parity = {"text": dataclasses.asdict(check_text_tower(text, encoder))}
        if image is not None:
            parity["image"] = dataclasses.asdict(check_image_tower(image, encoder))
        (new / "model_card.md").write_text(_card(model, measured), encoding="utf-8")
        config["peyda"] |= {"parity": parity, "exported_with": __version__, "files": file_records(new)}
        write_json(new / "config.json", config)
        if out.exists():
            out.rename(Path(folder) / "old")
        new.rename(out)
    return out


def _write_image(model: DualModel, folder: Path) -> TorchImageTower | None:
    """None for a finished tower: it is copied, and there is nothing to compare."""
    net = model.image.net
    if isinstance(net, FinishedTower):
        shutil.copytree(net.directory / "visual", folder, dirs_exist_ok=True)
        return None
    preprocess = model.image.preprocess
    graph = _ImageGraph(model)
    export_image_tower(graph, preprocess.size_px, folder / "model.onnx")
    write_json(folder / "preprocess_cfg.json", preprocess_document(preprocess))
    return TorchImageTower(graph, preprocess, _shown(model.recipe.towers.image), model.recipe.licence)


def _write_text(model: DualModel, folder: Path) -> TorchTextTower:
    tower = model.text
    graph = _TextGraph(model)
    _check_padding(tower)
    files = _tokenizer_files(tower)
    label, licence = _shown(model.recipe.towers.text), model.recipe.licence
    written = TorchTextTower(
        graph, files, tower.context_length, tower.pad_id, tower.is_filled, {}, label=label, licence=licence
    )
    export_text_tower(written, folder / "model.onnx")
    (folder / "tokenizer.json").write_text(files.document, encoding="utf-8")
    write_json(folder / "tokenizer_config.json", files.config)
    return written


def _check_padding(tower: TextTower) -> None:
    """The graph tells padding by its id, so no token of a text may have that id, where the tower looks at the mask."""
    ids, mask = tower.tokenize(["", "سگ در برف", "a dog"])
    if tower.reads_mask and bool(((ids == tower.pad_id) & (mask == 1)).any()):
        raise ModelError(f"the text tower's tokenizer uses {tower.pad_token} both as padding and within texts")


def _tokenizer_files(tower: TextTower) -> TokenizerFiles:
    document = json.loads(tower.tokenizer.to_str())
    document["padding"] = document["truncation"] = None
    config = {
        "pad_token": tower.pad_token,
        "model_max_length": tower.context_length,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }

    def reference(texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in tower.tokenizer.encode_batch(list(texts))]

    return TokenizerFiles(json.dumps(document, ensure_ascii=False, separators=(",", ":")), config, reference)


def _config(model: DualModel) -> dict[str, Any]:
    recipe = model.recipe
    size = model.image.preprocess.size_px
    vision: dict[str, Any] = {"image_size": size}
    if isinstance(model.image.net, FinishedTower):
        vision = read_json(model.image.net.directory / "config.json").get("vision_cfg", vision)
    return {
        "embed_dim": model.embed_dim,
        "vision_cfg": vision,
        "text_cfg": {
            "context_length": model.text.context_length,
            "vocab_size": model.text.tokenizer.get_vocab_size(),
        },
        "peyda": {
            "name": recipe.name,
            "description": recipe.description,
            "licence": recipe.licence,
            "normalizer_version": NORMALIZER_VERSION,
            "sources": [_shown(recipe.towers.image), _shown(recipe.towers.text)],
        },
    }


def _shown(name: str) -> str:
    """A tower as records name it: of a path of this machine, its last part alone."""
    family, _, rest = name.partition(":")
    if rest and Path(rest).exists():
        return f"{family}:{Path(rest).resolve().name}"
    tower, _, weights = name.rpartition(":")
    return f"{tower}:{Path(weights).name}" if tower and Path(weights).exists() else name


def _card(model: DualModel, measured: Mapping[str, float]) -> str:
    recipe = model.recipe
    lines = ["---", "language: [fa, en]", "pipeline_tag: zero-shot-image-classification", "tags: [clip, onnx, peyda]"]
    if recipe.licence:
        lines.append(f"license: {recipe.licence}")
    lines += [
        "---",
        "",
        f"# {recipe.name}",
        "",
        *([recipe.description, ""] if recipe.description else []),
        f"- Image tower: `{_shown(recipe.towers.image)}`" + (" (as it was)" if recipe.image.locked else ""),
        f"- Text tower: `{_shown(recipe.towers.text)}`" + (" (as it was)" if recipe.text.locked else ""),
        f"- Trained with the loss `{recipe.loss.kind}`, by `peyda train clip`",
        f"- Licence: {recipe.licence or 'not stated; those of its towers and of its data decide'}",
        f"- Embedding: {model.embed_dim} dimensions",
        f"- Reads photographs at {model.image.preprocess.size_px} px, texts up to {model.text.context_length} tokens",
    ]
    if measured:
        lines += ["", "On the val set, by which the epoch was chosen:", "", "| measure | value |", "|---|---|"]
        lines += [f"| {name.removeprefix('val_')} | {value:.4g} |" for name, value in measured.items()]
    return "\n".join([*lines, ""])
