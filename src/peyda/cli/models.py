"""`peyda models`: which models are here, and what is known about one."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from peyda.cli.options import json_option
from peyda.cli.terminal import escaped, isolated, write_line

if TYPE_CHECKING:
    from peyda.encoders import ModelInfo


@click.group()
def models() -> None:
    """Look at the models that are on this machine."""


@models.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the models that are here; the default one first."""
    from peyda.encoders import DEFAULT_MODEL, list_models

    found = list_models()
    if as_json:
        for info in found:
            write_line(sys.stdout, json.dumps(info.to_dict() | {"is_default": info.name == DEFAULT_MODEL}))
        return
    width = max((len(escaped(info.name)) for info in found), default=0)
    for info in found:
        default = " (default)" if info.name == DEFAULT_MODEL else ""
        facts = f"{info.size_bytes / 1e6:6.1f} MB  {info.embed_dim:>4}-d  {info.image_size_px:>3} px"
        write_line(sys.stdout, f"{escaped(info.name):<{width}}  {facts}  {escaped(info.description)}{default}")
    if not found:
        write_line(sys.stderr, "No model is here. The package brings one: install it again.")


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
