"""Index throughput of a folder against the machine's own limit for a model, and the most memory that it takes.

    python benchmarks/bench_index.py FOLDER [--model mini] [--limit 1000] [--rounds 5] [--workers N] [--json]

The limit is 1 / (1/d + 1/e): d photographs a second decoded only (file to upright RGB), e encoded only (pixels to
vectors), each on all cores, in the same run. Whatever else indexing does (listing, resizing, normalising, committing)
counts against it; the second ratio counts resizing and normalising as part of decoding. Rounds alternate between the
three, because a shared machine drifts; rates are medians, and so is the ratio of each round. On a machine that is busy
with other work only the ratios of processor time mean something: the work of decoding and encoding alone, divided by
all the work that indexing does. Files are read once beforehand, so that the disk is left out, and each index run is
a process of its own, whose peak of memory is therefore its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from peyda.encoders import Encoder, load_encoder
from peyda.errors import ImageRefused
from peyda.gallery.estimate import peak_memory_bytes
from peyda.gallery.pipeline import core_count
from peyda.gallery.scan import Found, walk
from peyda.gallery.workers import CHUNK
from peyda.images import read_photo

Work = Callable[[Sequence[str]], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--model", default="mini", help="name or directory of the model")
    parser.add_argument("--limit", type=int, default=1000, help="photographs to use")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=core_count())
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--index-only", metavar="GALLERY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.index_only:
        print(json.dumps(index(options.folder, options.model, options.index_only, options.workers)))
        return
    result = measure(options)
    print(json.dumps(result) if options.json else "\n".join(lines(result)))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    encoder = load_encoder(options.model)
    with tempfile.TemporaryDirectory(prefix="peyda-bench-") as scratch:
        paths = readable(options.folder, options.limit, encoder.image_size_px)
        photos = os.path.join(scratch, "photos")
        os.mkdir(photos)
        for number, path in enumerate(paths):
            link = os.path.join(photos, f"{number:07}{os.path.splitext(path)[1]}")
            os.symlink(path, link)  # the walk follows links to files
        size_bytes = sum(os.path.getsize(path) for path in paths)
        pixels = batch(encoder, paths)
        rounds = []
        for number in range(options.rounds):
            works: dict[str, Work] = {
                "decode": lambda part: decode(part, encoder.image_size_px),
                "prepare": lambda part: prepare(part, encoder),
                "encode": lambda part: encode(part, encoder, pixels),
            }
            one: dict[str, Any] = {}
            for name, work in works.items():
                one[name], one[f"{name}_cpu_ms"] = rate(work, paths, options.workers)
            rounds.append(one | indexed(photos, os.path.join(scratch, f"gallery{number}"), options))
    for one in rounds:
        one["limit"] = 1 / (1 / one["decode"] + 1 / one["encode"])
        one["ratio"] = one["index"] / one["limit"]
        one["prepared_ratio"] = one["index"] * (1 / one["prepare"] + 1 / one["encode"])
        one["cpu_ratio"] = (one["decode_cpu_ms"] + one["encode_cpu_ms"]) / one["index_cpu_ms"]
        one["prepared_cpu_ratio"] = (one["prepare_cpu_ms"] + one["encode_cpu_ms"]) / one["index_cpu_ms"]
    return {
        "machine": ", ".join((processor(), f"{core_count()} cores", f"Python {platform.python_version()}")),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "model": encoder.name,
        "image_size_px": encoder.image_size_px,
        "photos": len(paths),
        "mean_photo_bytes": size_bytes // max(1, len(paths)),
        "workers": options.workers,
        "rounds": rounds,
        **{
            name: statistics.median(one[name] for one in rounds)
            for name in rounds[0]
            if name not in ("added", "peak_bytes")
        },
        "peak_bytes": max(one["peak_bytes"] for one in rounds),
    }


def lines(result: dict[str, Any]) -> list[str]:
    each = ", ".join(format(one["ratio"], ".3f") for one in result["rounds"])
    return [
        f"machine      {result['machine']}, load {result['load_average']:.1f}",
        f"model        {result['model']}, {result['image_size_px']} px",
        f"photographs  {result['photos']:,}, {result['mean_photo_bytes'] / 1000:.0f} kB each on average",
        f"decode only  {result['decode']:8.1f} photos/s",
        f"encode only  {result['encode']:8.1f} photos/s",
        f"limit        {result['limit']:8.1f} photos/s = 1 / (1/decode + 1/encode)",
        f"index        {result['index']:8.1f} photos/s with {result['workers']} workers",
        f"ratio        {result['ratio']:8.3f} of the limit (rounds: {each})",
        f"             {result['prepared_ratio']:8.3f} with resizing and normalising counted as decoding",
        f"by cpu time  {result['cpu_ratio']:8.3f} and {result['prepared_cpu_ratio']:.3f}",
        f"cpu, ms      {result['decode_cpu_ms']:8.2f} + {result['encode_cpu_ms']:.2f} of {result['index_cpu_ms']:.2f}",
        f"peak memory  {result['peak_bytes'] / 1e6:8.0f} MB of the indexing process",
    ]


def processor() -> str:
    """The processor's name where the system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def readable(folder: str, limit: int, target_px: int) -> list[str]:
    """Up to `limit` photographs that are not refused; warms the page cache."""
    paths = sorted(one.path for one in walk([os.path.abspath(folder)]) if isinstance(one, Found))[:limit]
    good = []
    for path in paths:
        try:
            read_photo(path, target_px=target_px)
        except ImageRefused:
            continue
        good.append(path)
    if not good:
        sys.exit(f"no photographs in {folder}")
    return good


def batch(encoder: Encoder, paths: Sequence[str]) -> np.ndarray:
    """One chunk of real pixels, `Float32[CHUNK, 3, size, size]`; loads the model too."""
    images = [read_photo(path, target_px=encoder.image_size_px).image for path in paths[:CHUNK]]
    pixels = np.stack([encoder.preprocess(image) for image in images])
    encoder.encode_pixels(pixels)
    return pixels


def decode(paths: Sequence[str], target_px: int) -> None:
    for path in paths:
        read_photo(path, target_px=target_px)


def prepare(paths: Sequence[str], encoder: Encoder) -> None:
    for path in paths:
        encoder.preprocess(read_photo(path, target_px=encoder.image_size_px).image)


def encode(paths: Sequence[str], encoder: Encoder, pixels: np.ndarray) -> None:
    for start in range(0, len(paths), CHUNK):
        encoder.encode_pixels(pixels[: len(paths[start : start + CHUNK])])


def rate(work: Work, paths: Sequence[str], workers: int) -> tuple[float, float]:
    """Photographs a second when every thread has its share, and milliseconds of processor time for each."""
    threads = [threading.Thread(target=work, args=(paths[n::workers],)) for n in range(workers)]
    started, cpu_s = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(paths) / (time.perf_counter() - started), 1000 * (time.process_time() - cpu_s) / len(paths)


def indexed(photos: str, gallery: str, options: argparse.Namespace) -> dict[str, Any]:
    """`index` in a process of its own."""
    command = [sys.executable, __file__, photos, "--model", options.model, "--workers", str(options.workers)]
    outcome = subprocess.run([*command, "--index-only", gallery], stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(outcome.stdout))


def index(photos: str, model: str, gallery: str, workers: int) -> dict[str, Any]:
    """Index `photos` into a new gallery: rates from the first listing to the last commit, and the peak of memory."""
    from peyda.gallery.directory import GalleryDirectory
    from peyda.gallery.pipeline import index_photos

    encoder = load_encoder(model)
    size = encoder.image_size_px
    encoder.encode_pixels(np.zeros((1, 3, size, size), np.float32))  # loads the model
    directory = GalleryDirectory.create(Path(gallery), encoder)
    started, cpu_s = time.perf_counter(), time.process_time()
    summary = index_photos(directory, encoder, [photos], workers=workers)
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
    return {
        "index": summary.photos / seconds,
        "index_cpu_ms": 1000 * cpu_s / max(1, summary.photos),
        "added": summary.added,
        "peak_bytes": peak_memory_bytes(),
    }


if __name__ == "__main__":
    main()
