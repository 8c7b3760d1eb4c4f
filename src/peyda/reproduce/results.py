"""What came out of a walk, gathered from what its stages wrote: the content of `results.json` and of the last page."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from peyda._version import __version__
from peyda.evaluation.writing import result_folder, write_json, write_lines
from peyda.reproduce.ledger import DONE, Ledger, Standing
from peyda.reproduce.planning import Plan, PlannedStage
from peyda.reproduce.runner import command_line, log_of, standings

RESULTS = "results.json"
PAGE = "index.html"


@dataclass(frozen=True, slots=True)
class StageResult:
    """A stage and what it left.

    Attributes:
        planned: The stage.
        standing: Where it stands.
        seconds: How long it took; None where it is not done.
        metrics: What its JSON of results holds; None where it has none, or none yet.
        figures: Its pictures that are there.
        page: Its own page, where there is one.
        log: Its log, where there is one.
    """

    planned: PlannedStage
    standing: Standing
    seconds: float | None = None
    metrics: Any = None
    figures: tuple[str, ...] = ()
    page: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True)
class Results:
    """All of a walk."""

    plan: Plan
    stages: tuple[StageResult, ...]

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing left to do."""
        return all(stage.standing.is_done for stage in self.stages)


def gather(plan: Plan) -> Results:
    """Read what the stages wrote.

    Raises:
        ConfigError: The directory holds another walk.
        DataError: Its ledger cannot be read.
    """
    ledger = Ledger(plan)
    return Results(plan, tuple(_result(plan, ledger, *one) for one in standings(plan)))


def write_results(results: Results) -> str:
    """Write `results.json` and `index.html` into the directory of the walk; the page's path.

    Raises:
        StorageError: They cannot be written.
    """
    from peyda.reproduce.page import results_page

    with result_folder(results.plan.out) as folder:
        write_json(folder / RESULTS, to_dict(results))
        write_lines(folder / PAGE, results_page(results))
    return os.path.join(results.plan.out, PAGE)


def to_dict(results: Results) -> dict[str, Any]:
    """The content of `results.json`."""
    plan = results.plan
    return {
        "walk": plan.walk.name,
        "peyda": __version__,
        "complete": results.is_complete,
        "values": {name: plan.values[name] for name in plan.walk.values if plan.values[name]},
        "stages": [_stage_facts(plan, stage) for stage in results.stages],
    }


def relative(plan: Plan, path: str) -> str:
    """A path as seen from the directory of the walk, with slashes, where it is inside."""
    seen = os.path.relpath(path, plan.out)
    return path if seen.startswith(os.pardir) else seen.replace(os.sep, "/")


def _result(plan: Plan, ledger: Ledger, planned: PlannedStage, standing: Standing) -> StageResult:
    if standing.word != DONE:
        log = log_of(plan, planned)
        return StageResult(planned, standing, log=log if os.path.exists(log) else "")
    stage = planned.stage
    return StageResult(
        planned,
        standing,
        ledger.entry(planned.name).get("seconds"),
        _json(plan.path(stage.metrics)) if stage.metrics else None,
        _there(plan, stage.figures),
        next(iter(_there(plan, (stage.page,) if stage.page else ())), ""),
        log_of(plan, planned),
    )


def _there(plan: Plan, templates: Sequence[str]) -> tuple[str, ...]:
    """The paths that exist: figures do not where matplotlib is missing."""
    return tuple(path for path in map(plan.path, templates) if os.path.isfile(path))


def _json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):  # a stage that says it is done, and a file that says nothing: not worth a crash
        return None


def _stage_facts(plan: Plan, result: StageResult) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "stage": result.planned.name,
        "about": result.planned.stage.about,
        "state": result.standing.word,
        "why": result.standing.why,
    }
    if not result.planned.left_out:
        facts["command"] = command_line(result.planned.arguments)
        facts["outputs"] = [relative(plan, path) for path in result.planned.outputs]
    if result.seconds is not None:
        facts["seconds"] = result.seconds
    if result.page:
        facts["page"] = relative(plan, result.page)
    if result.figures:
        facts["figures"] = [relative(plan, path) for path in result.figures]
    if result.metrics is not None:
        facts["metrics"] = result.metrics
    return facts
