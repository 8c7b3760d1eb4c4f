"""How fast the ranks are, and against the nested loop: `python benchmarks/bench_metrics.py`.

25,000 captions against 5,000 photographs (seconds and memory of this process), and 1,000 against 1,000 beside a loop
over pairs that works out one cosine at a time and sorts each row anew for each k, as the original project measured
(arman-aminian/image-search, `acc_at_k.py`, for its 97 k from 1 to 990). The loop is timed on a twentieth of the
queries and multiplied. Both sides as processor seconds too, since a busy machine stretches the others. Prints one
Markdown table, whether the goals are met (10 s and 2 GB on two cores; 100 times faster than the loop), and a line about
the machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time

import numpy as np

from peyda.metrics import accuracy_at_k, bootstrap_ci, retrieval_ranks

KS = (*range(1, 50), *range(50, 1_001, 20))  # the original's
LOOP_QUERIES = 50

Seconds = tuple[float, float]  # of the clock, of the processor


def embeddings(texts: int, images: int, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texts near their own image, images, and the image of each text."""
    rng = np.random.default_rng(0)
    pictures = rng.standard_normal((images, dim)).astype(np.float32)
    own = np.arange(texts) % images
    sentences = pictures[own] + 4 * rng.standard_normal((texts, dim)).astype(np.float32)
    return _unit(sentences), _unit(pictures), own


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def one_cosine_at_a_time(texts: np.ndarray, images: np.ndarray, queries: int) -> Seconds:
    """For all texts, from the first `queries` of them."""
    started, cpu = time.perf_counter(), time.process_time()
    hits = dict.fromkeys(KS, 0)
    for row in range(queries):
        norm = np.linalg.norm(texts[row])
        scores = [float(np.dot(texts[row], image) / (norm * np.linalg.norm(image))) for image in images]
        for k in KS:
            hits[k] += sorted(scores, reverse=True).index(scores[row]) < k
    share = len(texts) / queries
    return (time.perf_counter() - started) * share, (time.process_time() - cpu) * share


def ours(texts: np.ndarray, images: np.ndarray, own: np.ndarray) -> Seconds:
    """Of ranks of both directions, and the accuracies."""
    started, cpu = time.perf_counter(), time.process_time()
    ranks = retrieval_ranks(texts, images, own)
    for k in KS:
        accuracy_at_k(ranks.text_to_image, k)
    return time.perf_counter() - started, time.process_time() - cpu


def verdict(is_met: bool) -> str:
    """As a word."""
    return "met" if is_met else "missed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=25_000)
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--dim", type=int, default=512)
    arguments = parser.parse_args()
    texts, images, own = embeddings(1_000, 1_000, arguments.dim)
    ours(texts, images, own)  # warm up
    small = min(ours(texts, images, own) for _ in range(5))
    loop = one_cosine_at_a_time(texts, images, LOOP_QUERIES)
    texts, images, own = embeddings(arguments.texts, arguments.images, arguments.dim)
    big = ours(texts, images, own)
    started, cpu = time.perf_counter(), time.process_time()
    ranks = retrieval_ranks(texts[:1000], images[:1000], own[:1000] % 1000)
    bootstrap_ci(ranks.text_to_image[:, None] <= np.asarray(KS), own[:1000])
    interval = time.perf_counter() - started, time.process_time() - cpu
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    faster = loop[0] / small[0]
    print("| texts x images | seconds | processor seconds | beside the loop |")
    print("|---|---|---|---|")
    print(f"| 1,000 x 1,000, one cosine at a time | {loop[0]:.2f} | {loop[1]:.2f} | 1 |")
    print(f"| 1,000 x 1,000 | {small[0]:.4f} | {small[1]:.4f} | {faster:,.0f} x faster |")
    print(f"| 1,000 x 1,000 with intervals | {interval[0]:.3f} | {interval[1]:.3f} | |")
    print(f"| {arguments.texts:,} x {arguments.images:,}, both directions | {big[0]:.2f} | {big[1]:.2f} | |")
    print(f"\n{faster:,.0f} x faster than the loop (goal: at least 100): {verdict(faster >= 100)}")
    if (arguments.texts, arguments.images) == (25_000, 5_000):
        print(f"{big[0]:.2f} s (goal: at most 10): {verdict(big[0] <= 10)}")
        print(f"{memory_mb:,.0f} MB (goal: at most 2,000): {verdict(memory_mb <= 2_000)}")
    print(f"\npeak memory {memory_mb:,.0f} MB; {os.cpu_count()} cores, {platform.machine()}, NumPy {np.__version__}")


if __name__ == "__main__":
    main()
