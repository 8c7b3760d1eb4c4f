"""torchvision beside a torch that it was not built for: its operators are declared, so that importing it works.

timm and open_clip import torchvision for its transforms alone. Its wheels on the index are built against an accelerator
build of torch, and beside a processor-only one the operators that its Python part describes are missing.
"""

from __future__ import annotations

from typing import Any

_declared: list[Any] = []  # what is declared here is gone when the library object is


def define_torchvision_ops() -> None:
    """Declare what `import torchvision` looks for, when its compiled part does not load. May be called many times."""
    import torch

    if _declared:
        return
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
