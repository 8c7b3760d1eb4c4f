"""The documentation says what the code does, and the check that sees to it catches what it should."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from peyda.cli.main import VERBS
from peyda.config import OTHER_VARIABLES, SETTINGS, load_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def check_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_docs", ROOT / "scripts" / "check_docs.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_docs"] = module
    spec.loader.exec_module(module)
    return module


def test_the_documentation_is_well(check_docs: ModuleType) -> None:
    assert list(check_docs.problems(ROOT)) == []


def test_the_page_of_commands_is_what_they_say() -> None:
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    # In a process of its own: click keeps the help option of a command that another test called by itself, without -h.
    code = "import check_docs, sys; sys.stdout.buffer.write(check_docs.cli_page().encode())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, check=True)
    assert written == done.stdout.decode(), "run `make docs`"
    for verb in VERBS:
        assert f"\n## peyda {verb}\n" in written


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
def test_every_setting_is_documented(setting: object) -> None:
    name, variable = getattr(setting, "name", ""), getattr(setting, "variable", "")
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith(f"| `{name}` | `{variable}` |")]
    assert len(rows) == 1, f"add a row for `{name}` to docs/configuration.md"
    default = getattr(load_settings({"PEYDA_CONFIG": ""}), name)
    if isinstance(default, str | int) and not str(default).startswith("/"):
        assert f"`{default}`" in rows[0]


def test_no_setting_is_documented_that_does_not_exist() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(SETTINGS)


def test_every_other_variable_is_documented() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for variable in OTHER_VARIABLES:
        assert variable in page


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("`peyda serch x`", "no command 'serch'"),
        ("`peyda search x --colour red`", "no option --colour"),
        ("```sh\npeyda gallery polish\n```", "no command 'polish'"),
        ("```sh\ncd x && peyda index ~/Pictures --fast\n```", "no option --fast"),
        ("```sh\npeyda search 'x\n```", "cannot be read by a shell"),
        ("[a](missing.md)", "not there"),
        ("[a](#nowhere)", "no such heading"),
        ("[a](../outside.md)", "not there"),
        ("see /home/alice/photos", "machine path /home/alice/photos"),
        ("see `/root/x`", "machine path"),
    ],
)
def test_the_check_catches(check_docs: ModuleType, tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "README.md").write_text(f"# Title\n\n{text}\n", encoding="utf-8")
    found = list(check_docs.problems(tmp_path))
    assert len(found) == 1
    assert found[0].startswith("README.md: ")
    assert complaint in found[0]


def test_the_check_lets_good_pages_pass(check_docs: ModuleType, tmp_path: Path) -> None:
    text = """# Title of this

```sh
peyda index ~/Pictures   # --not-a-flag, only a comment
peyda search "سگ در برف" -k 20 --after 2023-01-01 | head
peyda gallery skipped --json > skipped.jsonl
$ peyda --debug doctor
```

[up](#title-of-this), [web](https://example.org/x#y), `peyda search "…" --gallery DIR`, `peyda gallery stats|verify`

```python
import peyda  # [no](link)
```
"""
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    assert list(check_docs.problems(tmp_path)) == []


def test_readme_names_only_make_targets_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for page in (ROOT / "README.md", ROOT / "docs" / "install.md"):
        named = set(re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
        assert named
        assert named <= targets


def pinned(lock: Path) -> dict[str, str]:
    """`name==version` → the rest of its entry: markers and hashes."""
    text = re.sub(r"^\s*#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    entries = [line.split(maxsplit=1) for line in text.splitlines()]
    assert all(re.fullmatch(r"[a-z0-9._-]+==[\w.+]+", entry[0]) for entry in entries), lock.name
    return {entry[0]: entry[1] for entry in entries}


LOCKS = sorted(path for path in (ROOT / "requirements").glob("*.txt") if path.name != "torch.txt")


def test_there_is_a_lock_for_every_purpose() -> None:
    assert {path.stem for path in LOCKS} == {"base", "demo", "check", "test", "setup"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_a_lock_names_no_index_and_has_hashes_for_everything(lock: Path) -> None:
    assert not re.search(r"https?://|index-url|find-links|file:", lock.read_text(encoding="utf-8"))
    entries = pinned(lock)
    assert len(entries) > 20
    for entry, rest in entries.items():
        assert "--hash=sha256:" in rest, entry
        assert not re.match(r"(torch|nvidia|triton|cuda)\b", entry), "torch comes apart, without accelerator libraries"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_locks_agree_on_versions(lock: Path) -> None:
    assert pinned(lock).keys() <= pinned(ROOT / "requirements" / "setup.txt").keys()
