"""The late part of EfficientNet-Lite2 as tuning runs it: the same function, several times faster to train on a CPU.

Three things make the difference (docs/log.md has the times). Statistics of the batch norms are fixed, so that each is
folded into its convolution as the step goes along, still trained through its scale and shift. Pointwise convolutions
are matrix products over a channels-last view, which bf16 tile instructions run both ways. Depthwise kernels, 4 % of
the weights, are left as they are: the gradient of a depthwise kernel is what a CPU is slowest at, the gradient of its
input is one more depthwise convolution.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from peyda.training.lite2 import Block, Lite2
from peyda.training.precision import compute_dtype


class _FixedDepthwise(torch.autograd.Function):
    """A depthwise convolution whose kernel is not trained. NCHW in channels-last memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, stride: int, pads: tuple[int, int, int, int]) -> Tensor:
        ctx.save_for_backward(kernel)
        ctx.stride, ctx.pads, ctx.size = stride, pads, x.shape[2:]
        return _convolve(x, kernel, stride, pads)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        (kernel,) = ctx.saved_tensors
        stride, (left, _, top, _), (height, width) = ctx.stride, ctx.pads, ctx.size
        if stride > 1:
            rows, columns = ((side - 1) * stride + 1 for side in grad.shape[2:])
            spread = grad.new_zeros((*grad.shape[:2], rows, columns)).contiguous(memory_format=torch.channels_last)
            spread[:, :, ::stride, ::stride] = grad
            grad = spread
        reach = kernel.shape[-1] - 1
        before = reach - left, reach - top
        after = width - grad.shape[3] + reach - before[0], height - grad.shape[2] + reach - before[1]
        back = _convolve(grad, kernel.flip(2, 3), 1, (before[0], after[0], before[1], after[1]))
        return back, None, None, None


def _convolve(x: Tensor, kernel: Tensor, stride: int, pads: tuple[int, int, int, int]) -> Tensor:
    left, right, top, bottom = pads
    if left == right and top == bottom:
        return F.conv2d(x, kernel, None, stride, (top, left), 1, kernel.shape[0])
    return F.conv2d(F.pad(x, pads), kernel, None, stride, 0, 1, kernel.shape[0])


def _same_pads(height: int, width: int, kernel: int, stride: int) -> tuple[int, int, int, int]:
    """TensorFlow's SAME: left, right, top, bottom."""
    totals = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in (width, height)]
    return (totals[0] // 2, totals[0] - totals[0] // 2, totals[1] // 2, totals[1] - totals[1] // 2)


def _fold(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift, both Float32[channels], of a batch norm with fixed statistics."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def _pointwise(x: Tensor, conv: nn.Module, norm: nn.Module) -> Tensor:
    assert isinstance(conv, nn.Conv2d)
    scale, shift = _fold(norm)
    weight = conv.weight[:, :, 0, 0] * scale[:, None]
    return F.linear(x, weight.to(x.dtype), shift.to(x.dtype))


def _depthwise(x: Tensor, conv: nn.Module, norm: nn.Module) -> Tensor:
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    # The scale belongs to the kernel: half of its gradient would be wrong, so it gets none.
    scale, shift = (part.detach() for part in _fold(norm))
    kernel = (conv.weight * scale[:, None, None, None]).detach().to(x.dtype)
    pads = _same_pads(x.shape[1], x.shape[2], conv.kernel_size[0], conv.stride[0])
    y: Tensor = _FixedDepthwise.apply(x.permute(0, 3, 1, 2), kernel, conv.stride[0], pads)
    shift = shift + (norm.bias - norm.bias.detach())
    return y.permute(0, 2, 3, 1) + shift.to(x.dtype)


def _block(block: Block, x: Tensor) -> Tensor:
    layers = list(block.body)
    y = x
    if len(layers) == 8:
        y = F.hardtanh(_pointwise(y, layers[0], layers[1]), 0.0, 6.0)
        layers = layers[3:]
    y = F.hardtanh(_depthwise(y, layers[0], layers[1]), 0.0, 6.0)
    y = _pointwise(y, layers[3], layers[4])
    if not block.has_skip:
        return y
    if block.training and block.drop_rate:
        keep = torch.rand(len(x), 1, 1, 1, device=x.device) >= block.drop_rate
        y = y * (keep / (1 - block.drop_rate)).to(y.dtype)
    return x + y


def late_pooled(tower: Lite2, maps: Tensor, stage: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """What `tower.late(maps, stage)` gives in eval mode, pooled; blocks are dropped as in training mode.

    Args:
        tower: The tower; running statistics are used as they are, depthwise kernels get no gradient.
        maps: Float32[b, c, h, w], input of `stage`.
        stage: The first stage to run.
        dtype: What to compute in; `compute_dtype` where it is None.

    Returns:
        Float32[b, 1280].
    """
    x = maps.permute(0, 2, 3, 1).to(dtype or compute_dtype()).contiguous()
    for block in tower.blocks[tower.stage_start[stage] :]:
        assert isinstance(block, Block)
        x = _block(block, x)
    y = F.hardtanh(_pointwise(x, tower.head[0], tower.head[1]), 0.0, 6.0)
    return y.float().mean((1, 2))
