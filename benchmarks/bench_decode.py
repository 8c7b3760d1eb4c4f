"""Decode-only rate of a folder of photographs: file to upright RGB, hash and facts included.

    python benchmarks/bench_decode.py FOLDER [--target-px 224] [--limit 1000] [--threads 2] [--rounds 3] [--json]

Prints photographs per second on one thread and on all, their ratio, and the ratio to plain Pillow (`Image.open`,
`draft`, `convert`) on the same files. The files are read once beforehand, so that the disk is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from peyda.errors import ImageRefused
from peyda.images import SUPPORTED_SUFFIXES, read_photo


def find_photos(folder: str, limit: int) -> list[str]:
    """Up to `limit` files below `folder` that a scan would look at, in a fixed order."""
    paths = [
        os.path.join(base, name)
        for base, _, names in os.walk(folder)
        for name in names
        if os.path.splitext(name)[1].lower() in SUPPORTED_SUFFIXES
    ]
    return sorted(paths)[:limit]


def read_readable(paths: list[str], target_px: int) -> tuple[list[str], int]:
    """The photographs that are not refused, and their bytes; warms the page cache."""
    good, size = [], 0
    for path in paths:
        try:
            size += read_photo(path, target_px=target_px).size_bytes
        except ImageRefused:
            continue
        good.append(path)
    return good, size


def rate(decode: Callable[[str], object], paths: list[str], threads: int, rounds: int) -> float:
    """Best rate of several rounds, photographs per second."""

    def run(share: list[str]) -> None:
        for path in share:
            decode(path)

    best = 0.0
    for _ in range(rounds):
        with ThreadPoolExecutor(threads) as pool:
            start = time.perf_counter()
            list(pool.map(run, [paths[index::threads] for index in range(threads)]))
            best = max(best, len(paths) / (time.perf_counter() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--target-px", type=int, default=224)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args()
    target_px = options.target_px

    def with_pillow(path: str) -> None:
        with Image.open(path) as image:
            image.draft("RGB", (target_px, target_px))
            image.convert("RGB").load()

    found = find_photos(options.folder, options.limit)
    paths, size = read_readable(found, target_px)
    if not paths:
        parser.error(f"no readable photographs below {options.folder}")
    one = rate(lambda path: read_photo(path, target_px=target_px), paths, 1, options.rounds)
    many = rate(lambda path: read_photo(path, target_px=target_px), paths, options.threads, options.rounds)
    pillow = rate(with_pillow, paths, 1, options.rounds)
    result = {
        "photos": len(paths),
        "refused": len(found) - len(paths),
        "mean_kb": round(size / len(paths) / 1000, 1),
        "target_px": target_px,
        "threads": options.threads,
        "photos_per_second_1": round(one, 1),
        "photos_per_second_all": round(many, 1),
        "scaling": round(many / one, 2),
        "ratio_to_pillow": round(one / pillow, 2),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Pillow {Image.__version__}",
    }
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:>24}  {value}")


if __name__ == "__main__":
    main()
