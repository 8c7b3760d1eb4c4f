"""What a run keeps on disk, so that it can be killed at any time: `last.pt`, `best.pt`, `metrics.jsonl`."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from peyda.errors import ConfigError, ModelError, StorageError
from peyda.training.checkpoint import Checkpoint
from peyda.training.dual.model import DualModel, load_learning

LAST, BEST, LOG = "last.pt", "best.pt", "metrics.jsonl"
_AGAIN = "free some space and run the same command again: it goes on where it stopped"


class Learning:
    """The parameters that learn, as a state of `Checkpoint`; frozen ones are told apart by a digest.

    Args:
        model: Whose they are.
    """

    def __init__(self, model: DualModel) -> None:
        self._model = model
        self._frozen = model.frozen_digest()

    def state_dict(self) -> dict[str, Any]:
        """Values by name, and the digest of what does not learn."""
        return {
            "values": {name: value.detach() for name, value in self._model.learning().items()},
            "frozen": self._frozen,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`.

        Raises:
            ModelError: The towers are not the ones that this run began with.
        """
        if state["frozen"] != self._frozen:
            raise ModelError(
                "the pretrained towers are not the ones that this run began with",
                hint="put the old ones back, or choose another --run directory",
            )
        load_learning(self._model, state["values"])


class Standing:
    """How far a run is within an epoch, and how well it did. A state of `Checkpoint`."""

    def __init__(self) -> None:
        self.step = 0
        """Steps of the unfinished epoch that are done."""
        self.loss_sum = 0.0
        self.losses = 0
        self.best: list[float] = []
        """Of the best epoch: val Acc@10, and MRR for when that is equal."""
        self.best_epoch = 0
        self.is_over = False

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        vars(self).update(state)


def save_state(run: Path, parts: Mapping[str, Any], epoch: int) -> None:
    """Replace `last.pt`; the old one stays whole if that fails.

    Raises:
        StorageError: The disk is full or gone.
    """
    checkpoint = Checkpoint(run / LAST)
    with _writing(checkpoint.path):
        checkpoint.save(parts, epoch)


def restore_state(run: Path, parts: Mapping[str, Any]) -> int:
    """Load `last.pt` in place; returns how many epochs are done, 0 where there is none.

    Raises:
        ModelError: It cannot be read, or is of other towers.
    """
    path = run / LAST
    try:
        return Checkpoint(path).restore(parts)
    except (OSError, RuntimeError, ValueError, KeyError, EOFError) as error:
        raise ModelError(
            f"cannot go on from {path}: {_first_line(error)}", hint="delete it to begin again, or choose another --run"
        ) from error


def save_best(run: Path, values: Mapping[str, Tensor]) -> None:
    """Replace `best.pt`.

    Raises:
        StorageError: The disk is full or gone.
    """
    path = run / BEST
    with _writing(path):
        torch.save(dict(values), path.with_suffix(".tmp"))
        path.with_suffix(".tmp").rename(path)


def load_best(run: Path, model: DualModel) -> None:
    """Put the weights of `best.pt` into the model.

    Raises:
        ModelError: It cannot be read.
    """
    path = run / BEST
    try:
        load_learning(model, torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, ValueError, KeyError, EOFError) as error:
        raise ModelError(f"cannot read {path}: {_first_line(error)}", hint="begin again with another --run") from error


def trim_log(run: Path, epochs: int) -> None:
    """Drop lines of epochs that a killed run logged but did not keep."""
    path = run / LOG
    if not path.is_file():
        return
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if _epoch_of(line) <= epochs]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    temporary.rename(path)


def _epoch_of(line: str) -> float:
    try:
        return float(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError):  # the half line of a run that was killed while it wrote
        return float("inf")


@contextmanager
def storage_errors(run: Path) -> Iterator[None]:
    """A full disk, wherever in a run it is met, as a `StorageError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            raise StorageError(f"cannot write {error.filename or run}: {error.strerror}", hint=_AGAIN) from error
        raise


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch's writer has a RuntimeError for a full disk
        path.with_suffix(".tmp").unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {_first_line(error)}", hint=_AGAIN) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or repr(error)).split("\n", 1)[0][:200]


def open_tensorboard(run: Path, done_steps: int) -> Any:
    """A writer of RUN/tensorboard; what it has of later steps is dropped.

    Raises:
        ConfigError: The package tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "train.tensorboard needs the package tensorboard", hint="pip install tensorboard, or leave the key out"
        ) from error
    return SummaryWriter(str(run / "tensorboard"), purge_step=done_steps)
