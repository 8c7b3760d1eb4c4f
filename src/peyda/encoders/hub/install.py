"""A model from a source into the user's directory of models: whole and checked, or not at all.

Files are brought into a folder of their own, each under its checksum, so that a run that was killed goes on where it
stopped and a file of another revision is never taken for one of this. Then the model directory is built beside the
others, `config.json` (which makes it a model, and holds the manifest) last, and moved to its place in one step.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peyda.encoders.directory import ModelInfo, read_model_info, read_preprocess_config, sha256_of
from peyda.encoders.hub.fetch import is_as_announced
from peyda.encoders.hub.installed import check_name, storage, workplace
from peyda.encoders.hub.layout import CONFIG, SourceFile, check_content, read_object
from peyda.encoders.hub.source import Source, Wanted
from peyda.errors import ModelError, StorageError

_MARGIN_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull is. `done_bytes` counts what was there before, too."""

    done_bytes: int
    total_bytes: int
    done_files: int
    total_files: int


def install(
    source: Source,
    name: str,
    directory: Path,
    *,
    licence: str = "",
    description: str = "",
    force: bool = False,
    progress: Callable[[PullProgress], None] = lambda _: None,
) -> ModelInfo:
    """Bring a model here.

    Args:
        source: Where it comes from.
        name: What it is called here.
        directory: The user's models; made where it is missing.
        licence: Written into the manifest.
        description: Likewise, where the model does not bring one of its own.
        force: Replace a model of that name. Files of it that are what the source has are not brought again.
        progress: Called as bytes come, from any thread.

    Returns:
        The installed model.

    Raises:
        ModelError: It cannot be had, is damaged or no usable model; or there is one of that name.
        ConfigError: The name cannot be one.
        StorageError: The disk is full, or cannot be written.
    """
    check_name(name)
    target = directory / name
    with storage(directory), workplace(directory, name) as work:
        _recover(work, target)
        if target.exists() and not force:
            raise ModelError(
                f"there is a model {name} already", hint="--force replaces it, --name OTHER puts the new one beside it"
            )
        parts = _gather(source, work, target if target.is_dir() else None, progress)
        built = _build(source, parts, work / "model", name, licence, description)
        _replace(built, target, work / "old")
    return read_model_info(target)


def _gather(
    source: Source, work: Path, installed: Path | None, progress: Callable[[PullProgress], None]
) -> dict[str, Path]:
    """Bring all files into the workplace; path → the whole file."""
    blobs = work / "files"
    if not source.is_resumable:
        shutil.rmtree(blobs, ignore_errors=True)
    blobs.mkdir(parents=True, exist_ok=True)
    parts = {file.path: blobs / _key(file) for file in source.files}
    known = {path.name for path in parts.values()}
    for path in blobs.iterdir():  # left by a pull of another revision
        if path.name.removesuffix(".etag").removesuffix(".part") not in known:
            path.unlink()
    if installed is not None:
        _reuse(source, installed, parts)
    wanted = {parts[file.path].name: Wanted(file, _part(parts[file.path])) for file in source.files}
    missing = [one for key, one in wanted.items() if not (blobs / key).exists()]
    _check_space(work, missing)
    counter = _Counter(source, parts, progress)

    def done(one: Wanted) -> None:
        os.replace(one.part, parts[one.file.path])
        counter.finished(one.file)

    source.bring(missing, counter.report, done)
    return parts


def _key(file: SourceFile) -> str:
    if file.sha256 or file.git_sha1:
        return f"sha256-{file.sha256}" if file.sha256 else f"git-{file.git_sha1}-{file.size_bytes}"
    return f"path-{hashlib.sha256(file.path.encode()).hexdigest()}"


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _reuse(source: Source, installed: Path, parts: dict[str, Path]) -> None:
    """Take over what the model that is to be replaced has whole."""
    for file in source.files:
        old, new = installed / file.path, parts[file.path]
        if file.path == CONFIG or new.exists() or not (file.sha256 or file.git_sha1) or not old.is_file():
            continue
        if is_as_announced(old, file):
            _link(old, new)


def _link(old: Path, new: Path) -> None:
    """The same content under another name: a hard link where the disk has such, otherwise a copy."""
    try:
        os.link(old, new)
    except OSError:
        temporary = new.with_name(new.name + ".part")
        shutil.copyfile(old, temporary)
        os.replace(temporary, new)


def _check_space(work: Path, missing: list[Wanted]) -> None:
    needed = sum(one.file.size_bytes - _size(one.part) for one in missing)
    free = shutil.disk_usage(work).free
    if needed and needed + _MARGIN_BYTES > free:
        raise StorageError(
            f"{needed / 1e9:.2f} GB are to come, and {free / 1e9:.2f} GB are free where models are kept",
            hint="free some space, or keep models elsewhere: the setting models (PEYDA_MODELS)",
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class _Counter:
    """Adds up what the files report; thread-safe."""

    def __init__(self, source: Source, parts: dict[str, Path], progress: Callable[[PullProgress], None]) -> None:
        self._lock = threading.Lock()
        self._progress = progress
        self._total = sum(file.size_bytes for file in source.files)
        self._files = len(source.files)
        self._done = {file.path: file.size_bytes for file in source.files if parts[file.path].exists()}
        self._finished = set(self._done)
        self._tell()

    def report(self, file: SourceFile, size: int) -> None:
        with self._lock:
            self._done[file.path] = size
            self._tell()

    def finished(self, file: SourceFile) -> None:
        with self._lock:
            self._done[file.path] = file.size_bytes
            self._finished.add(file.path)
            self._tell()

    def _tell(self) -> None:
        self._progress(PullProgress(sum(self._done.values()), self._total, len(self._finished), self._files))


def _build(source: Source, parts: dict[str, Path], model: Path, name: str, licence: str, description: str) -> Path:
    """A model directory out of whole files; usable, or an error."""
    shutil.rmtree(model, ignore_errors=True)
    for path, part in parts.items():
        if path != CONFIG:
            (model / path).parent.mkdir(parents=True, exist_ok=True)
            _link(part, model / path)
    check_content(model, [path for path in parts if path != CONFIG], source.label)
    config = read_object(parts[CONFIG], source.label)
    own = config.get("peyda")
    own = dict(own) if isinstance(own, dict) else {}
    own |= {"name": name, "description": str(own.get("description") or description)}
    own |= {"licence": str(own.get("licence") or licence), "source": source.record}
    # The card and the licence may be edited; only what the towers are made of is held to its checksum.
    own["files"] = {file.path: _entry(file, model) for file in source.files if "/" in file.path}
    _write_config(model / CONFIG, config | {"peyda": own})
    try:
        read_model_info(model)
        read_preprocess_config(model)
    except ModelError as error:
        raise ModelError(f"{source.label} is no usable model: {error.message}", hint="choose another one") from error
    return model


def _entry(file: SourceFile, model: Path) -> dict[str, Any]:
    return {"sha256": file.sha256 or sha256_of(model / file.path), "size_bytes": file.size_bytes}


def _write_config(path: Path, config: dict[str, Any]) -> None:
    temporary = path.with_name(".config.json.part")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(config, file, ensure_ascii=False, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _replace(built: Path, target: Path, old: Path) -> None:
    """Move a finished model to its place; `_recover` undoes half of this if it is killed in the middle."""
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.rename(target, old)
    os.rename(built, target)
    _sync(target.parent)


def _recover(work: Path, target: Path) -> None:
    if (work / "old").is_dir() and not target.exists():
        os.rename(work / "old", target)


def _sync(folder: Path) -> None:
    with suppress(OSError):  # not every file system can sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
