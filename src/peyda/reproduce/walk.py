"""Walk files: what a walk is, read strictly (an unknown key is an error that names the known ones).

```toml
title = "Translate and measure"
about = "What this is for."

[values.captions]            # an option of the command: --captions
about = "Caption table."
path = true                  # a file or directory, not a word
required = true

[values.engine]
about = "Who translates."
default = "mini"             # may name values above it, {out}, and {here}, the directory of this file

[[stage]]
name = "translate"
about = "English captions become Persian ones."
command = ["translate", "{captions}", "--out", "{out}/fa.csv", "--engine", "{engine}", ["--model", "{model}"]]
inputs = ["{captions}"]
outputs = ["{out}/fa.csv"]
```

A list inside a command is left out as a whole where a value in it is empty, or where it names what a stage that was
left out would have written.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from peyda.errors import ConfigError

OUT = "out"
"""The value that every walk has: the directory that everything goes to."""

HERE = "here"
"""The directory of the walk's own file: recipes that come with it lie there."""

RESERVED = frozenset({OUT, HERE, "list", "from", "only", "dry_run", "json", "help"})

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Value:
    """Something that the user may say.

    Attributes:
        about: One line of help.
        default: What it is otherwise; may name earlier values. "" is none.
        required: Whether the user has to say it.
        path: Whether it is a file or directory.
    """

    about: str
    default: str = ""
    required: bool = False
    path: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """One command of a walk.

    Attributes:
        name: Short name, for `--from` and `--only`.
        about: One line: what it does.
        command: Arguments of `peyda`, with `{value}` places; a tuple inside is optional as a whole.
        inputs: Files and directories that it reads.
        outputs: Files and directories that it writes; it is done when they are there.
        scratch: Directories of its own, in `{out}`, that survive an interruption but not a change of what goes in.
        only_with: Values without which it is left out.
        packages: Packages that it needs beyond Peyda's own.
        extra: The extra of Peyda that brings them.
        optional: Whether it is left out where they are missing; otherwise the walk does not begin.
        figures: Pictures among its outputs for the last page.
        metrics: A JSON file of its results for the last page.
        page: A page of its own, to link to.
    """

    name: str
    about: str
    command: tuple[str | tuple[str, ...], ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    scratch: tuple[str, ...] = ()
    only_with: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    extra: str = ""
    optional: bool = False
    figures: tuple[str, ...] = ()
    metrics: str = ""
    page: str = ""

    def templates(self) -> Iterator[str]:
        """Every text that has places for values."""
        for part in self.command:
            yield from (part,) if isinstance(part, str) else part
        yield from (*self.inputs, *self.outputs, *self.scratch, *self.figures, self.metrics, self.page)


@dataclass(frozen=True, slots=True)
class Walk:
    """A walk: values in the order in which their defaults may name each other, stages in the order of running.

    `here` is the directory of its file.
    """

    name: str
    title: str
    about: str
    here: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()

    def stage_names(self) -> tuple[str, ...]:
        """The names of the stages, in order."""
        return tuple(stage.name for stage in self.stages)


def shipped_walks() -> dict[str, str]:
    """Name → file of the walks that come with Peyda."""
    folder = files("peyda.reproduce").joinpath("walks")
    found = (one for one in folder.iterdir() if one.name.endswith(".toml"))
    return {one.name.removesuffix(".toml"): str(one) for one in sorted(found, key=lambda one: one.name)}


def read_walk(path: str) -> Walk:
    """Read a walk file.

    Raises:
        ConfigError: It cannot be read, is not TOML, has an unknown or missing key or a value of the wrong type, or
            its stages do not fit together.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read the walk {path}: {error.strerror or error}",
            hint=f"name a TOML file, or one of {', '.join(shipped_walks())}",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}", hint="docs/reproduce.md shows a walk") from error
    return _walk(path, _Reader(path, content, ""))


class _Reader:
    """Takes the keys of one table, each once, and complains of those that are left."""

    def __init__(self, source: str, content: dict[str, Any], where: str) -> None:
        self.source = source
        self.where = where
        self._content = content
        self._asked: list[str] = []

    def wrong(self, what: str, hint: str = "docs/reproduce.md shows a walk") -> ConfigError:
        return ConfigError(f"{self.source}: {what}", hint=hint)

    def take(self, key: str, kind: type, default: Any = None) -> Any:
        self._asked.append(key)
        if key not in self._content:
            if default is None:
                raise self.wrong(f"{self.where}{key} is missing")
            return default
        value = self._content[key]
        if type(value) is not kind:
            raise self.wrong(f"{self.where}{key} must be {_KINDS[kind]}, not {value!r}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.take(key, list, [])
        if not all(isinstance(one, str) for one in values):
            raise self.wrong(f"{self.where}{key} must be a list of strings")
        return tuple(values)

    def end(self) -> None:
        unknown = sorted(set(self._content) - set(self._asked))
        if unknown:
            raise self.wrong(
                f"unknown key {self.where}{unknown[0]}", hint=f"known keys: {', '.join(sorted(self._asked))}"
            )


_KINDS = {str: "a string", bool: "true or false", list: "a list", dict: "a table"}


def _walk(path: str, reader: _Reader) -> Walk:
    title, about = reader.take("title", str), reader.take("about", str, "")
    values = {key: _value(key, one, reader) for key, one in reader.take("values", dict, {}).items()}
    stages = tuple(_stage(one, at, reader) for at, one in enumerate(reader.take("stage", list)))
    reader.end()
    walk = Walk(Path(path).stem, title, about, str(Path(path).parent), values, stages)
    _check(walk, reader)
    return walk


def _value(key: str, content: Any, parent: _Reader) -> Value:
    if not _NAME.fullmatch(key) or "-" in key or key in RESERVED:
        raise parent.wrong(f"values.{key} is no name for a value", hint="small letters, digits and _; not out, list, …")
    if not isinstance(content, dict):
        raise parent.wrong(f"values.{key} must be a table")
    reader = _Reader(parent.source, content, f"values.{key}.")
    value = Value(
        reader.take("about", str),
        reader.take("default", str, ""),
        reader.take("required", bool, False),
        reader.take("path", bool, False),
    )
    reader.end()
    if value.required and value.default:
        raise parent.wrong(f"values.{key} is required and has a default")
    return value


def _stage(content: Any, at: int, parent: _Reader) -> Stage:
    if not isinstance(content, dict):
        raise parent.wrong("stage must be a list of tables: [[stage]]")
    name = content.get("name", f"number {at + 1}")
    reader = _Reader(parent.source, content, f"stage {name}: ")
    stage = Stage(
        name=reader.take("name", str),
        about=reader.take("about", str),
        command=_command(reader),
        inputs=reader.texts("inputs"),
        outputs=reader.texts("outputs"),
        scratch=reader.texts("scratch"),
        only_with=reader.texts("only_with"),
        packages=reader.texts("packages"),
        extra=reader.take("extra", str, ""),
        optional=reader.take("optional", bool, False),
        figures=reader.texts("figures"),
        metrics=reader.take("metrics", str, ""),
        page=reader.take("page", str, ""),
    )
    reader.end()
    return stage


def _command(reader: _Reader) -> tuple[str | tuple[str, ...], ...]:
    parts: list[str | tuple[str, ...]] = []
    for part in reader.take("command", list):
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, list) and part and all(isinstance(one, str) for one in part):
            parts.append(tuple(part))
        else:
            raise reader.wrong(f"{reader.where}command holds strings and lists of strings, not {part!r}")
    if not parts or not isinstance(parts[0], str):
        raise reader.wrong(f"{reader.where}command begins with a verb of peyda, such as translate")
    return tuple(parts)


def _check(walk: Walk, reader: _Reader) -> None:
    """What holds between values and stages."""
    known = {OUT, HERE}
    for name, value in walk.values.items():
        _check_places(value.default, known, f"values.{name}.default", reader)
        known.add(name)
    if not walk.stages:
        raise reader.wrong("there is no [[stage]]")
    written: set[str] = set()
    names: set[str] = set()
    for stage in walk.stages:
        where = f"stage {stage.name}"
        if not _NAME.fullmatch(stage.name) or stage.name in names:
            raise reader.wrong(f"{where}: the name is taken, or not of small letters, digits and -")
        names.add(stage.name)
        for text in stage.templates():
            _check_places(text, known, where, reader)
        for value_name in stage.only_with:
            _check_places(f"{{{value_name}}}", known, where, reader)
        if not stage.outputs:
            raise reader.wrong(f"{where} has no outputs, so nobody could say when it is done")
        _check_flow(stage, written, reader)
        written.update(stage.outputs)


def _check_places(text: str, known: set[str], where: str, reader: _Reader) -> None:
    for name in _PLACE.findall(text):
        if name not in known:
            raise reader.wrong(f"{where}: there is no value {name} here", hint=f"values: {', '.join(sorted(known))}")


def _check_flow(stage: Stage, written: set[str], reader: _Reader) -> None:
    inside = f"{{{OUT}}}/"
    for path in stage.inputs:
        if path.startswith(inside) and not any(is_within(path, one) for one in written):
            raise reader.wrong(f"stage {stage.name} reads {path}, which no earlier stage writes")
    for path in (*stage.outputs, *stage.scratch):
        if path in stage.scratch and (not path.startswith(inside) or ".." in path.split("/")):
            raise reader.wrong(f"stage {stage.name}: scratch {path} is not inside {{{OUT}}}")
    for path in (*stage.figures, stage.metrics, stage.page):
        if path and not any(is_within(path, one) for one in stage.outputs):
            raise reader.wrong(f"stage {stage.name} shows {path}, which is not among its outputs")


def is_within(path: str, other: str) -> bool:
    """Whether `path` is `other` or below it.

    >>> is_within("{out}/model/config.json", "{out}/model"), is_within("{out}/models", "{out}/model")
    (True, False)
    """
    return path == other or path.startswith(other.rstrip("/") + "/")


def places(text: str) -> list[str]:
    """The values that a template names.

    >>> places("{out}/score_{scorer}.csv")
    ['out', 'scorer']
    """
    return _PLACE.findall(text)


def filled(text: str, values: Mapping[str, str]) -> str:
    """A template with its values.

    >>> filled("{out}/score_{scorer}.csv", {"out": "o", "scorer": "mini"})
    'o/score_mini.csv'
    """
    return _PLACE.sub(lambda match: values[match[1]], text)
