"""The licence of a model on this machine, from the metadata of the card that it came with."""

from __future__ import annotations

import re
from pathlib import Path

from peyda.encoders.hub.licences import stated_licence

_FIELD = re.compile(r"^(license|license_name)[ \t]*:\s*(?:-[ \t]+)?(\S.*?)[ \t]*$", re.MULTILINE)
_HEADER = re.compile(r"\ufeff?---\r?\n(.*?)\r?\n---", re.DOTALL)


def read_licence(folder: Path) -> str:
    """What the header of the folder's README.md states; empty where there is no card, or it states none."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    header = _HEADER.match(card)
    found = {key: value.strip("\"'[] ") for key, value in _FIELD.findall(header[1])} if header else {}
    return stated_licence({"cardData": found})
