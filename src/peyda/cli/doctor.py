"""`peyda doctor`: what works on this machine, and what to do about what does not."""

from __future__ import annotations

import json
import sys

import click

from peyda.cli import exit_codes
from peyda.cli.checks import Result, run_checks
from peyda.cli.options import gallery_option, json_option, model_option
from peyda.cli.terminal import escaped, write_line
from peyda.config import load_settings

_MARKS = {"ok": "ok  ", "note": "note", "fail": "FAIL"}


@click.command()
@json_option
@gallery_option
@model_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, gallery: str | None, model: str | None) -> None:
    """Say what works on this machine, and what to do about what does not.

    The exit status is 1 when something is broken; notes do not count.
    """
    settings = load_settings(gallery=gallery, model=model)
    results = []
    for result in run_checks(settings):
        results.append(result)
        if not as_json:
            _print(result)
    failed = sum(result.status == "fail" for result in results)
    if as_json:
        report = {"is_well": not failed, "checks": [result.to_dict() for result in results]}
        write_line(sys.stdout, json.dumps(report))
    else:
        write_line(sys.stdout, f"{failed} of {len(results)} checks failed." if failed else "All is well.")
    if failed:
        ctx.exit(exit_codes.FAILED)


def _print(result: Result) -> None:
    write_line(sys.stdout, f"{_MARKS[result.status]}  {result.name:<18} {escaped(result.detail)}")
    if result.fix:
        write_line(sys.stdout, f"{'':<6}{'→ ':>20} {escaped(result.fix)}")
