"""From a walk and what the user said to command lines: values filled in, and the stages that take no part named.

A stage is left out where a value that it is there for was not given, where an optional package is missing, or where
what it reads comes from a stage that was left out. What cannot work is said before anything runs.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass

from peyda.errors import ConfigError, DataError
from peyda.reproduce.walk import HERE, OUT, Stage, Value, Walk, filled, is_within, places

_NAMED_SOURCES = ("hf:", "set:")
"""Beginnings of what stands where a path could, and is none."""

_SAME_OUT = "{out}"
_SAME_HERE = "{here}"


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage with its values.

    Attributes:
        stage: As the walk has it.
        arguments: Of `peyda`, ready to run; empty where it is left out.
        identity: The same, but for where the user stands and where the results go: what a later run compares.
        inputs: Paths that it reads.
        outputs: Paths that it writes.
        scratch: Directories of its own.
        left_out: Why it takes no part; "" where it does.
    """

    stage: Stage
    arguments: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    scratch: tuple[str, ...] = ()
    left_out: str = ""

    @property
    def name(self) -> str:
        """The stage's."""
        return self.stage.name


@dataclass(frozen=True, slots=True)
class Plan:
    """A walk, ready to go."""

    walk: Walk
    out: str
    values: Mapping[str, str]
    stages: tuple[PlannedStage, ...]

    def taking_part(self) -> tuple[PlannedStage, ...]:
        """The stages that are not left out."""
        return tuple(stage for stage in self.stages if not stage.left_out)

    def path(self, template: str) -> str:
        """A path of the walk."""
        return filled(template, self.values)


def plan_walk(walk: Walk, given: Mapping[str, str], out: str) -> Plan:
    """Fill in the values, and decide which stages take part.

    Args:
        walk: The walk.
        given: Value → what the user said, "" for none; those not said have their defaults.
        out: The directory of the results.

    Raises:
        ConfigError: A required value is missing, a package that is not optional is, or nothing is left to do.
    """
    values = _values(walk, given, out)
    same = _identities(walk, values, out)
    left_out: dict[str, str] = {}
    stages: list[PlannedStage] = []
    for stage in walk.stages:
        planned = _planned(stage, values, same, left_out)
        if planned.left_out:
            left_out.update(dict.fromkeys(stage.outputs, stage.name))
        stages.append(planned)
    plan = Plan(walk, values[OUT], values, tuple(stages))
    if not plan.taking_part():
        raise ConfigError(
            f"no stage of the walk {walk.name} takes part: {stages[0].name}: {stages[0].left_out}",
            hint=f"peyda reproduce {walk.name} --help lists what it can be given",
        )
    return plan


def check_sources(plan: Plan) -> None:
    """Whether all that the walk reads and does not make is there.

    Raises:
        DataError: A file or directory is not.
    """
    written = [path for stage in plan.taking_part() for path in stage.outputs]
    for stage in plan.taking_part():
        for path in stage.inputs:
            if is_path(path) and not any(is_within(path, one) for one in written) and not os.path.exists(path):
                raise DataError(
                    f"there is no {path}, which the stage {stage.name} reads",
                    hint=f"peyda reproduce {plan.walk.name} --help says how to name it",
                )


def is_path(text: str) -> bool:
    """Whether an input is a file or directory, not the name of a published set.

    >>> is_path("captions.csv"), is_path("set:nocaps")
    (True, False)
    """
    return not text.startswith(_NAMED_SOURCES)


def _values(walk: Walk, given: Mapping[str, str], out: str) -> dict[str, str]:
    values = {OUT: _as_path(out), HERE: walk.here}
    for name, value in walk.values.items():
        said = given.get(name, filled(value.default, values))
        if value.required and not said:
            raise ConfigError(f"the walk {walk.name} needs {option(name)}", hint=value.about)
        values[name] = _as_path(said) if value.path else said
    return values


def _identities(walk: Walk, values: Mapping[str, str], out: str) -> dict[str, str]:
    """The values as they stay when the user stands elsewhere or the directory of the results is moved."""
    return {name: _identity(walk.values.get(name), text, out) for name, text in values.items()} | {
        OUT: _SAME_OUT,
        HERE: _SAME_HERE,
    }


def _identity(value: Value | None, text: str, out: str) -> str:
    if value is None or not value.path or not text or not is_path(text):
        return text
    path, base = os.path.abspath(text), os.path.abspath(out)
    return _SAME_OUT + path[len(base) :] if is_within(path, base) else path


def _as_path(text: str) -> str:
    """A path that no command takes for an option."""
    return os.path.join(os.curdir, text) if text.startswith("-") else text


def _planned(stage: Stage, values: Mapping[str, str], same: Mapping[str, str], gone: Mapping[str, str]) -> PlannedStage:
    """`gone`: output (as a template) → the stage that will not write it."""
    for name in stage.only_with:
        if not values[name]:
            return PlannedStage(stage, left_out=f"{option(name)} is not given")
    if missing := [name for name in stage.packages if importlib.util.find_spec(name) is None]:
        hint = f"pip install 'peyda[{stage.extra}]'" if stage.extra else f"pip install {' '.join(missing)}"
        if not stage.optional:
            raise ConfigError(f"the stage {stage.name} needs {', '.join(missing)}", hint=hint)
        return PlannedStage(stage, left_out=f"{', '.join(missing)} is not installed: {hint}")
    arguments: list[str] = []
    identity: list[str] = []
    dropped: list[str] = []
    for part in stage.command:
        if isinstance(part, tuple):
            if any(_is_empty(one, values) or _maker(one, gone) for one in part):
                dropped += part
                continue
        elif maker := _maker(part, gone):
            return PlannedStage(stage, left_out=f"{maker} is left out")
        group = part if isinstance(part, tuple) else (part,)
        arguments += [filled(one, values) for one in group]
        identity += [filled(one, same) for one in group]
    inputs: list[str] = []
    for one in stage.inputs:
        if any(one in text for text in dropped) or _is_empty(one, values):
            continue
        if maker := _maker(one, gone):
            return PlannedStage(stage, left_out=f"{maker} is left out")
        inputs.append(filled(one, values))
    return PlannedStage(
        stage,
        tuple(arguments),
        tuple(identity),
        tuple(inputs),
        tuple(filled(one, values) for one in stage.outputs),
        tuple(filled(one, values) for one in stage.scratch),
    )


def _is_empty(template: str, values: Mapping[str, str]) -> bool:
    return any(not values[name] for name in places(template))


def _maker(template: str, gone: Mapping[str, str]) -> str:
    """The stage that was left out and would have written what an argument names; "" where there is none."""
    return next((stage for output, stage in gone.items() if is_within(template, output)), "")


def option(name: str) -> str:
    """The option of the command for a value.

    >>> option("flickr30k_images")
    '--flickr30k-images'
    """
    return "--" + name.replace("_", "-")
