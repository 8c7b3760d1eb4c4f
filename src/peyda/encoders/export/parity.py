"""Does the written model give what torch gives? Both towers, through the loader that users have, on real inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from peyda.encoders.export.plan import MAX_COSINE_DISTANCE, TowerParity
from peyda.encoders.export.towers import TorchImageTower, TorchTextTower, UnitRows
from peyda.encoders.onnx_encoder import OnnxEncoder
from peyda.encoders.text_tower import MAX_CHARACTERS, clean
from peyda.errors import ModelError
from peyda.persian import normalize
from peyda.types import Float32

# Persian and English, short and long, typed with Arabic letters, half-spaces, digits and emoji, and nothing at all.
PROBE_TEXTS = (
    "سگ در برف",
    "گربه‌ی سیاه روی میز آشپزخانه خوابیده است",
    "دو كودك با توپ قرمز در پارك بازي مي‌كنند",
    "مردی ۳۵ ساله با عینک، کنار دوچرخه‌اش ایستاده؛ پشت سرش کوه است.",
    "خانه",
    "؟!",
    "",
    "A dog runs on the beach.",
    "two children, playing football in the rain (at night)",
    "Tehran 1402 🌇 don't_walk",
    "غروب آفتاب بر فراز دریا و قایق‌های ماهیگیری که به ساحل برمی‌گردند " * 40,
    "a street full of people and cars in the middle of an old city " * 40,
)
_SIDES = ((320, 240), (240, 320), (224, 224), (500, 333), (64, 48), (37, 211))


def probe_photographs() -> list[Image.Image]:
    """Pictures with large shapes, gradients and grain, of several sizes and aspect ratios; the same every time."""
    rng = np.random.default_rng(20)
    photos = []
    for width, height in _SIDES:
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        waves = rng.normal(0, 3.5, (3, 2)) / max(width, height)
        phases = rng.uniform(0, 6, 3)
        colours = np.stack([np.sin(x * a * 6 + y * b * 6 + p) for (a, b), p in zip(waves, phases, strict=True)], -1)
        inside = (x - width * rng.uniform(0.2, 0.8)) ** 2 + (y - height * rng.uniform(0.2, 0.8)) ** 2
        shape = (inside < (min(width, height) * 0.3) ** 2)[..., None] * rng.uniform(-90, 90, 3)
        pixels = 128 + 80 * colours + shape + rng.normal(0, 12, (height, width, 3))
        photos.append(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))
    return photos


def check_text_tower(tower: TorchTextTower, encoder: OnnxEncoder) -> TowerParity:
    """Compare the text towers on `PROBE_TEXTS`: first token by token, then row by row, alone and in one batch.

    Raises:
        ModelError: They differ, or torch gives something that is not finite.
    """
    texts = [_as_read(text, tower) for text in PROBE_TEXTS]
    _check_tokens(tower, encoder, texts)
    unit = UnitRows(tower.module).eval()
    rows = [_torch_row(unit, tower, ids) for ids in tower.tokenizer.reference(texts)]
    together = encoder.encode_texts(PROBE_TEXTS)
    alone = np.concatenate([encoder.encode_texts([text]) for text in PROBE_TEXTS[:5]])
    return _compare("text", np.concatenate([rows, rows[:5]]), np.concatenate([together, alone]))


def _as_read(text: str, tower: TorchTextTower) -> str:
    """What the tokenizer sees of a text: the loader normalises and cleans it first."""
    return clean(normalize(text[:MAX_CHARACTERS]), tower.text_config.get("tokenizer_kwargs", {}).get("clean", ""))


def _check_tokens(tower: TorchTextTower, encoder: OnnxEncoder, texts: Sequence[str]) -> None:
    expected, found = tower.tokenizer.reference(texts), encoder.text_tokens(texts)
    for text, theirs, ours in zip(texts, expected, found, strict=True):
        if theirs != ours:
            raise ModelError(
                f"tokenizer.json does not give the tokens of the model's own tokenizer for {text[:40]!r}:"
                f" {ours[:8]} instead of {theirs[:8]}",
                hint="the model was not written; its tokenizer is of a kind that is not supported",
            )


def _torch_row(unit: UnitRows, tower: TorchTextTower, ids: list[int]) -> Float32:
    length = tower.context_length if tower.is_fixed_length else max(1, len(ids))
    row = torch.full((1, length), tower.pad_id, dtype=torch.int32)
    row[0, : len(ids)] = torch.tensor(ids, dtype=torch.int32)
    with torch.inference_mode():
        return np.asarray(unit(row)[0].numpy(), np.float32)


def check_image_tower(tower: TorchImageTower, encoder: OnnxEncoder) -> TowerParity:
    """Compare the image towers on `probe_photographs`, one by one and in batches.

    Raises:
        ModelError: They differ, or torch gives something that is not finite.
    """
    photos = probe_photographs()
    pixels = np.stack([encoder.preprocess(photo) for photo in photos])
    unit = UnitRows(tower.module).eval()
    with torch.inference_mode():
        expected = np.concatenate([unit(torch.from_numpy(one[None])).numpy() for one in pixels])
    together = np.concatenate([encoder.encode_pixels(pixels), encoder.encode_images(photos[:2])])
    return _compare("image", np.concatenate([expected, expected[:2]]), together)


def _compare(which: str, torch_rows: Float32, onnx_rows: Float32) -> TowerParity:
    if not np.isfinite(torch_rows).all():
        raise ModelError(f"the {which} tower gives non-finite embeddings in torch, too", hint="its weights are broken")
    # 1 − cosine by the distance between unit rows, which does not lose digits near 0, and is 0.5 for a zero row.
    distances = np.square(torch_rows - onnx_rows).sum(1) / 2
    worst = float(distances.max())
    if not worst <= MAX_COSINE_DISTANCE:
        raise ModelError(
            f"the exported {which} tower differs from torch by a cosine distance of {worst:.2g}"
            f" (at most {MAX_COSINE_DISTANCE:g})",
            hint="the model was not written; another version of torch or transformers may export it",
        )
    return TowerParity(len(distances), float(distances.mean()), worst)


def compare_encoders(first: OnnxEncoder, second: OnnxEncoder) -> tuple[Float32, Float32]:
    """Cosine of the two models' embeddings: of each probe text, and of each probe photograph."""
    photos = probe_photographs()
    texts = (first.encode_texts(PROBE_TEXTS) * second.encode_texts(PROBE_TEXTS)).sum(1)
    return texts, (first.encode_images(photos) * second.encode_images(photos)).sum(1)
