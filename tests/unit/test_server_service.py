"""What runs behind the addresses: the background task, and the command that the empty page shows."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import CapacityLimiter, to_thread

from peyda.errors import EngineError
from peyda.gallery.directory import GalleryDirectory
from peyda.server.service import Service, index_command, keep_store_tidy


class TidyingService(Service):
    """Counts how often it is asked to tidy up; fails the first time."""

    def __init__(self) -> None:
        self.is_stopping = threading.Event()
        self.calls = 0

    def tidy(self) -> None:
        self.calls += 1
        if self.calls == 1:
            raise EngineError("no memory for the index")

    async def run(self, limiter: CapacityLimiter, work: Callable[..., Any], *args: Any) -> Any:
        assert limiter.total_tokens == 1
        return await to_thread.run_sync(work, *args, limiter=limiter)


def test_the_store_is_tidied_again_and_again_whatever_fails(caplog: pytest.LogCaptureFixture) -> None:
    service = TidyingService()

    async def watch() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: keep_store_tidy(service, every_s=0.001, after_failure_s=0.001))
            with anyio.fail_after(20):
                while service.calls < 3:
                    await anyio.sleep(0.005)
            group.cancel_scope.cancel()

    anyio.run(watch)
    assert "no memory for the index" in caplog.text


def test_tidying_asks_the_store_and_can_be_stopped(tmp_path: Path, tiny_encoder: Any) -> None:
    service = Service(GalleryDirectory.create(tmp_path / "gallery", tiny_encoder), tiny_encoder)
    asked: list[bool] = []
    service.searcher.store.optimize = lambda should_stop: asked.append(should_stop())  # type: ignore[attr-defined]
    service.tidy()
    service.is_stopping.set()
    service.tidy()
    service.close()
    assert asked == [False, True]


def test_the_index_command_can_be_typed_as_it_is(
    tmp_path: Path, tiny_encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = GalleryDirectory.create(tmp_path / "my gallery", tiny_encoder)
    assert shlex.split(index_command(made)) == ["peyda", "index", "~/Pictures", "--gallery", str(made.path)]
    monkeypatch.setattr("peyda.server.service.default_gallery_dir", lambda: made.path)
    assert index_command(made) == "peyda index ~/Pictures"
