"""What all exports of this room write alike: the directory itself, the tokenizer, a text tower's weights by name."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from peyda.training.e5 import TextTransformer
from peyda.types import Float32


def replace_directory(out: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write a new directory beside `out`, then put it in its place; the model card goes with it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
        new = Path(folder) / "model"
        new.mkdir()
        fill(new)
        if (out / "model_card.md").is_file():
            shutil.copy2(out / "model_card.md", new / "model_card.md")
        if out.exists():
            out.rename(Path(folder) / "old")
        new.rename(out)


def write_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """As compact JSON."""
    document = json.loads(tokenizer.to_str())
    path.write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def tower_weights(tower: TextTransformer) -> dict[str, Float32]:
    """Weights by the names that `peyda.encoders.text_graph` knows them by."""
    weights = {name: np.asarray(value.detach().float().numpy()) for name, value in tower.state_dict().items()}
    weights["word"] = weights.pop("word.weight")
    weights["position"] = weights.pop("position.weight")
    return weights
