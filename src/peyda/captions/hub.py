"""Data sets of the Hugging Face hub, read as tables: `hf:OWNER/NAME`, `hf:OWNER/NAME?config=fa&split=test&revision=…`.

Needs the extra `hub` and a network. Rows stream; photographs that a data set carries inside are written to a folder
where one is given. Code that a data set brings along is never run. Without `split`, all splits are read, each row with
its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl

from peyda.captions.formats import ReadOptions, Row, Rows, SkippedRow, define_format
from peyda.captions.plain import as_text, exploded
from peyda.errors import DataError

PREFIX = "hf:"

_PARTS = ("config", "split", "revision")


def _parsed(path: str) -> tuple[str, dict[str, str]]:
    name, _, query = path.removeprefix(PREFIX).removeprefix("//").partition("?")
    parts = dict(parse_qsl(query))
    unknown = sorted(set(parts) - set(_PARTS))
    if not name or unknown:
        raise DataError(
            f"{path} names no data set" + (f": what is {', '.join(unknown)}?" if unknown else ""),
            hint="write hf:OWNER/NAME, or hf:OWNER/NAME?config=…&split=…&revision=…",
        )
    return name, parts


def _splits(path: str) -> dict[str, Any]:
    """Split → its stream of records, pictures as bytes."""
    name, parts = _parsed(path)
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"{path} needs the package datasets", hint="pip install 'peyda[hub]'") from error
    try:
        loaded = datasets.load_dataset(
            name, parts.get("config"), split=parts.get("split"), revision=parts.get("revision"), streaming=True
        )
    except (OSError, ValueError, RuntimeError) as error:  # what datasets raises for what is not there, or offline
        words = " ".join(str(error).split())[:300]
        raise DataError(f"{name} cannot be loaded: {words}", hint="check its id and the network") from error
    found = {parts["split"]: loaded} if "split" in parts else dict(loaded)
    for split, stream in found.items():
        for column, feature in (stream.features or {}).items():
            if isinstance(feature, datasets.Image):
                stream = stream.cast_column(column, datasets.Image(decode=False))
        found[split] = stream
    return found


def _hub_columns(path: str, options: ReadOptions) -> Sequence[str]:
    """The columns of each split's first record."""
    names: dict[str, None] = {"split": None}
    for stream in _splits(path).values():
        for record in stream.take(1):
            names.update(dict.fromkeys(map(str, exploded(record)[0])))
    return tuple(names)


def _read_hub(path: str, options: ReadOptions) -> Rows:
    from peyda.captions.web.failures import WebFailure

    number = 0
    for split, stream in _splits(path).items():
        for record in _records(stream, path):
            number += 1
            try:
                record = {column: _plain(value, split, number, options) for column, value in record.items()}
            except WebFailure as failure:
                yield SkippedRow(number, failure.reason, failure.detail)
                continue
            for one in exploded({"split": split} | record):
                yield Row(number, {str(column): as_text(value) for column, value in one.items()})


def _records(stream: Any, path: str) -> Iterator[dict[str, Any]]:
    try:
        yield from stream
    except (OSError, ValueError, RuntimeError) as error:
        words = " ".join(str(error).split())[:300]
        raise DataError(
            f"{path} broke off: {words}", hint="check the network, and run the same command again"
        ) from error


def _plain(value: Any, split: str, number: int, options: ReadOptions) -> Any:
    """A value as a table can hold it: of a picture, the name of its file, which is written where there is a folder."""
    if not isinstance(value, dict) or set(value) != {"bytes", "path"}:
        return value
    from peyda.captions.web.pictures import safe_name, verify_picture, write_file  # not for tables without pictures

    name = safe_name(os.path.basename(value["path"] or "")) or f"{split}-{number:08d}.jpg"
    if options.images_dir and value["bytes"]:
        write_file(options.images_dir, name, verify_picture(value["bytes"]).data)
    return name


define_format("Hugging Face", (), _read_hub, columns=_hub_columns, matches=lambda path: path.startswith(PREFIX))
