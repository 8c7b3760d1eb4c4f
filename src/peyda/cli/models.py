"""`peyda models`: which models are here, which can be brought here, and what is known about one."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from peyda.cli.models_export import export
from peyda.cli.models_pull import pull, remove
from peyda.cli.options import json_option
from peyda.cli.row_progress import aligned
from peyda.cli.terminal import escaped, isolated, write_line

if TYPE_CHECKING:
    from peyda.encoders import ModelInfo
    from peyda.encoders.hub import Recommended

_PERSIAN = (
    "Persian: mean of Acc@1, @5 and @10, %, of Persian captions among the 3,600 photographs of XM3600, as published.",
    "Objects: top-1, %, of 682 Persian class names (Babel-ImageNet FA), as published.",
    "Sizes are about. No other model was measured on our photographs: docs/results.md has the numbers of mini.",
)


@click.group()
def models() -> None:
    """Look at models, bring others here, take them away, convert them."""


@models.command("list")
@click.option("--installed", "which", flag_value="installed", help="Only the models that are here.")
@click.option("--available", "which", flag_value="available", help="Only the models that can be pulled.")
@json_option
def list_(which: str | None, as_json: bool) -> None:
    """List the models that are here, the default one first, and those that are worth pulling for Persian.

    Asks no network: what can be pulled is a list that comes with Peyda.
    """
    from peyda.encoders import list_models
    from peyda.encoders.hub import RECOMMENDED

    here = list_models()
    names = {info.name for info in here}
    others = [entry for entry in RECOMMENDED if entry.name not in names]
    here = [] if which == "available" else here
    others = [] if which == "installed" else others
    if as_json:
        for record in (*map(_installed_record, here), *(entry.to_dict() | {"is_installed": False} for entry in others)):
            write_line(sys.stdout, json.dumps(record))
        return
    lines = [_installed_lines(here), _available_lines(others)]
    for line in "\n\n".join("\n".join(part) for part in lines if part).splitlines():
        write_line(sys.stdout, line)
    if not here and which != "available":
        write_line(sys.stderr, "No model is here. The package brings one: install it again.")


def _installed_record(info: ModelInfo) -> dict[str, Any]:
    from peyda.encoders import DEFAULT_MODEL

    return info.to_dict() | {"is_default": info.name == DEFAULT_MODEL, "is_installed": True}


def _installed_lines(here: Sequence[ModelInfo]) -> list[str]:
    from peyda.encoders import DEFAULT_MODEL

    if not here:
        return []
    rows = [["HERE", "SIZE", "DIM", "PX"]]
    rows += [
        [escaped(info.name), f"{info.size_bytes / 1e6:,.1f} MB", str(info.embed_dim), str(info.image_size_px)]
        for info in here
    ]
    facts = ["", *(_about(info) + (" (default)" if info.name == DEFAULT_MODEL else "") for info in here)]
    return [f"{row}  {fact}".rstrip() for row, fact in zip(aligned(rows), facts, strict=True)]


def _about(info: ModelInfo) -> str:
    return escaped(info.description) or "no description"


def _available_lines(others: Sequence[Recommended]) -> list[str]:
    if not others:
        return []
    rows = [["TO PULL", "LICENCE", "SPEED", "SIZE", "DIM", "PX", "PERSIAN", "OBJECTS"]]
    for entry in others:
        objects = "" if entry.object_words is None else f"{entry.object_words * 100:.1f}"
        size, persian = f"{entry.size_bytes / 1e9:.1f} GB", f"{entry.persian_mean * 100:.1f}"
        facts = [size, str(entry.embed_dim), str(entry.image_size_px), persian, objects]
        rows.append([entry.name, entry.licence, entry.speed, *facts])
    notes = [*_PERSIAN, "Bring one here: peyda models pull NAME. How to choose, mirrors, no network: docs/models.md"]
    return [*aligned(rows, left=3), "", *notes]


@models.command()
@click.argument("name", metavar="NAME|DIR")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show what is known about one model, and its card."""
    from peyda.encoders import model_info

    info = model_info(name)
    if as_json:
        write_line(sys.stdout, json.dumps(info.to_dict() | {"card_path": str(info.card_path)}))
        return
    for label, value in _facts(info).items():
        write_line(sys.stdout, f"{label:<12} {isolated(value, sys.stdout)}")
    for line in _card_lines(info):
        write_line(sys.stdout, isolated(line, sys.stdout))


def _facts(info: ModelInfo) -> dict[str, str]:
    return {
        "name": info.name,
        "what": info.description or "no description",
        "licence": info.licence or "not stated",
        "size": f"{info.size_bytes / 1e6:.1f} MB",
        "embedding": f"{info.embed_dim} dimensions",
        "image": f"{info.image_size_px} × {info.image_size_px} px",
        "text": f"{info.context_length} tokens, normaliser {info.normalizer_version or 'not stated'}",
        "fingerprint": info.fingerprint,
        "path": str(info.path),
    }


def _card_lines(info: ModelInfo) -> list[str]:
    try:
        return ["", *info.card_path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        return []


models.add_command(pull)
models.add_command(remove)
models.add_command(export)
