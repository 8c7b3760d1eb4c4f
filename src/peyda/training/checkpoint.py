"""What a run keeps on disk: its state after the last whole epoch, in one file that is never half there, and its log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from peyda.errors import ConfigError
from peyda.training.features import digest


class Checkpoint:
    """Saves and restores everything with `state_dict` and `load_state_dict`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, parts: Mapping[str, Any], epoch: int) -> None:
        """Replace the checkpoint by these parts after `epoch` whole epochs."""
        temporary = self.path.with_suffix(".tmp")
        torch.save({"epoch": epoch, **{name: part.state_dict() for name, part in parts.items()}}, temporary)
        temporary.rename(self.path)

    def restore(self, parts: Mapping[str, Any]) -> int:
        """Load the parts in place; returns how many epochs are done, 0 where there is no checkpoint."""
        if not self.path.is_file():
            return 0
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return int(state["epoch"])


def keep_to_data(run: Path, seen: Iterable[str]) -> None:
    """Note in `data.json` what a run is trained on, so that its checkpoints never go on with other captions: a recipe
    names tables, not what is in them.

    Args:
        run: The run's directory.
        seen: The captions, and whatever says which photographs they are of.

    Raises:
        ConfigError: The run began with others.
    """
    key, path = digest(seen), run / "data.json"
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")).get("digest") != key:
            raise ConfigError(
                f"{run} holds a run on other captions: those that it began with have changed",
                hint="choose another --run directory, or delete it",
            )
        return
    half = path.with_suffix(".tmp")
    half.write_text(json.dumps({"digest": key}), encoding="utf-8")
    half.rename(path)


def log_line(run: Path, values: dict[str, Any], report: Callable[[str], None]) -> None:
    """Append to the run's `metrics.jsonl`, and report."""
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")
    report(" ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items()))
