"""The part of `peyda demo` that a process cannot show: which port it serves on, and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from peyda import server
from peyda.cli import checks
from peyda.cli.main import main


@pytest.fixture
def served(
    monkeypatch: pytest.MonkeyPatch, private_home: Path, tiny_model_dir: Path, photo_dir: Path
) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []

    def serve(*arguments: Any, **_: Any) -> None:
        calls.append(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "serve", serve)
    monkeypatch.setenv("PEYDA_CONFIG", "")
    monkeypatch.setenv("PEYDA_HOME", str(private_home / "peyda"))
    monkeypatch.setenv("PEYDA_MODEL", str(tiny_model_dir))
    return calls


def test_a_taken_usual_port_is_no_obstacle(
    served: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, photo_dir: Path
) -> None:
    monkeypatch.setattr(checks, "is_port_free", lambda host, port: False)
    assert main(["demo", "--photos", str(photo_dir)]) == 0, "Ctrl-C is how a demo ends"
    assert served[0][1:] == ("127.0.0.1", 0)


def test_a_free_usual_port_is_taken(
    served: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, photo_dir: Path
) -> None:
    monkeypatch.setattr(checks, "is_port_free", lambda host, port: True)
    assert main(["demo", "--photos", str(photo_dir)]) == 0
    assert served[0][1:] == ("127.0.0.1", 8000)


def test_a_port_that_was_asked_for_is_not_exchanged(
    served: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, photo_dir: Path
) -> None:
    monkeypatch.setattr(checks, "is_port_free", lambda host, port: False)
    assert main(["demo", "--photos", str(photo_dir), "--port", "8765"]) == 0
    assert served[0][1:] == ("127.0.0.1", 8765)


def test_without_serving_nothing_listens(served: list[tuple[Any, ...]], photo_dir: Path) -> None:
    assert main(["demo", "--photos", str(photo_dir), "--no-serve"]) == 0
    assert served == []
