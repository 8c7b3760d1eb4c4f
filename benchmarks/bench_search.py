"""How fast is finding? Cold start of `peyda search`, warm text→hits, import time.

```console
python benchmarks/bench_search.py                       # everything, with the embedded model
python benchmarks/bench_search.py --model DIR --json    # one JSON object, for the record
```

Galleries are made of random unit vectors through the public store and catalogue, so that 100,000 photographs take
seconds; random vectors are the worst case for an approximate index, because nothing clusters. Timings depend on the
machine, so the hardware is printed with them and nothing here fails on a number. A limit is shown beside each figure;
the ratio is measured / limit, and at most 1 is good.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from peyda.encoders import load_encoder, model_info
from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.locks import WriterLock
from peyda.search import Searcher, parse_where
from peyda.types import Photo, Point

COLD_PHOTOS, WARM_PHOTOS = 10_000, 100_000
LIMITS = {
    "cold_s": 0.4,
    "cold_peak_mb": 220.0,
    "warm_p50_ms": 8.0,
    "warm_p99_ms": 25.0,
    "warm_peak_mb": 500.0,
    "import_s": 0.1,
}
_START = datetime(2015, 1, 1)
_BATCH = 5_000

# A child's peak memory counts what its parent had when it was started, so a small process starts it.
_LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
child.returncode = os.waitstatus_to_exitcode(status)
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "peak_mb": usage.ru_maxrss / 1000, "status": child.returncode}))
"""

_SUBJECTS = [
    "سگ",
    "گربه",
    "کودک",
    "مرد",
    "زن",
    "اسب",
    "پرنده",
    "دوچرخه",
    "ماشین",
    "قایق",
    "گل",
    "درخت",
    "کوه",
    "رودخانه",
    "میوه",
]
_DOINGS = [
    "می\u200cدود",
    "نشسته است",
    "بازی می\u200cکند",
    "دیده می\u200cشود",
    "ایستاده است",
    "در حال حرکت است",
    "کنار بقیه است",
]
_PLACES = [
    "در برف",
    "کنار دریا",
    "در پارک",
    "روی چمن",
    "در خیابان شلوغ",
    "زیر باران",
    "هنگام غروب",
    "در خانه",
    "روی پل",
    "در جنگل",
]


def build_gallery(path: Path, photos: int, model: str, *, seed: int = 0) -> GalleryDirectory:
    """A gallery of `photos` random unit vectors with made-up paths, folders and dates."""
    info = model_info(model)
    directory = GalleryDirectory.create(path, info, model=os.path.abspath(model) if os.sep in model else model)
    rng = np.random.default_rng(seed)
    with WriterLock(path), directory.catalog() as catalog:
        store = directory.store()
        for first in range(1, photos + 1, _BATCH):
            records = [_photo(id) for id in range(first, min(first + _BATCH, photos + 1))]
            rows = rng.standard_normal((len(records), info.embed_dim)).astype(np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            store.upsert([_point(photo, row) for photo, row in zip(records, rows, strict=True)])
            with catalog.transaction():
                catalog.put(records)
        optimize = getattr(store, "optimize", None)
        if optimize is not None:
            optimize()
        store.close()
    return directory


def _photo(id: int) -> Photo:
    moment = _START + timedelta(hours=id)
    path = f"/photos/{moment.year}/عکس‌های {moment.month:02d}/IMG_{id:06d}.jpg"
    return Photo(id, path, 120_000, 1, f"{id:032x}", "jpeg", 1600, 1200, moment.isoformat(), "exif", 35.7, 51.4)


def _point(photo: Photo, vector: Any) -> Point:
    taken_at = parse_where(after=photo.taken_at).after or 0.0
    return Point(photo.id, vector, os.path.dirname(photo.path), taken_at)


def queries() -> Iterator[str]:
    """Endless Persian sentences, no two alike, in a mixed order."""
    sentences = [" ".join(parts) for parts in itertools.product(_SUBJECTS, _DOINGS, _PLACES)]
    np.random.default_rng(1).shuffle(sentences)
    for round_ in itertools.count():
        yield from (sentence if not round_ else f"{sentence} {round_}" for sentence in sentences)


def launch(command: Sequence[str], runs: int) -> list[dict[str, float]]:
    """Run a command a few times; seconds from start to exit and peak memory in MB (10⁶ bytes) of each run."""
    results = []
    for _ in range(runs):
        output = subprocess.check_output([sys.executable, "-S", "-c", _LAUNCHER, *command])
        result = json.loads(output)
        if result["status"] != 0:
            raise SystemExit(f"{' '.join(command)} ended with status {result['status']}")
        results.append(result)
    return results


def measure_imports(runs: int) -> dict[str, float]:
    """Seconds that `import peyda` adds to a bare interpreter: medians."""
    bare = statistics.median(run["seconds"] for run in launch([sys.executable, "-c", "pass"], runs))
    full = statistics.median(run["seconds"] for run in launch([sys.executable, "-c", "import peyda"], runs))
    return {"python_s": bare, "import_s": full - bare}


def measure_cold(gallery: Path, runs: int) -> dict[str, float]:
    """`peyda search` as a process, from its start to its exit: median seconds, highest peak."""
    command = [sys.executable, "-m", "peyda", "search", "سگ در برف", "--gallery", str(gallery)]
    launch(command, 2)  # files into the page cache, modules compiled
    results = launch(command, runs)
    return {
        "cold_s": statistics.median(run["seconds"] for run in results),
        "cold_worst_s": max(run["seconds"] for run in results),
        "cold_peak_mb": max(run["peak_mb"] for run in results),
    }


def measure_warm(directory: GalleryDirectory, count: int) -> dict[str, float]:
    """Text→hits in a process that has everything loaded, every query new to it: percentiles in milliseconds."""
    encoder = load_encoder(directory.manifest.model)
    sentences = queries()
    with Searcher(directory, encoder) as searcher:
        for sentence in itertools.islice(sentences, 20):
            searcher.search(sentence)
        took_ms = []
        for sentence in itertools.islice(sentences, count):
            start = time.perf_counter()
            hits = searcher.search(sentence)
            took_ms.append((time.perf_counter() - start) * 1000)
            if len(hits) != 10:
                raise SystemExit(f"{sentence}: {len(hits)} hits instead of 10")
        encode_ms = []
        for sentence in itertools.islice(sentences, count):
            start = time.perf_counter()
            encoder.encode_texts([sentence])
            encode_ms.append((time.perf_counter() - start) * 1000)
    p50, p99 = np.percentile(took_ms, [50, 99])
    return {
        "warm_p50_ms": float(p50),
        "warm_p99_ms": float(p99),
        "encode_p50_ms": float(np.percentile(encode_ms, 50)),
        "warm_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


def hardware() -> str:
    """The machine in a line."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = names[0] if names else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, Python {platform.python_version()}, {platform.system()}"


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini", help="name or directory of the model")
    parser.add_argument("--runs", type=int, default=7, help="process starts of each kind")
    parser.add_argument("--queries", type=int, default=300, help="warm queries")
    parser.add_argument("--cold-photos", type=int, default=COLD_PHOTOS)
    parser.add_argument("--warm-photos", type=int, default=WARM_PHOTOS)
    parser.add_argument("--build", metavar="DIR", help="only make a gallery of --warm-photos photographs there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    if args.build:
        build_gallery(Path(args.build), args.warm_photos, args.model)
        return
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="peyda-bench-") as scratch:
        figures |= measure_imports(args.runs)
        cold = build_gallery(Path(scratch) / "cold", args.cold_photos, args.model)
        figures |= measure_cold(cold.path, args.runs)
        # Built in a process of its own, so that this one's peak memory is that of searching.
        warm = Path(scratch) / "warm"
        build = [sys.executable, __file__, "--build", str(warm), "--model", args.model]
        start = time.perf_counter()
        subprocess.check_call([*build, "--warm-photos", str(args.warm_photos)])
        figures["build_s"] = time.perf_counter() - start
        figures |= measure_warm(GalleryDirectory.open(warm), args.queries)
    report(figures, args)


def report(figures: dict[str, float], args: argparse.Namespace) -> None:
    """Print what was measured."""
    if args.json:
        print(json.dumps({"hardware": hardware(), "model": args.model, **figures}))
        return
    print(f"{hardware()}; model {args.model}; {args.cold_photos:,} photos cold, {args.warm_photos:,} warm\n")
    print(f"{'figure':<16}{'measured':>10}{'limit':>10}{'ratio':>8}")
    for name, value in figures.items():
        limit = LIMITS.get(name)
        beside = f"{limit:>10g}{value / limit:>8.2f}" if limit else ""
        print(f"{name:<16}{value:>10.3f}{beside}")


if __name__ == "__main__":
    main()
