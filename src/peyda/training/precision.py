"""What training computes in on this machine's processor."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def compute_dtype() -> torch.dtype:
    """bfloat16 where the processor has instructions for it, float32 elsewhere: emulated, it is several times slower."""
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def autocast() -> AbstractContextManager[object]:
    """Matrix products in `compute_dtype`, as a context."""
    return torch.autocast("cpu", torch.bfloat16, enabled=compute_dtype() is torch.bfloat16)
