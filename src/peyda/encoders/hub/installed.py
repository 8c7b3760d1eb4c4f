"""Models that are in the user's directory: their names, their manifests, their removal, and one process at a time."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from peyda.encoders.directory import read_json, sha256_of
from peyda.encoders.hub.layout import CONFIG
from peyda.encoders.registry import embedded_models_dir
from peyda.errors import ConfigError, ModelError, StorageError

_WORK = ".pulling"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


def check_name(name: str) -> None:
    """Refuse what cannot name a model of the user's.

    Raises:
        ConfigError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name a model", hint="use Latin letters, digits and . _ + -, such as --name my-model"
        )
    if (embedded_models_dir() / name).is_dir():
        raise ConfigError(
            f"{name} is the name of a model that comes with the package", hint="choose another one with --name"
        )


def installed_source(directory: Path) -> dict[str, str]:
    """Where an installed model was pulled from; empty for one that was not."""
    own = read_json(directory / CONFIG).get("peyda")
    record = own.get("source") if isinstance(own, dict) else None
    return {str(key): str(value) for key, value in record.items()} if isinstance(record, dict) else {}


def damaged_files(directory: Path) -> list[str]:
    """Files of an installed model that are not what its manifest recorded; empty when all are.

    Raises:
        ModelError: It is no model, or has no manifest to compare with.
    """
    own = read_json(directory / CONFIG).get("peyda")
    files = own.get("files") if isinstance(own, dict) else None
    if not isinstance(files, dict) or not files:
        raise ModelError(
            f"{directory} recorded no checksums, so there is nothing to compare with",
            hint="peyda models pull DIR --name NAME makes a copy that has them",
        )
    return [
        name
        for name, entry in files.items()
        if not (directory / name).is_file() or sha256_of(directory / name) != entry.get("sha256")
    ]


def remove_model(name: str, directory: Path) -> Path:
    """Delete one of the user's own models, and what an unfinished pull of it left.

    Raises:
        ModelError: There is none of that name.
        StorageError: It cannot be deleted.
    """
    target, work = directory / name, directory / _WORK / name
    is_known = bool(_NAME.fullmatch(name)) and (target.is_dir() or work.is_dir())
    if not is_known:
        is_embedded = _NAME.fullmatch(name) and (embedded_models_dir() / name).is_dir()
        raise ModelError(
            f"{name} comes with the package and stays" if is_embedded else f"no model {name!r} was pulled or exported",
            hint=f"what can be removed lies in {directory}; peyda models list shows it",
        )
    with storage(directory), workplace(directory, name) as work:
        if target.is_symlink():
            target.unlink()
        elif target.exists():
            # Without its config.json it is no model any more, should this be killed half-way.
            (target / CONFIG).unlink(missing_ok=True)
            shutil.rmtree(target)
    with suppress(OSError):
        shutil.rmtree(work)
    return target


@contextmanager
def workplace(directory: Path, name: str) -> Iterator[Path]:
    """The folder of pulls of one name, for one process at a time; removed when all went well."""
    from filelock import FileLock, Timeout

    work = directory / _WORK / name
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work.with_name(f".{name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ModelError(f"another process is pulling {name}", hint="wait until it is done") from error
    try:
        work.mkdir(exist_ok=True)  # another one may have finished, and removed it
        yield work
        shutil.rmtree(work, ignore_errors=True)
    finally:
        lock.release()


@contextmanager
def storage(directory: Path) -> Iterator[None]:
    """Failures of the disk, as errors that name it."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"the models in {directory} cannot be changed: {error.strerror or error}",
            hint="check the folder, its rights and its space, then run the same command again to go on",
        ) from error
