"""What is done: `ledger.json` in the directory of a walk, written anew (beside its place, then renamed) at every step.

A stage is done when the ledger says so, nothing of its fingerprint has changed since (its command, what it reads,
Peyda's version), and what it wrote is there as it left it. Files are told by size and time of change, directories by
those of everything in them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from peyda._version import __version__
from peyda.errors import ConfigError, DataError, StorageError
from peyda.reproduce.planning import Plan, PlannedStage, is_path

LEDGER = "ledger.json"
_VERSION = 1

TO_DO = "to do"
BEGUN = "begun"
FAILED = "failed"
DONE = "done"
CHANGED = "changed"
LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a stage stands: one of the words above, and why."""

    word: str
    why: str = ""

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to do."""
        return self.word in {DONE, LEFT_OUT}


class Ledger:
    """What the walk of a directory has done so far.

    Args:
        plan: The walk.

    Raises:
        ConfigError: The directory holds another walk.
        DataError: Its ledger cannot be read, or is of a newer Peyda.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._path = os.path.join(plan.out, LEDGER)
        self._entries = self._read()

    def entry(self, name: str) -> Mapping[str, Any]:
        """What is known of a stage; empty where nothing is."""
        return self._entries.get(name, {})

    def standing(self, stage: PlannedStage) -> Standing:
        """Where a stage stands now."""
        if stage.left_out:
            return Standing(LEFT_OUT, stage.left_out)
        entry = self.entry(stage.name)
        if not entry:
            return Standing(TO_DO)
        if changed := self._change(stage, entry):
            return Standing(CHANGED, changed)
        if entry["state"] != DONE:
            return Standing(entry["state"], "goes on where it stopped")
        for path, mark in entry["outputs"].items():
            now = self._mark(os.path.join(self._plan.out, path))
            if now != mark:
                return Standing(CHANGED, f"{path} {'is gone' if now is None else 'is not as it was left'}")
        return Standing(DONE)

    def begin(self, stage: PlannedStage) -> bool:
        """Note that a stage begins; whether it goes on with the same work, so that what it keeps is of use."""
        entry = self.entry(stage.name)
        is_same = bool(entry) and not self._change(stage, entry)
        self._entries[stage.name] = {"state": BEGUN, **self._fingerprint(stage)}
        self._write()
        return is_same

    def end(self, stage: PlannedStage, *, state: str, seconds: float) -> None:
        """Note how a stage ended."""
        outputs = {os.path.relpath(path, self._plan.out): self._mark(path) for path in stage.outputs}
        self._entries[stage.name] |= {
            "state": state,
            "seconds": round(seconds, 1),
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "outputs": outputs if state == DONE else {},
        }
        self._write()

    def forget(self, names: Sequence[str]) -> None:
        """Have stages done again, from their start."""
        for name in names:
            self._entries.pop(name, None)
        self._write()

    def _change(self, stage: PlannedStage, entry: Mapping[str, Any]) -> str:
        """What has changed since a stage was begun, in words; "" where nothing has."""
        now = self._fingerprint(stage)
        if entry.get("command") != now["command"]:
            return "another command"
        if entry.get("peyda") != now["peyda"]:
            return f"done by Peyda {entry.get('peyda')}"
        before = entry.get("inputs", {})
        names = [name for name in {**before, **now["inputs"]} if before.get(name) != now["inputs"].get(name)]
        return f"{names[0]} has changed" if names else ""

    def _fingerprint(self, stage: PlannedStage) -> dict[str, Any]:
        inputs = {self._name(path): self._mark(path) if is_path(path) else None for path in stage.inputs}
        return {"command": list(stage.identity), "inputs": inputs, "peyda": __version__}

    def _name(self, path: str) -> str:
        """A path by a name that stays when the directory of the walk is moved."""
        if not is_path(path):
            return path
        relative = os.path.relpath(path, self._plan.out)
        return os.path.abspath(path) if relative.startswith(os.pardir) else relative

    def _mark(self, path: str) -> list[Any] | None:
        """What tells one content of a file or directory from another; None where there is neither.

        A list, as JSON gives it back. Of a directory that holds the walk's own, that part does not count.
        """
        try:
            facts = os.stat(path)
            if not os.path.isdir(path):
                return [facts.st_size, facts.st_mtime_ns]
            return _directory_mark(path, os.path.realpath(self._plan.out))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot look at {path}: {error.strerror or error}") from error

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            with open(self._path, encoding="utf-8") as file:
                content = json.load(file)
            version, walk, stages = content["version"], content["walk"], dict(content["stages"])
            states = {name: one["state"] for name, one in stages.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{self._path} cannot be read: {error}", hint="delete it to begin anew; the stages' files stay"
            ) from error
        if version != _VERSION:
            raise DataError(f"{self._path} was written by a newer Peyda", hint="pip install --upgrade peyda")
        if walk != self._plan.walk.name:
            raise ConfigError(f"{self._plan.out} holds the walk {walk}", hint="give --out another directory")
        return {name: stages[name] for name in states}

    def _write(self) -> None:
        content = {"version": _VERSION, "walk": self._plan.walk.name, "stages": self._entries}
        temporary = f"{self._path}.{os.getpid()}.tmp"
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
        except OSError as error:
            raise StorageError(
                f"cannot write {self._path}: {error.strerror or error}",
                hint="free some space or make it writable, then run the same command again",
            ) from error


def _directory_mark(path: str, without: str) -> list[Any]:
    digest = hashlib.blake2b(digest_size=16)
    files = size = 0
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(one for one in folders if os.path.realpath(os.path.join(folder, one)) != without)
        for name in sorted(names):
            whole = os.path.join(folder, name)
            try:
                facts = os.stat(whole)
            except FileNotFoundError:  # a link that leads nowhere, or gone this moment
                continue
            files, size = files + 1, size + facts.st_size
            relative = os.path.relpath(whole, path).encode("utf-8", "surrogateescape")
            digest.update(b"%s\0%d %d\0" % (relative, facts.st_size, facts.st_mtime_ns))
    return [files, size, digest.hexdigest()]
