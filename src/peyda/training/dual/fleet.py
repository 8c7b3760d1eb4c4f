"""The processes of one run: one, or as many as `accelerate launch` started.

Every process takes its share of each batch, all embeddings are gathered, and each works out the whole loss, in which
only its own rows have gradients; the sum of these over the processes is the gradient of one process with the whole
batch. Parameters of the loss itself (temperature, bias) get the whole gradient everywhere, so theirs is the mean.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor

from peyda.errors import ConfigError

T = TypeVar("T")


class Fleet:
    """The processes of one run, as seen from one of them.

    Raises:
        ConfigError: The environment says that there are several, and the package accelerate is not installed.
    """

    def __init__(self) -> None:
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0")) if self.world > 1 else 0
        self._accelerator: Any = None
        if self.world > 1:
            try:
                from accelerate import Accelerator
            except ImportError as error:
                raise ConfigError(
                    "several processes need the package accelerate", hint="pip install accelerate"
                ) from error
            self._accelerator = Accelerator(cpu=not torch.cuda.is_available())
            self.device: torch.device = self._accelerator.device
        else:
            self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def is_main(self) -> bool:
        """Whether this one writes files and reports."""
        return self.rank == 0

    def gather(self, rows: Tensor) -> Tensor:
        """Rows of all processes, in their order; only this one's have a gradient. Lengths may differ."""
        if self._accelerator is None:
            return rows
        parts = self._parts(rows.detach())
        parts[self.rank] = rows
        return torch.cat(parts)

    def _parts(self, rows: Tensor) -> list[Tensor]:
        own = torch.tensor([len(rows)], device=self.device)
        counts = [int(count) for count in self._accelerator.gather(own)]
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: len(rows)] = rows
        every = self._accelerator.gather(padded).reshape(self.world, max(counts), *rows.shape[1:])
        return [every[rank, :count].clone() for rank, count in enumerate(counts)]

    def own_slice(self, rows: Tensor) -> slice:
        """Where this process's rows are in what `gather` gives."""
        if self._accelerator is None:
            return slice(0, len(rows))
        own = torch.tensor([len(rows)], device=self.device)
        counts = [int(count) for count in self._accelerator.gather(own)]
        start = sum(counts[: self.rank])
        return slice(start, start + len(rows))

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Add up the gradients of all processes, in place."""
        if self._accelerator is None:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad.copy_(self._accelerator.reduce(parameter.grad, "sum"))

    def from_main(self, value: T) -> T:
        """What the main process has; the others' values are ignored. Waits for it."""
        if self._accelerator is None:
            return value
        from accelerate.utils import broadcast_object_list

        said: T = broadcast_object_list([value])[0]
        return said

    def wait(self) -> None:
        """Until all are here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()
