"""What the verbs that walk over caption tables have in common: the count of rows on stderr, remarks on lost lines."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from peyda.cli.terminal import escaped, is_terminal, write_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from peyda.captions import SkippedRow

_EVERY_S = 0.1
_SHOWN_LINES = 3


def row_progress() -> Callable[[str, int], None] | None:
    """Call what it returns with a stage and the rows done; None where nobody watches."""
    if not is_terminal(sys.stderr):
        return None
    started = time.monotonic()
    shown_at, last_stage = 0.0, ""

    def show(stage: str, rows: int) -> None:
        nonlocal shown_at, last_stage, started
        now = time.monotonic()
        if stage != last_stage:
            started, last_stage = now, stage
        elif now - shown_at < _EVERY_S:
            return
        shown_at = now
        speed = f", {rows / (now - started):,.0f} rows/s" if now - started > 1 else ""
        sys.stderr.write(f"\r\x1b[K{stage}: {rows:,} rows{speed}")
        sys.stderr.flush()

    return show


def end_progress() -> None:
    """Take the count away before the results are written."""
    if is_terminal(sys.stderr):
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def remark_skipped(source: str, skipped: Sequence[SkippedRow]) -> None:
    """Say on stderr which lines of a table were no rows."""
    if not skipped:
        return
    write_line(sys.stderr, f"{len(skipped):,} lines of {escaped(source)} are no rows and were left out:")
    for one in skipped[:_SHOWN_LINES]:
        write_line(sys.stderr, f"  line {one.line}: {one.reason}: {escaped(one.detail)}")
    if len(skipped) > _SHOWN_LINES:
        write_line(sys.stderr, "  …")


def aligned(rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Rows of cells as lines: the first `left` columns to the left, numbers to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if at < left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
