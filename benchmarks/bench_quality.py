"""Scoring speed against the original's loop, and a million rows through filter and report: seconds and peak memory.

    python benchmarks/bench_quality.py rows [--rows 1000000] [--suffix .csv] [--dir DIR]
    python benchmarks/bench_quality.py score TABLE [--scorer mini] [--pairs 1000] [--rounds 3]

`rows` writes a table of that many rows (captions made of a few dozen Persian words, faults sprinkled in, two
engines, a score), then runs `peyda filter --top 0.8` and `peyda report` on it, each in a process of its own whose peak
memory is therefore its own; on a busy machine, look at the processor seconds. `score` takes distinct pairs from TABLE
and compares one pair at a time, as the original project did it, with `SimilarityScorer` on the same encoder and the
same threads, in alternating rounds; medians.
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

from peyda.captions import open_reader, open_writer
from peyda.encoders.sentence import SentenceEncoder, load_sentence_encoder
from peyda.quality import SimilarityScorer

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
    options = parser.parse_args()
    result = measure_rows(options) if options.part == "rows" else measure_score(options)
    print(json.dumps({"machine": f"{os.cpu_count()} cores, {platform.machine()}", **result}, indent=1))


def measure_rows(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="peyda-bench-", dir=options.dir) as scratch:
        table = Path(scratch) / f"in{options.suffix}"
        write_table(table, options.rows)
        judged = Path(scratch) / f"out{options.suffix}"
        result: dict[str, Any] = {"rows": options.rows, "size_mb": round(table.stat().st_size / 1e6)}
        result["filter"] = run("filter", str(table), "--out", str(judged), "--top", "0.8")
        result["report"] = run("report", str(judged), "--out", str(Path(scratch) / "report"))
    return result


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
    """One `peyda` command: its seconds, and the most memory that it held."""
    code = (
        "import resource, sys; from peyda.cli.main import main; status = main(sys.argv[1:]);"
        "used = resource.getrusage(resource.RUSAGE_SELF);"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr); sys.exit(status)"
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
    loop, batched = [], []
    for _ in range(options.rounds):
        started = time.perf_counter()
        one_at_a_time(encoder, pairs)
        loop.append(len(pairs) / (time.perf_counter() - started))
        started = time.perf_counter()
        SimilarityScorer(encoder).score(pairs)
        batched.append(len(pairs) / (time.perf_counter() - started))
    return {
        "scorer": encoder.name,
        "pairs": len(pairs),
        "loop_pairs_per_s": round(statistics.median(loop), 1),
        "batched_pairs_per_s": round(statistics.median(batched), 1),
        "ratio": round(statistics.median(b / a for a, b in zip(loop, batched, strict=True)), 2),
    }


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
