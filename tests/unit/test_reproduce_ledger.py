"""The ledger of a walk: when a stage counts as done, and when it does not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from peyda.errors import ConfigError, DataError
from peyda.reproduce import ledger as ledgers
from peyda.reproduce.ledger import BEGUN, CHANGED, DONE, FAILED, TO_DO, Ledger
from peyda.reproduce.planning import Plan, plan_walk
from peyda.reproduce.runner import _clear
from peyda.reproduce.walk import read_walk

WALK = """
title = "One step"
[values.photos]
about = "Folder."
path = true
[values.word]
about = "A word."
default = "one"
[[stage]]
name = "step"
about = "Does it."
command = ["report", "{photos}", "{word}"]
inputs = ["{photos}"]
outputs = ["{out}/made"]
scratch = ["{out}/run"]
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"a")
    (folder / "below" / "b.jpg").write_bytes(b"b")
    return folder


def planned(tmp_path: Path, photos: Path, out: Path, **given: str) -> Plan:
    path = tmp_path / "walk.toml"
    path.write_text(WALK, encoding="utf-8")
    out.mkdir(exist_ok=True)
    return plan_walk(read_walk(str(path)), {"photos": str(photos), **given}, str(out))


def do(plan: Plan, state: str = DONE) -> None:
    (stage,) = plan.stages
    ledger = Ledger(plan)
    ledger.begin(stage)
    (Path(plan.out) / "made").mkdir(exist_ok=True)
    (Path(plan.out) / "made" / "file").write_text("x")
    ledger.end(stage, state=state, seconds=1.0)


def word(plan: Plan) -> str:
    return Ledger(plan).standing(plan.stages[0]).word


def test_what_counts_as_a_change(tmp_path: Path, photos: Path) -> None:
    plan = planned(tmp_path, photos, tmp_path / "out")
    assert word(plan) == TO_DO
    do(plan)
    assert word(plan) == DONE
    assert word(planned(tmp_path, photos, tmp_path / "out", word="two")) == CHANGED
    (photos / "below" / "b.jpg").write_bytes(b"bb")
    assert Ledger(plan).standing(plan.stages[0]).why == f"{photos} has changed"
    do(plan)
    assert word(plan) == DONE
    (photos / "below" / "c.jpg").write_bytes(b"c")
    assert word(plan) == CHANGED
    do(plan)
    os.utime(tmp_path / "out" / "made" / "file", ns=(1, 1))
    assert Ledger(plan).standing(plan.stages[0]).why == "made is not as it was left"
    do(plan)
    (tmp_path / "out" / "made" / "file").unlink()
    (tmp_path / "out" / "made").rmdir()
    assert Ledger(plan).standing(plan.stages[0]).why == "made is gone"


def test_another_version_of_peyda_does_it_again(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path, photos, tmp_path / "out")
    do(plan)
    monkeypatch.setattr(ledgers, "__version__", "99.0")
    assert word(plan) == CHANGED


def test_results_inside_the_folder_that_is_read_are_no_change(tmp_path: Path, photos: Path) -> None:
    plan = planned(tmp_path, photos, photos / "out")
    do(plan)
    assert word(plan) == DONE
    (photos / "out" / "more").write_text("another stage's")
    assert word(plan) == DONE


def test_what_a_stage_keeps_survives_an_interruption_and_no_change(tmp_path: Path, photos: Path) -> None:
    plan = planned(tmp_path, photos, tmp_path / "out")
    (stage,) = plan.stages
    assert not Ledger(plan).begin(stage), "of what was there before the walk nothing is known"
    assert Ledger(plan).begin(stage), "the same again"
    assert word(plan) == BEGUN
    do(plan, FAILED)
    assert word(plan) == FAILED
    assert Ledger(plan).begin(stage)
    (photos / "a.jpg").write_bytes(b"aa")
    assert not Ledger(plan).begin(stage)
    Ledger(plan).forget(["step"])
    assert not Ledger(plan).begin(stage)
    (tmp_path / "out" / "run").mkdir()
    _clear(stage)
    assert not (tmp_path / "out" / "run").exists()


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ("{", DataError, "cannot be read"),
        ('{"version": 1, "walk": "walk", "stages": {"step": {}}}', DataError, "cannot be read"),
        ('{"version": 2, "walk": "walk", "stages": {}}', DataError, "newer Peyda"),
        ('{"version": 1, "walk": "other", "stages": {}}', ConfigError, "holds the walk other"),
    ],
)
def test_a_ledger_that_is_none(tmp_path: Path, photos: Path, content: str, kind: type[Exception], said: str) -> None:
    plan = planned(tmp_path, photos, tmp_path / "out")
    (tmp_path / "out" / "ledger.json").write_text(content)
    with pytest.raises(kind, match=said):
        Ledger(plan)


def test_the_ledger_is_never_half_there(tmp_path: Path, photos: Path) -> None:
    plan = planned(tmp_path, photos, tmp_path / "out")
    do(plan)
    assert json.loads((tmp_path / "out" / "ledger.json").read_text())["stages"]["step"]["state"] == DONE
    assert [one.name for one in (tmp_path / "out").iterdir() if one.name.endswith(".tmp")] == []
