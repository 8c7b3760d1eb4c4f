"""The gradient of a contrastive batch, with all of it in memory or a chunk at a time.

A contrastive loss needs every embedding of the batch at once, but not every activation. Gradient caching (Gao et al.
2021, https://arxiv.org/abs/2101.06983) embeds the batch chunk by chunk without a graph, works out the loss and its
gradient at the embeddings, and then embeds each chunk again, with a graph, to carry that gradient on to the weights.
The second pass draws the randomness (dropout) of the first. The result is the gradient of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from peyda.training.dual.fleet import Fleet

Embed = Callable[..., Tensor]
"""From tensors of n rows each to n embeddings."""


class Side:
    """One side of a batch: what embeds it, and its inputs.

    Args:
        embed: From the inputs to embeddings Float32[n, d].
        inputs: Tensors of n rows each.
        learns: Whether any parameter behind it does; if none, nothing is embedded twice.
    """

    def __init__(self, embed: Embed, inputs: Sequence[Tensor], *, learns: bool = True) -> None:
        self.embed = embed
        self.inputs = inputs
        self.learns = learns

    def chunks(self, size: int) -> list[list[Tensor]]:
        """The inputs, `size` rows at a time."""
        count = len(self.inputs[0])
        return [[x[start : start + size] for x in self.inputs] for start in range(0, count, size)]


def backward(
    sides: Sequence[Side],
    loss_of: Callable[..., Tensor],
    fleet: Fleet,
    *,
    chunk: int = 0,
    times: Callable[[Tensor], Tensor] = lambda loss: loss,
    autocast: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Tensor:
    """Add the gradient of a loss over all processes' batches to the parameters.

    Args:
        sides: What is embedded.
        loss_of: From the gathered embeddings of each side, in that order, to the loss.
        fleet: The processes.
        chunk: Rows embedded at a time under gradient caching; 0: all, without.
        times: What the loss is multiplied by before it goes back (accumulation, loss scaling).
        autocast: A context of mixed precision for embedding.

    Returns:
        The loss, before `times`, without a graph.
    """
    if chunk == 0:
        with autocast():
            embedded = [side.embed(*side.inputs) for side in sides]
        loss = loss_of(*(fleet.gather(rows) for rows in embedded))
        times(loss).backward()
        return loss.detach()
    devices = sorted({x.device.index or 0 for side in sides for x in side.inputs if x.is_cuda})
    states: list[list[_RandomState]] = []
    cached: list[Tensor] = []
    with torch.no_grad(), autocast():
        for side in sides:
            states.append([])
            rows = []
            for inputs in side.chunks(chunk):
                states[-1].append(_RandomState(devices))
                rows.append(side.embed(*inputs))
            cached.append(torch.cat(rows))
    leaves = [rows.requires_grad_() for rows in cached]
    loss = loss_of(*(fleet.gather(rows) for rows in leaves))
    times(loss).backward()
    for side, leaf, side_states in zip(sides, leaves, states, strict=True):
        if leaf.grad is None or not side.learns:
            continue
        for inputs, grad, state in zip(side.chunks(chunk), leaf.grad.split(chunk), side_states, strict=True):
            with torch.random.fork_rng(devices), autocast():
                state.restore()
                rows_again = side.embed(*inputs)
            rows_again.backward(grad)
    return loss.detach()


class _RandomState:
    """torch's random state, of the processor and of these GPUs."""

    def __init__(self, devices: Sequence[int]) -> None:
        self._devices = devices
        self._processor = torch.get_rng_state()
        self._gpus = [torch.cuda.get_rng_state(device) for device in devices]

    def restore(self) -> None:
        torch.set_rng_state(self._processor)
        for device, state in zip(self._devices, self._gpus, strict=True):
            torch.cuda.set_rng_state(state, device)
