"""Data sets of the Hugging Face hub, read as tables: `hf:OWNER/NAME`, `hf:OWNER/NAME?config=fa&split=test&revision=…`.

Needs the extra `hub` and a network. Rows stream; photographs that a data set carries inside are written to a folder
where one is given. Code that a data set brings along is never run. Without `split`, all splits are read, each row with
its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from peyda.captions.formats import ReadOptions, Row, Rows, SkippedRow, define_format
from peyda.captions.plain import as_text, exploded
from peyda.errors import DataError

PREFIX = "hf:"

_PARTS = ("config", "split", "revision")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the columns and splits of a data set mean, where their names do not say it.

    Attributes:
        splits: Its splits → ours; those not here keep their names.
        renamed: Its columns → what they hold, in names that `peyda.captions.schema` knows.
        image_column: The column whose values the photographs are named by.
        image_suffix: Added to those.
        left_out: Columns that say nothing here.
    """

    splits: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    image_column: str = ""
    image_suffix: str = ""
    left_out: tuple[str, ...] = ()

    def split(self, name: str) -> str:
        """Our name of a split."""
        return self.splits.get(name, name)

    def record(self, record: dict[str, Any]) -> dict[str, Any]:
        """A record in our names."""
        return {self.renamed.get(name, name): value for name, value in record.items() if name not in self.left_out}

    def image_name(self, record: Mapping[str, Any]) -> str:
        """What a record calls its photograph; "" where it does not."""
        value = record.get(self.image_column)
        return f"{value}{self.image_suffix}" if value else ""


AS_IT_IS = Reading()


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


def hub_columns(path: str, options: ReadOptions, reading: Reading = AS_IT_IS) -> Sequence[str]:
    """The columns of each split's first record.

    Raises:
        DataError: The data set cannot be read.
    """
    names: dict[str, None] = {"split": None}
    for stream in _splits(path).values():
        for record in stream.take(1):
            names.update(dict.fromkeys(map(str, exploded(reading.record(record))[0])))
    return tuple(names)


def read_hub(path: str, options: ReadOptions, reading: Reading = AS_IT_IS) -> Rows:
    """The rows of a data set; photographs inside it are written to `options.images_dir`.

    Raises:
        DataError: The data set cannot be read.
    """
    from peyda.captions.web.failures import WebFailure

    number = 0
    for split, stream in _splits(path).items():
        for record in _records(stream, path):
            number += 1
            name = reading.image_name(record)
            try:
                plain = {column: _plain(value, name, split, number, options) for column, value in record.items()}
            except WebFailure as failure:
                yield SkippedRow(number, failure.reason, failure.detail)
                continue
            for one in exploded({"split": reading.split(split)} | reading.record(plain)):
                yield Row(number, {str(column): as_text(value) for column, value in one.items()})


def _records(stream: Any, path: str) -> Iterator[dict[str, Any]]:
    try:
        yield from stream
    except (OSError, ValueError, RuntimeError) as error:
        words = " ".join(str(error).split())[:300]
        raise DataError(
            f"{path} broke off: {words}", hint="check the network, and run the same command again"
        ) from error


def _plain(value: Any, name: str, split: str, number: int, options: ReadOptions) -> Any:
    """A value as a table can hold it: of a picture, the name of its file, which is written where there is a folder.

    `name` is what the record calls its picture, where it does.
    """
    if not isinstance(value, dict) or set(value) != {"bytes", "path"}:
        return value
    from peyda.captions.web.pictures import safe_name, verify_picture, write_file  # not for tables without pictures

    name = safe_name(os.path.basename(name or value["path"] or "")) or f"{split}-{number:08d}.jpg"
    if options.images_dir and value["bytes"]:
        write_file(options.images_dir, name, verify_picture(value["bytes"]).data)
    return name


define_format("Hugging Face", (), read_hub, columns=hub_columns, matches=lambda path: path.startswith(PREFIX))
