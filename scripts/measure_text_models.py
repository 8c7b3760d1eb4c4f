#!/usr/bin/env python3
"""Measure the embedded translator and scorer on the test split, and write their numbers where documents quote them.

    .venv/bin/python scripts/measure_text_models.py --data DATA [--translator DIR] [--scorer DIR] [--write]

Runs `peyda evaluate translation` and `peyda evaluate scorer` on native sentences and machine-translated captions, and
prints Markdown. With `--write`, the parts of docs/data/translator.md and of both model cards between the lines
`<!-- measured: NAME -->` and `<!-- end -->` are replaced by it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from peyda.cli.main import main as peyda

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (
    ROOT / "docs/data/translator.md",
    ROOT / "src/peyda/models/mini-translator/model_card.md",
    ROOT / "src/peyda/models/mini-scorer/model_card.md",
)
DAMAGES = {
    "swapped_pair": "swapped pair",
    "dropped_noun": "dropped noun",
    "swapped_noun": "swapped noun",
    "number_or_colour": "wrong number or colour",
    "untranslated_word": "untranslated word",
    "repeated_word": "repeated word",
}
_WORST, _BETWEEN, _BEST = 15, 25, 10


def evaluate(verb: str, out: Path, *arguments: str) -> dict[str, Any]:
    """Run `peyda evaluate VERB`; the numbers of its one system."""
    if peyda(["evaluate", verb, *arguments, "--out", str(out)]):
        raise SystemExit(f"peyda evaluate {verb} {' '.join(arguments)} failed")
    (metrics,) = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return dict(metrics)


def _with_interval(metrics: dict[str, Any], name: str) -> str:
    low, high = metrics["ci95"][name]
    return f"{metrics[name]:.1f} ({low:.1f}–{high:.1f})"


def translator_parts(data: Path, out: Path, model: list[str]) -> dict[str, str]:
    """The tables of the translator."""
    native = ["--english", str(data / "flickr8k/captions.csv"), "--where", "kind=sentence", *model]
    machine = ["--captions", str(data / "flickr8k/captions.csv"), "--split-table", str(data / "flickr8k/split.csv")]
    test = ["--captions", str(data / "native_fa_test.csv"), *native]
    rows = {
        "native sentences of the test photographs": evaluate("translation", out / "native", *test),
        "the same, greedy (`--beam-size 1`)": evaluate("translation", out / "greedy", *test, "--beam-size", "1"),
        "native sentences of the val photographs": evaluate(
            "translation", out / "val", "--captions", str(data / "native_fa_val.csv"), *native
        ),
        "first machine-translated caption of each test photograph": evaluate(
            "translation", out / "machine", *machine, "--split", "test", "--first-only", *model
        ),
    }
    lines = ["| set | captions | BLEU (95 %) | chrF (95 %) | without a translation |", "|---|---:|---:|---:|---:|"]
    lines += [
        f"| {name} | {m['captions']:,} | {_with_interval(m, 'bleu')} | {_with_interval(m, 'chrf')} | {m['failed']} |"
        for name, m in rows.items()
    ]
    first = rows["native sentences of the test photographs"]
    lines += ["", f"Signature: `{first['signature']}`. Length ratio on the first row: {first['length_ratio']}."]
    return {"translator": "\n".join(lines), "outputs": fifty_outputs(out / "native/translations.jsonl")}


def fifty_outputs(path: Path) -> str:
    """Fifty translations beside their references: the worst, some in between at even distances, the best."""
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]  # the worst first
    rest = len(found) - _WORST - _BEST
    between = [found[_WORST + round((n + 0.5) * rest / _BETWEEN)] for n in range(_BETWEEN)]
    parts = {
        f"The {_WORST} worst": found[:_WORST],
        f"{_BETWEEN} in between, evenly spaced": between,
        f"The {_BEST} best": found[: -_BEST - 1 : -1],
    }
    lines: list[str] = []
    for title, rows in parts.items():
        lines += [f"### {title}", "", "| chrF | native reference | `mini` |", "|---:|---|---|"]
        lines += [f"| {r['chrf']:.0f} | {_cell(r['reference'])} | {_cell(r['translation'])} |" for r in rows] + [""]
    return "\n".join(lines[:-1])


def _cell(text: str) -> str:
    return text.replace("|", "\\|") or "(nothing)"


def scorer_parts(data: Path, out: Path, model: list[str]) -> dict[str, str]:
    """The tables of the scorer."""
    english, split = str(data / "flickr8k/captions.csv"), str(data / "flickr8k/split.csv")
    native = ["--captions", str(data / "native_fa_test.csv"), "--english", english, "--where", "kind=sentence"]
    machine = ["--captions", english, "--split-table", split, "--split", "test", "--first-only"]
    rows = {
        "native sentences of the test photographs": evaluate("scorer", out / "scorer-native", *native, *model),
        "first machine-translated caption of each test photograph": evaluate(
            "scorer", out / "scorer-machine", *machine, *model
        ),
    }
    lines = ["| set | pairs | English → Persian, right one first | Persian → English |", "|---|---:|---:|---:|"]
    for name, m in rows.items():
        there, back = (m[way]["accuracy_at_1"] for way in ("english_to_persian", "persian_to_english"))
        lines.append(f"| {name} | {m['pairs']:,} | **{there:.3f}** | {back:.3f} |")
    first, second = rows.values()
    lines += [
        "",
        "| damage | pairs | native: AUC | own pair wins | machine-translated: AUC |",
        "|---|---:|---:|---:|---:|",
    ]
    for key, name in DAMAGES.items():
        one, other = first["damages"][key], second["damages"][key]
        areas = one["area_under_curve"], one["own_pair_wins"], other["area_under_curve"]
        lines.append(f"| {name} | {one['pairs']} | {areas[0]:.3f} | {areas[1]:.3f} | {areas[2]:.3f} |")
    whole = first["area_under_curve"], second["area_under_curve"]
    lines.append(f"| **equal shares of each** | | **{whole[0]:.3f}** | | {whole[1]:.3f} |")
    return {"scorer": "\n".join(lines)}


def write_parts(path: Path, parts: dict[str, str]) -> None:
    """Replace the measured parts of a document; parts that it does not quote are left out."""
    text = path.read_text(encoding="utf-8")
    for name, part in parts.items():
        pattern = re.compile(rf"(<!-- measured: {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        text = pattern.sub(lambda found, part=part: f"{found[1]}\n{part}\n{found[2]}", text)
    path.write_text(text, encoding="utf-8")


def main() -> int:
    """Measure, print, and with `--write` put the numbers into the documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--translator", help="directory; the embedded one by default")
    parser.add_argument("--scorer", help="directory; the embedded one by default")
    parser.add_argument("--out", type=Path, default=Path("runs/measured-text"))
    parser.add_argument("--only", choices=["translator", "scorer"])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    parts: dict[str, str] = {}
    if options.only != "scorer":
        model = ["--model", options.translator] if options.translator else []
        parts |= translator_parts(options.data, options.out, model)
    if options.only != "translator":
        model = ["--scorer", options.scorer] if options.scorer else []
        parts |= scorer_parts(options.data, options.out, model)
    for name, part in parts.items():
        print(f"\n## {name}\n\n{part}")
    if options.write:
        for path in DOCUMENTS:
            if path.is_file():
                write_parts(path, parts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
