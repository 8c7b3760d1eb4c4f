"""Caption data, how fast and in how much memory: scoring, translating, a million rows read, filtered and reported.

    python benchmarks/bench_quality.py rows [--rows 1000000] [--suffix .csv] [--dir DIR]
    python benchmarks/bench_quality.py score TABLE [--scorer mini] [--pairs 1000] [--rounds 3]
    python benchmarks/bench_quality.py translate TABLE [--model DIR] [--captions 1000] [--rounds 3] [--beam-size N]

`rows` writes a table of that many rows (captions made of a few dozen Persian words, faults sprinkled in, two
engines, a score), then walks over its rows, and runs `peyda filter --top 0.8` and `peyda report` on it, each in a
process of its own whose peak memory is therefore its own. `score` takes distinct pairs from TABLE and compares one
pair at a time, as the original project did it, with `SimilarityScorer` on the same encoder and the same threads, in
alternating rounds; medians. For the ratio on an fp32 encoder of the original's shape, see `make_distiluse.py`.
`translate` gives distinct English captions of TABLE to the embedded translator.

On a busy machine, look at the processor seconds. Goals (on two cores) and whether they are met stand beside the
numbers; a goal for two cores says nothing about another machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from peyda.captions import open_reader, open_writer
from peyda.encoders.sentence import SentenceEncoder, load_sentence_encoder
from peyda.quality import SimilarityScorer
from peyda.translate import EngineOptions, Failed, open_engine

GOALS = {
    "rows": ("peak_mb", "at most", 2_000),
    "score_ratio": ("ratio", "at least", 3),
    "score_mini": ("batched_pairs_per_s", "at least", 500),
    "translate": ("captions_per_s", "at least", 60),
}

_ENGLISH = "a man woman dog cat boy girl runs sits plays stands on in near the beach park street red blue ball"
_PERSIAN = "مرد زن سگ گربه پسر دختر می‌دود نشسته بازی ایستاده روی در کنار ساحل پارک خیابان سرخ آبی توپ بزرگ"
_FAULTS = ("", "a dog runs on the beach", "در پارک در پارک در پارک", "سگ on the ساحل", "犬 در ساحل")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    rows = parts.add_parser("rows")
    rows.add_argument("--rows", type=int, default=1_000_000)
    rows.add_argument("--suffix", default=".csv", help="format of the table")
    rows.add_argument("--dir", help="where to write; a temporary directory by default")
    score = parts.add_parser("score")
    score.add_argument("table", help="caption table to take pairs from")
    score.add_argument("--scorer", default="mini")
    score.add_argument("--pairs", type=int, default=1_000)
    score.add_argument("--rounds", type=int, default=3)
    translate = parts.add_parser("translate")
    translate.add_argument("table", help="caption table to take English captions from")
    translate.add_argument("--model", help="model directory; the embedded one by default")
    translate.add_argument("--captions", type=int, default=1_000)
    translate.add_argument("--rounds", type=int, default=3)
    translate.add_argument("--beam-size", type=int)
    options = parser.parse_args()
    result = {"rows": measure_rows, "score": measure_score, "translate": measure_translate}[options.part](options)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(json.dumps({"machine": f"{os.cpu_count()} cores, {platform.machine()}{load}", **result}, indent=1))


def goal(name: str, result: dict[str, Any]) -> dict[str, Any]:
    """A goal as a record: what was asked for, what was measured, whether that is enough."""
    number, sense, limit = GOALS[name]
    is_met = result[number] <= limit if sense == "at most" else result[number] >= limit
    return {"goal": f"{number} {sense} {limit:,}", "measured": result[number], "is_met": is_met}


def measure_rows(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="peyda-bench-", dir=options.dir) as scratch:
        table = Path(scratch) / f"in{options.suffix}"
        write_table(table, options.rows)
        judged = Path(scratch) / f"out{options.suffix}"
        result: dict[str, Any] = {"rows": options.rows, "size_mb": round(table.stat().st_size / 1e6)}
        result["read"] = run_code(_READ, str(table))
        result["filter"] = run("filter", str(table), "--out", str(judged), "--top", "0.8")
        result["report"] = run("report", str(judged), "--out", str(Path(scratch) / "report"))
    steps = [result[step] for step in ("read", "filter", "report")]
    result["peak_mb"] = max(step["peak_mb"] for step in steps)
    return {**result, "goals": [goal("rows", result)]}


_READ = """
from peyda.captions import open_reader
with open_reader(sys.argv[1], duplicates="keep") as reader:
    status = 0 if sum(1 for row in reader) else 1
"""


def write_table(path: Path, rows: int) -> None:
    rng = random.Random(0)
    english_words, persian_words = _ENGLISH.split(), _PERSIAN.split()
    columns = ("image", "caption_id", "caption_en", "caption_fa", "engine", "score_mini")
    with open_writer(path, columns) as writer:
        for at in range(rows):
            words = rng.randint(6, 14)
            persian = " ".join(rng.choices(persian_words, k=words)) if rng.random() > 0.05 else rng.choice(_FAULTS)
            writer.write(
                {
                    "image": f"photos/{at // 10:09}.jpg",
                    "caption_id": str(at % 5),
                    "caption_en": " ".join(rng.choices(english_words, k=words)),
                    "caption_fa": persian,
                    "engine": "mini" if at % 10 < 5 else "google",
                    "score_mini": round(min(1.0, max(-1.0, rng.gauss(0.7, 0.15))), 5),
                }
            )


def run(*arguments: str) -> dict[str, Any]:
    """One `peyda` command, as `run_code`."""
    return run_code("from peyda.cli.main import main\nstatus = main(sys.argv[1:])\n", *arguments)


def run_code(body: str, *arguments: str) -> dict[str, Any]:
    """Python that leaves a `status`, in a process of its own: its seconds, and the most memory that it held."""
    code = (
        f"import resource, sys\n{body}\nused = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)\nsys.exit(status)"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, encoding="utf-8", check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(done.stderr)
    cpu_s, peak_kb = done.stderr.split()[-2:]
    return {"seconds": round(seconds, 1), "cpu_seconds": round(float(cpu_s), 1), "peak_mb": round(int(peak_kb) / 1024)}


def measure_score(options: argparse.Namespace) -> dict[str, Any]:
    encoder = load_sentence_encoder(options.scorer)
    pairs = distinct_pairs(options.table, options.pairs)
    encoder.encode_texts(["warm up"])
    loop, batched, cpu_loop, cpu_batched = [], [], [], []
    for _ in range(options.rounds):
        started, cpu = time.perf_counter(), time.process_time()
        slow = one_at_a_time(encoder, pairs)
        loop.append(len(pairs) / (time.perf_counter() - started))
        cpu_loop.append(time.process_time() - cpu)
        started, cpu = time.perf_counter(), time.process_time()
        fast = SimilarityScorer(encoder).score(pairs)
        batched.append(len(pairs) / (time.perf_counter() - started))
        cpu_batched.append(time.process_time() - cpu)
    result = {
        "scorer": encoder.name,
        "pairs": len(pairs),
        "loop_pairs_per_s": round(statistics.median(loop), 1),
        "batched_pairs_per_s": round(statistics.median(batched), 1),
        "ratio": round(statistics.median(b / a for a, b in zip(loop, batched, strict=True)), 2),
        "cpu_ratio": round(statistics.median(a / b for a, b in zip(cpu_loop, cpu_batched, strict=True)), 2),
        "largest_difference": float(np.max(np.abs(np.asarray(slow) - np.asarray(fast)))),
    }
    return {**result, "goals": [goal("score_mini" if options.scorer == "mini" else "score_ratio", result)]}


def measure_translate(options: argparse.Namespace) -> dict[str, Any]:
    engine = open_engine("mini", EngineOptions(model=options.model, beam_size=options.beam_size))
    try:
        texts = distinct_captions(options.table, options.captions)
        engine.translate(["A dog runs on the beach."])  # warm up
        speeds, cpu_seconds, failed = [], [], 0
        for _ in range(options.rounds):
            started, cpu = time.perf_counter(), time.process_time()
            batches = [texts[at : at + engine.batch_size] for at in range(0, len(texts), engine.batch_size)]
            outcomes = [outcome for batch in batches for outcome in engine.translate(batch)]
            speeds.append(len(texts) / (time.perf_counter() - started))
            cpu_seconds.append(time.process_time() - cpu)
            failed = sum(isinstance(outcome, Failed) for outcome in outcomes)
        result = {
            "engine": engine.label,
            "captions": len(texts),
            "failed": failed,
            "captions_per_s": round(statistics.median(speeds), 1),
            "captions_per_cpu_s": round(len(texts) / statistics.median(cpu_seconds), 1),
        }
    finally:
        engine.close()
    return {**result, "goals": [goal("translate", result)]}


def distinct_captions(table: str, count: int) -> list[str]:
    """English captions, each once, in random order."""
    with open_reader(table, duplicates="keep", required=("caption_en",)) as reader:
        texts = list(dict.fromkeys(row["caption_en"].strip() for row in reader if row["caption_en"].strip()))
    random.Random(0).shuffle(texts)
    return texts[:count]


def distinct_pairs(table: str, count: int) -> list[tuple[str, str]]:
    """Pairs in which no text comes twice, so that remembering helps nobody."""
    pairs: list[tuple[str, str]] = []
    seen: set[str] = set()
    with open_reader(table, duplicates="keep", required=("caption_en", "caption_fa")) as reader:
        for row in reader:
            pair = (row["caption_en"].strip(), row["caption_fa"].strip())
            if len(pairs) < count and all(pair) and not seen & set(pair):
                seen.update(pair)
                pairs.append(pair)
    random.Random(0).shuffle(pairs)
    return pairs


def one_at_a_time(encoder: SentenceEncoder, pairs: list[tuple[str, str]]) -> list[float]:
    """As the original project scores: each caption with its translation, and the next."""
    scores = []
    for english, persian in pairs:
        a, b = encoder.encode_texts([english]), encoder.encode_texts([persian])
        scores.append(float((a @ b.T).item()))
    return scores


if __name__ == "__main__":
    main()
