"""Walk files: what is read, what is refused, how values become command lines, and what takes no part."""

from __future__ import annotations

import tomllib
from pathlib import Path

import click
import pytest

from peyda.errors import ConfigError, DataError
from peyda.reproduce.planning import check_sources, plan_walk
from peyda.reproduce.walk import read_walk, shipped_walks

GOOD = """
title = "Two steps"

[values.table]
about = "Captions."
path = true
required = true

[values.engine]
about = "Who translates."
default = "mini"

[values.model]
about = "Its model."

[values.extra_set]
about = "Another set."
path = true

[[stage]]
name = "translate"
about = "Into Persian."
command = ["translate", "{table}", "--out", "{out}/fa.csv", "--engine", "{engine}", ["--model", "{model}"]]
inputs = ["{table}"]
outputs = ["{out}/fa.csv"]

[[stage]]
name = "extra"
about = "The other set."
command = ["captions", "convert", "{extra_set}", "{out}/extra.csv"]
only_with = ["extra_set"]
inputs = ["{extra_set}"]
outputs = ["{out}/extra.csv"]

[[stage]]
name = "report"
about = "Show it."
command = ["report", "{out}/fa.csv", ["{out}/extra.csv"], "--out", "{out}/report"]
inputs = ["{out}/fa.csv", "{out}/extra.csv"]
outputs = ["{out}/report"]
page = "{out}/report/report.html"

[[stage]]
name = "show-extra"
about = "Show the other alone."
command = ["report", "{out}/extra.csv", "--out", "{out}/extra-report"]
inputs = ["{out}/extra.csv"]
outputs = ["{out}/extra-report"]
"""


@pytest.fixture
def walk_file(tmp_path: Path) -> Path:
    path = tmp_path / "steps.toml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def test_values_become_arguments(walk_file: Path) -> None:
    plan = plan_walk(read_walk(str(walk_file)), {"table": "in.csv", "engine": "google", "model": "m"}, "o")
    (translate, extra, report, show) = plan.stages
    assert translate.arguments == (
        "translate", "in.csv", "--out", "o/fa.csv", "--engine", "google", "--model", "m"
    )  # fmt: skip
    assert translate.inputs == ("in.csv",)
    assert extra.left_out == "--extra-set is not given"
    assert report.arguments == ("report", "o/fa.csv", "--out", "o/report"), "the optional part goes with its stage"
    assert report.inputs == ("o/fa.csv",)
    assert show.left_out == "extra is left out"


def test_what_is_given_takes_part(walk_file: Path) -> None:
    plan = plan_walk(read_walk(str(walk_file)), {"table": "in.csv", "extra_set": "set:coco"}, "o")
    assert [stage.left_out for stage in plan.stages] == [""] * 4
    assert plan.stages[0].arguments[-2:] == ("--engine", "mini")
    assert plan.stages[2].arguments == ("report", "o/fa.csv", "o/extra.csv", "--out", "o/report")


def test_a_path_that_looks_like_an_option_is_none(walk_file: Path) -> None:
    plan = plan_walk(read_walk(str(walk_file)), {"table": "-in.csv"}, "o")
    assert plan.stages[0].arguments[1] == "./-in.csv"


def test_the_same_work_from_elsewhere_is_the_same(
    walk_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    walk = read_walk(str(walk_file))
    here = plan_walk(walk, {"table": "in.csv"}, "o")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    there = plan_walk(walk, {"table": "../in.csv"}, "../moved")
    assert [one.identity for one in here.stages] == [one.identity for one in there.stages]
    assert here.stages[0].arguments != there.stages[0].arguments


def test_what_is_required_must_be_given(walk_file: Path) -> None:
    with pytest.raises(ConfigError, match="needs --table"):
        plan_walk(read_walk(str(walk_file)), {}, "o")


def test_what_is_read_must_be_there_before_anything_runs(walk_file: Path, tmp_path: Path) -> None:
    walk = read_walk(str(walk_file))
    with pytest.raises(DataError, match="which the stage translate reads"):
        check_sources(plan_walk(walk, {"table": str(tmp_path / "no.csv")}, str(tmp_path / "o")))
    (tmp_path / "in.csv").write_text("image\n")
    check_sources(plan_walk(walk, {"table": str(tmp_path / "in.csv"), "extra_set": "set:coco"}, str(tmp_path / "o")))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "Two steps"', 'titel = "Two steps"', "title is missing"),
        ('title = "Two steps"', 'title = "x"\nextra = 1', "unknown key extra"),
        ("required = true", "requierd = true", "unknown key values.table.requierd"),
        ("required = true", 'required = "yes"', "values.table.required must be true or false"),
        ('default = "mini"', 'default = "{engin}"', "no value engin"),
        ("[values.model]", "[values.out]", "values.out is no name"),
        ("[values.model]", "[values.Model]", "values.Model is no name"),
        ('name = "report"', 'name = "translate"', "stage translate: the name is taken"),
        ('name = "report"', 'name = "Re port"', "stage Re port"),
        ('["--model", "{model}"]', '["--model", 3]', "command holds strings"),
        ('["--model", "{model}"]', '["--model", "{modell}"]', "no value modell"),
        ('command = ["report", "{out}/fa.csv",', 'comand = ["report", "{out}/fa.csv",', "command is missing"),
        ('inputs = ["{out}/fa.csv", "{out}/extra.csv"]', 'inputs = ["{out}/fb.csv"]', "no earlier stage writes"),
        ('outputs = ["{out}/report"]', "outputs = []", "no outputs"),
        ('page = "{out}/report/report.html"', 'page = "{out}/other.html"', "not among its outputs"),
        ('page = "{out}/report/report.html"', 'scratch = ["{table}"]', "is not inside {out}"),
        ('page = "{out}/report/report.html"', 'scratch = ["{out}/../x"]', "is not inside {out}"),
        ('page = "{out}/report/report.html"', 'only_with = ["nothing"]', "no value nothing"),
        ("[[stage]]", "[[stage", "is not TOML"),
    ],
)
def test_mistakes_in_a_walk_are_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    path = tmp_path / "wrong.toml"
    path.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_walk(str(path))
    assert said in caught.value.message
    assert caught.value.hint


def test_an_unknown_key_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(GOOD.replace('page = "', 'pgae = "'), encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown key stage report: pgae") as caught:
        read_walk(str(path))
    assert "page" in caught.value.hint
    assert "scratch" in caught.value.hint


def test_a_walk_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the walk") as caught:
        read_walk(str(tmp_path / "none.toml"))
    assert "mini" in caught.value.hint


def test_packages_that_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "needy.toml"
    needy = GOOD.replace('page = "{out}/report/report.html"', 'packages = ["no_such_package"]\nextra = "train"')
    path.write_text(needy, encoding="utf-8")
    with pytest.raises(ConfigError, match="the stage report needs no_such_package") as caught:
        plan_walk(read_walk(str(path)), {"table": "t"}, "o")
    assert "peyda[train]" in caught.value.hint
    path.write_text(needy.replace('extra = "train"', 'extra = "train"\noptional = true'), encoding="utf-8")
    plan = plan_walk(read_walk(str(path)), {"table": "t"}, "o")
    assert "no_such_package is not installed: pip install 'peyda[train]'" in plan.stages[2].left_out


def _command(arguments: tuple[str, ...]) -> tuple[click.Command, list[str]]:
    """The command that a stage calls, and what it is given."""
    from peyda.cli.main import root

    command: click.Command = root
    rest = list(arguments)
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest.pop(0))
        assert found is not None, arguments
        command = found
    return command, rest


@pytest.mark.parametrize("name", ["mini", "original"])
@pytest.mark.parametrize("is_full", [False, True])
def test_the_shipped_walks_call_commands_that_exist(name: str, is_full: bool) -> None:
    """Each stage's line parses with the command's own options."""
    walk = read_walk(shipped_walks()[name])
    given = {key: "x" for key, value in walk.values.items() if value.required or (is_full and not value.default)}
    for stage in plan_walk(walk, given, "o").taking_part():
        command, rest = _command(stage.arguments)
        context = command.make_context(command.name, rest, resilient_parsing=False)
        assert context.args == []


@pytest.mark.parametrize("name", ["mini", "original"])
def test_the_shipped_walks_are_whole(name: str) -> None:
    path = shipped_walks()[name]
    walk = read_walk(path)
    for value in walk.values.values():
        assert value.about.endswith("."), "a sentence for --help"
        if value.default.startswith("{here}/"):
            assert (Path(path).parent / value.default.removeprefix("{here}/")).is_file()
    assert all(stage.about.endswith((".", "?")) for stage in walk.stages)


def test_the_recipe_of_the_original_is_the_one_of_the_repository() -> None:
    own = Path(shipped_walks()["original"]).parent / "recipes" / "original.toml"
    other = Path(__file__).parents[2] / "recipes" / "original.toml"
    assert tomllib.loads(own.read_text("utf-8")) == tomllib.loads(other.read_text("utf-8"))
