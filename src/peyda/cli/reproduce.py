"""`peyda reproduce WALK`: a whole walk, from captions to curves; each walk is a command with options of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from peyda.cli.terminal import escaped, is_terminal, write_line
from peyda.errors import PeydaError
from peyda.reproduce.walk import Walk, read_walk, shipped_walks

if TYPE_CHECKING:
    from peyda.reproduce.planning import Plan
    from peyda.reproduce.results import Results
    from peyda.reproduce.runner import Choice

_SUFFIX = ".toml"


class Walks(click.Group):
    """A group whose commands are the walks that come with Peyda, and any TOML file that is named."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a walk; None where there is no such walk."""
        if cmd_name.endswith(_SUFFIX):
            return _command(cmd_name, read_walk(cmd_name))
        return super().get_command(ctx, cmd_name)


@click.group(cls=Walks)
def reproduce() -> None:
    """Go a whole walk, from captions to curves: one command that can be stopped anywhere and goes on there.

    Beside the walks listed here, the path of a TOML file that describes one may be given.

    \b
    Examples:
      peyda reproduce mini --images photos --captions captions.csv --out walk
      peyda reproduce original --out walk --dry-run
    """


def _command(name: str, walk: Walk) -> click.Command:
    def run(
        out: str, show_list: bool, is_dry: bool, from_stage: str, only: str, as_json: bool, **given: str | None
    ) -> None:
        from peyda.reproduce.planning import plan_walk
        from peyda.reproduce.runner import Choice

        plan = plan_walk(walk, {key: value for key, value in given.items() if value is not None}, out)
        choice = Choice(from_stage, only)
        if show_list or is_dry:
            _print_plan(plan, choice, as_json=as_json, with_commands=is_dry)
        else:
            _run(plan, choice, as_json=as_json)

    options: list[click.Parameter] = [_value_option(key, walk) for key in walk.values]
    return click.Command(name, callback=run, params=[*options, *_common_options(walk)], help=_help(walk))


def _help(walk: Walk) -> str:
    width = max(map(len, walk.stage_names()))
    stages = "\n".join(f"  {stage.name.ljust(width)}  {stage.about}" for stage in walk.stages)
    return f"{walk.title}\n\n{walk.about}\n\n\b\nStages:\n{stages}"


def _value_option(name: str, walk: Walk) -> click.Option:
    from peyda.reproduce.planning import option

    value = walk.values[name]
    shown = value.default.replace("{out}", "DIR").replace("{here}", "WALKS")
    note = "  [required]" if value.required else f"  [default: {shown}]" if shown else ""
    metavar = "PATH" if value.path else "TEXT"
    return click.Option([option(name), name], metavar=metavar, help=value.about + note)


def _common_options(walk: Walk) -> list[click.Parameter]:
    return [
        click.Option(
            ["--out"],
            metavar="DIR",
            default=os.path.join("reproduced", walk.name),
            show_default=True,
            help="Where everything goes: index.html, results.json, logs/.",
        ),
        click.Option(["--list", "show_list"], is_flag=True, help="List the stages and where they stand; run nothing."),
        click.Option(["--dry-run", "is_dry"], is_flag=True, help="Show the commands that would run; run nothing."),
        click.Option(
            ["--from", "from_stage"], metavar="STAGE", default="", help="Do this stage and all after it again."
        ),
        click.Option(["--only"], metavar="STAGE", default="", help="Do this stage, again, and no other."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print JSON for programs instead of text for people."),
    ]


def _print_plan(plan: Plan, choice: Choice, *, as_json: bool, with_commands: bool) -> None:
    from peyda.cli.row_progress import aligned
    from peyda.reproduce.runner import command_line, standings

    found = standings(plan, choice)
    if as_json:
        facts = [
            {
                "stage": stage.name,
                "about": stage.stage.about,
                "state": standing.word,
                "why": standing.why,
                "command": None if stage.left_out else command_line(stage.arguments),
            }
            for stage, standing in found
        ]
        write_line(sys.stdout, json.dumps(facts))
        return
    rows = [[one.name, standing.word, escaped(standing.why or one.stage.about)] for one, standing in found]
    if not with_commands:
        for line in aligned(rows, left=3):
            write_line(sys.stdout, line.rstrip())
        return
    for stage, standing in found:
        chosen = not choice.only or stage.name == choice.only
        if standing.is_done or not chosen:
            word = standing.word if chosen else "not asked for"
            write_line(sys.stdout, f"# {stage.name}: {word}" + (f": {escaped(standing.why)}" if standing.why else ""))
        else:
            write_line(sys.stdout, f"# {stage.name}: {stage.stage.about}")
            write_line(sys.stdout, escaped(command_line(stage.arguments)))


def _run(plan: Plan, choice: Choice, *, as_json: bool) -> None:
    from peyda.reproduce.results import gather, write_results
    from peyda.reproduce.runner import run_walk

    failure: BaseException | None = None
    try:
        run_walk(plan, choice, say=_say, show=_shower(), is_watched=is_terminal(sys.stderr))
    except (PeydaError, KeyboardInterrupt) as error:
        failure = error
        if not os.path.exists(os.path.join(plan.out, "ledger.json")):
            raise  # nothing was begun, so there is nothing to show
    try:
        results = gather(plan)
        page = write_results(results)
    except PeydaError:
        if failure is not None:
            raise failure from None
        raise
    if isinstance(failure, KeyboardInterrupt):
        write_line(sys.stderr, "stopped: run the same command again, and it goes on from here")
    if failure is not None:
        raise failure
    _report(results, page, as_json=as_json)


def _report(results: Results, page: str, *, as_json: bool) -> None:
    from peyda.reproduce.results import to_dict

    if as_json:
        write_line(sys.stdout, json.dumps(to_dict(results)))
        return
    open_stages = [one.planned.name for one in results.stages if not one.standing.is_done]
    state = f"still to do: {', '.join(open_stages)}" if open_stages else "the walk is complete"
    write_line(sys.stdout, f"{state}; all results on one page: {escaped(page)}")


def _say(line: str) -> None:
    write_line(sys.stderr, escaped(line))
    sys.stderr.flush()


def _shower() -> Callable[[bytes], None]:
    """Passes on what a stage says as it is; its own command has made it safe for a terminal."""
    binary: Any = getattr(sys.stderr, "buffer", None)

    def show(text: bytes) -> None:
        if binary is None:  # a stream that a host program put in its place
            sys.stderr.write(text.decode("utf-8", "replace"))
        else:
            binary.write(text)
            binary.flush()

    return show


for _name, _path in shipped_walks().items():  # two small files; every other import of this verb waits until it runs
    reproduce.add_command(_command(_name, read_walk(_path)))
