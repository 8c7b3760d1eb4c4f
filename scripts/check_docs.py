"""Checks that the documentation says what the code does; `--write` writes docs/cli.md anew first.

Four rules: docs/cli.md is what `--help` says; every `peyda …` command in README and docs has a verb and flags that
exist; local links lead somewhere; no page names a path of one machine. Each breach is one line, and the exit status
is 1 when there is any.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import click

from peyda.cli import exit_codes
from peyda.cli.main import VERBS, root

ROOT = Path(__file__).resolve().parent.parent
CLI_PAGE = Path("docs/cli.md")

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
_CODE_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_MACHINE_PATH = re.compile(r"(?<![\w.~:/])/(?:root|home/(?!you\b|someone\b)\w+|Users/\w+|tmp/\w)\S*")


def pages(root_dir: Path) -> list[Path]:
    """README, changelog and everything under docs/, relative to `root_dir`."""
    found = [*root_dir.glob("*.md"), *root_dir.glob("docs/**/*.md")]
    return sorted(path.relative_to(root_dir) for path in found)


def cli_page() -> str:
    """docs/cli.md: the help of every command, and the exit statuses."""
    parts = [
        "# The command line\n",
        "Written by `make docs` from the commands' own help; do not edit by hand.\n",
    ]
    parts += [_section("peyda", root)]
    for verb in VERBS:
        parts += [_section(f"peyda {path}", command) for path, command in _walk(verb, _command(verb))]
    table = (exit_codes.__doc__ or "").split("\n\n", 1)[1].strip()
    parts += ["## Exit statuses\n", table + "\n"]
    return "\n".join(parts)


def _section(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
    context.help_option_names = ["-h", "--help"]
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"## {path}\n\n```text\n{text}\n```\n"


def _command(verb: str) -> click.Command:
    command = root.get_command(click.Context(root), verb)
    if command is None:
        raise LookupError(verb)
    return command


def _walk(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _walk(f"{path} {name}", child)


def commands_in(text: str) -> Iterator[str]:
    """Every `peyda …` command line in shell blocks and inline code."""
    blocks = [
        body for language, body in _CODE_BLOCK.findall(text) if language in {"", "sh", "bash", "shell", "console"}
    ]
    lines = [line.strip().removeprefix("$ ") for body in blocks for line in body.replace("\\\n", " ").splitlines()]
    lines += _INLINE_CODE.findall(_CODE_BLOCK.sub("", text))
    for line in lines:
        for part in re.split(r"&&|\|\||;|\|(?=\s)", line):
            if re.match(r"peyda(\s|$)", part.strip()):
                yield part.strip()


def command_problem(line: str) -> str | None:
    """What is wrong with one command line; None when its verb and flags exist."""
    try:
        words = shlex.split(line, comments=True)[1:]
    except ValueError as error:
        return f"cannot be read by a shell: {error}"
    known = _flags(root)
    command: click.Command = root
    for word in words:
        if word in {"…", "..."} or word.startswith(">"):
            break
        if word.startswith("-") and len(word) > 1:
            if word.split("=")[0] not in known:
                return f"has no option {word}"
        elif isinstance(command, click.Group):
            child = command.get_command(click.Context(command), word) if re.fullmatch(r"[\w-]+", word) else None
            if child is None:
                if re.fullmatch(r"[a-z]+(\|[a-z]+)+", word):
                    break
                return f"has no command {word!r}"
            command, known = child, _flags(child)
    return None


def _flags(command: click.Command) -> set[str]:
    options = [param for param in command.params if isinstance(param, click.Option)]
    return {"-h", "--help"} | {flag for option in options for flag in (*option.opts, *option.secondary_opts)}


def anchor(heading: str) -> str:
    """The anchor that hosts of Markdown give to a heading."""
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def link_problem(page: Path, target: str, root_dir: Path) -> str | None:
    """What is wrong with one link of `page`; None when it leads somewhere, or elsewhere on the web."""
    if re.match(r"[a-z][a-z0-9+.-]*:", target):
        return None
    path, _, fragment = unquote(target).partition("#")
    place = (root_dir / page).parent / path if path else root_dir / page
    if not place.exists():
        return f"links to {target}, which is not there"
    if not place.resolve().is_relative_to(root_dir.resolve()):
        return f"links to {target}, which is outside the project"
    if fragment and place.suffix == ".md":
        headings = {anchor(heading) for heading in _HEADING.findall(place.read_text(encoding="utf-8"))}
        if fragment not in headings:
            return f"links to {target}, but there is no such heading"
    return None


def problems(root_dir: Path) -> Iterator[str]:
    """Every breach, as "page: what"."""
    for page in pages(root_dir):
        text = (root_dir / page).read_text(encoding="utf-8")
        for target in _LINK.findall(_CODE_BLOCK.sub("", text)):
            if problem := link_problem(page, target, root_dir):
                yield f"{page}: {problem}"
        for line in commands_in(text):
            if problem := command_problem(line):
                yield f"{page}: `{line}` {problem}"
        here = re.escape(str(ROOT)) + r"\S*"
        for path in [*_MACHINE_PATH.findall(text), *re.findall(here, text)]:
            yield f"{page}: names the machine path {path}"


def main(arguments: list[str]) -> int:
    """Check, and with `--write` write docs/cli.md first."""
    written = cli_page()
    page = ROOT / CLI_PAGE
    if "--write" in arguments:
        page.write_text(written, encoding="utf-8")
    found = list(problems(ROOT))
    if not page.exists() or page.read_text(encoding="utf-8") != written:
        found.append(f"{CLI_PAGE}: is not what the commands' help says; run `make docs`")
    for problem in found:
        print(problem, file=sys.stderr)
    if not found:
        print(f"documentation: {len(pages(ROOT))} pages are well")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
