"""How fast and how big the store is: `python benchmarks/bench_store.py --points 10000 100000 --dim 512`.

Every size is measured in fresh processes on clustered unit vectors. Prints one Markdown table and a line about the
machine. "open + search" is a new process's first search, imports apart; "memory" is the resident set of a process
that searched 300 times. Ratios are against NumPy's matrix product over vectors in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from peyda.gallery.store import open_store
from peyda.types import Point, Where

SEARCHES = 300


def photographs(n: int, dim: int, seed: int) -> np.ndarray:
    """Unit vectors in a few hundred clusters; the clusters are the same whatever the seed."""
    centres = np.random.default_rng(0).standard_normal((300, dim)).astype(np.float32)
    rng = np.random.default_rng(seed)
    rows = centres[rng.integers(0, 300, n)] + 0.8 * rng.standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def resident_mb() -> float:
    """Resident memory of this process now, in 10^6 bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def fill(directory: str, n: int, dim: int) -> dict[str, Any]:
    store = open_store(directory, dim)
    written = 0.0
    for first in range(0, n, 256):
        rows = photographs(min(256, n - first), dim, seed=first + 1)
        points = [Point(first + i, v, f"/p/{(first + i) // 500}", float(first + i)) for i, v in enumerate(rows)]
        start = time.perf_counter()
        store.upsert(points)
        written += time.perf_counter() - start
    start = time.perf_counter()
    is_built = store.optimize()
    built = time.perf_counter() - start
    store.close()
    child_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    return {"write_s": written, "build_s": built if is_built else 0.0, "builder_mb": child_mb if is_built else 0.0}


def first_search(directory: str, n: int, dim: int) -> dict[str, Any]:
    query = photographs(1, dim, seed=10**6)[0]
    start = time.perf_counter()
    store = open_store(directory, dim, readonly=True)
    store.search(query, 10)
    took = time.perf_counter() - start
    store.close()
    return {"open_search_ms": took * 1e3}


def serve(directory: str, n: int, dim: int) -> dict[str, Any]:
    queries = photographs(SEARCHES, dim, seed=10**6)
    store = open_store(directory, dim, readonly=True)
    start = time.perf_counter()
    is_open = store.warm()
    warm_s = time.perf_counter() - start
    out: dict[str, Any] = {"is_accelerated": is_open, "warm_ms": warm_s * 1e3}
    half = Where(after=n / 2)
    for name, where in (("all", None), ("half", half), ("folder", Where(folder="/p/3"))):
        took = []
        for query in queries:
            start = time.perf_counter()
            store.search(query, 10, where)
            took.append((time.perf_counter() - start) * 1e3)
        out[f"{name}_p50"], out[f"{name}_p99"] = np.percentile(took, [50, 99]).tolist()
    out["memory_mb"] = resident_mb()
    exact = open_store(directory, dim, readonly=True, ann_threshold=10**12)
    same = took_exact = 0.0
    for query in queries[:50]:
        start = time.perf_counter()
        wanted = exact.search(query, 10)
        took_exact += (time.perf_counter() - start) * 1e3
        same += len({hit.id for hit in wanted} & {hit.id for hit in store.search(query, 10)})
    out["exact_ms"], out["recall"] = took_exact / 50, same / 500
    exact.close()
    store.close()
    return out


def matmul(directory: str, n: int, dim: int) -> dict[str, Any]:
    matrix = np.concatenate([photographs(min(8192, n - i), dim, seed=i) for i in range(0, n, 8192)])
    took = []
    for query in photographs(20, dim, seed=10**6):
        start = time.perf_counter()
        scores = matrix @ query
        np.argpartition(-scores, 10)
        took.append((time.perf_counter() - start) * 1e3)
    return {"matmul_ms": float(np.median(took))}


STEPS = {step.__name__: step for step in (fill, first_search, serve, matmul)}


def measure(n: int, dim: int) -> dict[str, Any]:
    result: dict[str, Any] = {"points": n}
    with tempfile.TemporaryDirectory(prefix="peyda-bench-") as directory:
        for name in STEPS:
            command = [sys.executable, __file__, "--step", name, directory, "--points", str(n), "--dim", str(dim)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            result.update(json.loads(done.stdout))
        files = [p for p in Path(directory).rglob("*") if p.is_file()]
        result["disk_mb"] = sum(p.stat().st_blocks * 512 for p in files) / 1e6
    return result


def hardware() -> str:
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
    load = os.getloadavg()[0]
    return f"{name}, {os.cpu_count()} cores, load {load:.1f} at start, Python {platform.python_version()}"


def table(results: list[dict[str, Any]], dim: int) -> str:
    head = (
        "photos", "write s", "build s (MB)", "open + search ms", "warm p50 / p99 ms", "half of them p50 / p99",
        "one folder p50 / p99", "exact ms", "× matmul", "recall@10", "memory MB", "disk MB",
    )  # fmt: skip
    lines = [f"Vectors of {dim} numbers, k = 10.", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for r in results:
        cells = (
            f"{r['points']:,}",
            f"{r['write_s']:.1f}",
            f"{r['build_s']:.0f} ({r['builder_mb']:.0f})" if r["build_s"] else "–",
            f"{r['open_search_ms']:.0f}",
            f"{r['all_p50']:.2f} / {r['all_p99']:.2f}",
            f"{r['half_p50']:.2f} / {r['half_p99']:.2f}",
            f"{r['folder_p50']:.2f} / {r['folder_p99']:.2f}",
            f"{r['exact_ms']:.1f}",
            f"{r['all_p50'] / r['matmul_ms']:.2f}",
            f"{r['recall']:.3f}",
            f"{r['memory_mb']:.0f}",
            f"{r['disk_mb']:.0f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--step", nargs=2, metavar=("STEP", "DIRECTORY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        name, directory = args.step
        print(json.dumps(STEPS[name](directory, args.points[0], args.dim)))
        return
    print(hardware())
    print(table([measure(n, args.dim) for n in args.points], args.dim))


if __name__ == "__main__":
    main()
