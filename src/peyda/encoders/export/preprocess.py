"""How a photograph becomes pixels, from the files that models of the hub come with.

`preprocessor_config.json` of transformers is read by hand: its image processors need torchvision, this needs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peyda.encoders.directory import PreprocessConfig, read_json
from peyda.encoders.export.sources import Source
from peyda.errors import ModelError

_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_FILTERS = {2: "bilinear", 3: "bicubic", "bilinear": "bilinear", "bicubic": "bicubic"}

# `clip` is OpenAI's, `siglip` that of SigLIP, `imagenet` a plain resize with the statistics of ImageNet: what the
# original project embedded its photographs with.
PRESETS = {
    "clip": PreprocessConfig(224, _CLIP_MEAN, _CLIP_STD, "bicubic", "shortest"),
    "siglip": PreprocessConfig(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", "squash"),
    "imagenet": PreprocessConfig(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear", "squash"),
}


def preset(name: str, size_px: int) -> PreprocessConfig:
    """One of `PRESETS`, at the size that the tower reads."""
    one = PRESETS[name]
    return PreprocessConfig(size_px, one.mean, one.std, one.interpolation, one.resize_mode)


def read_hf_preprocess(source: Source, size_px: int) -> PreprocessConfig:
    """From `preprocessor_config.json` (or the newer `processor_config.json`).

    Args:
        source: Where the model's files are.
        size_px: Side of the square that the tower reads.

    Raises:
        ModelError: There is none, or it asks for what cannot be done.
    """
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (source.files / name).is_file():
            raw = read_json(source.files / name)
            raw = raw.get("image_processor", raw)
            if "image_mean" in raw or "size" in raw or "do_resize" in raw:
                return _from_hf(raw, size_px, f"{name} of {source.label}")
    raise ModelError(
        f"{source.label} does not say how photographs are prepared for it: preprocessor_config.json is missing",
        hint="--preprocess clip, siglip or imagenet says so; the model's own code or card tells which",
    )


def _from_hf(raw: Mapping[str, Any], size_px: int, where: str) -> PreprocessConfig:
    size = raw.get("size", size_px)
    crop = raw.get("crop_size") if raw.get("do_center_crop", "crop_size" in raw) else None
    short = size if isinstance(size, int) else size.get("shortest_edge") if isinstance(size, dict) else None
    if isinstance(short, int) and (isinstance(size, dict) or crop):
        resize_mode, side = "shortest", short
        _require_same(short, crop, where)
    else:
        resize_mode, side = "squash", _square(size, where, size_px)
        if crop:
            _require_same(side, crop, where)
    if side != size_px:
        raise ModelError(f"{where} prepares {side} px, but the tower reads {size_px} px")
    resample = raw.get("resample", 3)
    if resample not in _FILTERS:
        raise ModelError(f"{where}: resampling {resample!r} is not supported, only bilinear and bicubic")
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if raw.get("do_normalize", True):
        mean, std = _three(raw.get("image_mean", _CLIP_MEAN)), _three(raw.get("image_std", _CLIP_STD))
    factor = float(raw.get("rescale_factor", 1 / 255)) if raw.get("do_rescale", True) else 1.0
    if abs(factor * 255 - 1) > 1e-4:
        raise ModelError(f"{where}: only pixels from 0 to 1 are supported, not those times {factor}")
    return PreprocessConfig(side, mean, std, _FILTERS[resample], resize_mode)


def _require_same(side: int, crop: Any, where: str) -> None:
    """A crop smaller than what was resized cuts the border off, which the layout cannot say."""
    if crop is not None and _square(crop, where, side) != side:
        raise ModelError(f"{where}: a crop of {crop} out of {side} px is not supported, only one of the whole side")


def _square(size: Any, where: str, default: int) -> int:
    if isinstance(size, int):
        return size
    if isinstance(size, Mapping):
        if size.get("height") != size.get("width"):
            raise ModelError(f"{where}: only square pictures are supported, not {dict(size)}")
        return int(size.get("height", default))
    if isinstance(size, list | tuple) and len(set(size)) == 1:
        return int(size[0])
    raise ModelError(f"{where}: the size {size!r} is not understood")


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in (values if isinstance(values, list | tuple) else [values] * 3))
    return red, green, blue


def preprocess_document(config: PreprocessConfig) -> dict[str, Any]:
    """The content of `visual/preprocess_cfg.json`, in open_clip's terms."""
    return {
        "size": [config.size_px, config.size_px],
        "mode": "RGB",
        "mean": list(config.mean),
        "std": list(config.std),
        "interpolation": config.interpolation,
        "resize_mode": config.resize_mode,
        "fill_color": 0,
    }
