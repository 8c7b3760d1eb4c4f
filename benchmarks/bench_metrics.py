"""How fast the ranks are, and against the nested loop: `python benchmarks/bench_metrics.py`.

25,000 captions against 5,000 photographs (seconds and memory of this process), and 1,000 against 1,000 beside a loop
over pairs that works out one cosine at a time and sorts each row anew for each k, as the original project measured.
The loop is timed on a tenth of the queries and multiplied. Prints one Markdown table and a line about the machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time

import numpy as np

from peyda.metrics import accuracy_at_k, bootstrap_ci, retrieval_ranks

KS = (1, 5, 10, 50, 100)


def embeddings(texts: int, images: int, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texts near their own image, images, and the image of each text."""
    rng = np.random.default_rng(0)
    pictures = rng.standard_normal((images, dim)).astype(np.float32)
    own = np.arange(texts) % images
    sentences = pictures[own] + 4 * rng.standard_normal((texts, dim)).astype(np.float32)
    return _unit(sentences), _unit(pictures), own


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def one_cosine_at_a_time(texts: np.ndarray, images: np.ndarray, queries: int) -> float:
    """Seconds for all texts, from the first `queries` of them."""
    started = time.perf_counter()
    hits = dict.fromkeys(KS, 0)
    for row in range(queries):
        norm = np.linalg.norm(texts[row])
        scores = [float(np.dot(texts[row], image) / (norm * np.linalg.norm(image))) for image in images]
        for k in KS:
            hits[k] += sorted(scores, reverse=True).index(scores[row]) < k
    return (time.perf_counter() - started) * len(texts) / queries


def ours(texts: np.ndarray, images: np.ndarray, own: np.ndarray) -> float:
    """Seconds of ranks and accuracies."""
    started = time.perf_counter()
    ranks = retrieval_ranks(texts, images, own)
    for k in KS:
        accuracy_at_k(ranks.text_to_image, k)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=25_000)
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--dim", type=int, default=512)
    arguments = parser.parse_args()
    texts, images, own = embeddings(1_000, 1_000, arguments.dim)
    ours(texts, images, own)  # warm up
    small = min(ours(texts, images, own) for _ in range(3))
    loop = one_cosine_at_a_time(texts, images, 100)
    texts, images, own = embeddings(arguments.texts, arguments.images, arguments.dim)
    big = ours(texts, images, own)
    started = time.perf_counter()
    ranks = retrieval_ranks(texts[:1000], images[:1000], own[:1000] % 1000)
    bootstrap_ci(ranks.text_to_image[:, None] <= np.asarray(KS), own[:1000])
    interval = time.perf_counter() - started
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print("| texts x images | seconds | beside the loop |")
    print("|---|---|---|")
    print(f"| 1,000 x 1,000, one cosine at a time | {loop:.2f} | 1 |")
    print(f"| 1,000 x 1,000 | {small:.4f} | {loop / small:,.0f} x faster |")
    print(f"| 1,000 x 1,000 with intervals | {interval:.3f} | |")
    print(f"| {arguments.texts:,} x {arguments.images:,}, both directions | {big:.2f} | |")
    print(f"\npeak memory {memory_mb:,.0f} MB; {os.cpu_count()} cores, {platform.machine()}, NumPy {np.__version__}")


if __name__ == "__main__":
    main()
