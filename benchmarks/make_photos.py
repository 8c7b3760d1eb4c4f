"""Photographs to measure with: crops of the openly licensed ones that scikit-image and scikit-learn bring.

    python benchmarks/make_photos.py OUT [--count 1000] [--width 500 --height 375] [--kilobytes 110]

Each is a random crop, perhaps mirrored, with a little noise, saved as a JPEG of about that size; the seed is fixed,
so the files are the same everywhere.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from peyda.demo.samples import copy_samples


def jpeg_of_size(image: Image.Image, size_bytes: int) -> bytes:
    """The JPEG whose size comes nearest, over qualities 40 to 98."""
    best = b""
    low, high = 40, 98
    while low <= high:
        quality = (low + high) // 2
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        data = buffer.getvalue()
        if not best or abs(len(data) - size_bytes) < abs(len(best) - size_bytes):
            best = data
        low, high = (quality + 1, high) if len(data) < size_bytes else (low, quality - 1)
    return best


def main() -> None:
    """Write the photographs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--kilobytes", type=int, default=110)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        copy_samples(folder)
        files = [path for path in sorted(Path(folder).iterdir()) if path.suffix in (".png", ".jpg")]
        sources = [Image.open(path).convert("RGB") for path in files]
    rng = np.random.default_rng(0)
    for number in range(options.count):
        source = sources[rng.integers(len(sources))]
        share = rng.uniform(0.5, 1)
        width, height = int(source.width * share), int(source.height * share)
        left, top = rng.integers(source.width - width + 1), rng.integers(source.height - height + 1)
        crop = source.crop((left, top, left + width, top + height)).resize((options.width, options.height))
        if rng.random() < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = np.asarray(crop, np.int16) + rng.integers(-6, 7, (options.height, options.width, 1))
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        (options.out / f"{number:05}.jpg").write_bytes(jpeg_of_size(image, options.kilobytes * 1000))


if __name__ == "__main__":
    main()
