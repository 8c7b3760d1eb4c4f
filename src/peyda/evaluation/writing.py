"""Result files of an evaluation: written beside their place and renamed, so that none is ever half there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from peyda.captions.parts import part_file
from peyda.errors import StorageError


@contextmanager
def result_folder(out: str | os.PathLike[str], stale: Sequence[str] = ()) -> Iterator[Path]:
    """The directory of results, made where it is missing.

    Args:
        out: The directory.
        stale: Files of an earlier run that must not stand beside the new ones; removed first.

    Raises:
        StorageError: Here or inside: the disk is full, read-only or gone, or `out` is a file.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in stale:
            (folder / name).unlink(missing_ok=True)
        yield folder
    except OSError as error:
        raise StorageError(
            f"cannot write the results to {folder}: {error.strerror or error}",
            hint="give --out a directory that can be written, on a disk with free space",
        ) from error


def json_text(value: object, *, indent: int | None = None) -> str:
    """JSON with Persian readable; escaped where a file name holds bytes that are not UTF-8."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, ensure_ascii=True, indent=indent)
    return text


def write_json(path: Path, value: object) -> None:
    """One JSON value, indented."""
    write_lines(path, [json_text(value, indent=1)])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Lines of UTF-8 text; what cannot be encoded (bytes of an odd file name) becomes a question mark."""

    def save(temporary: str) -> None:
        with open(temporary, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())

    write_file(path, save)


def write_file(path: Path, save: Callable[[str], None]) -> None:
    """Let `save` write a file that then takes its place at `path`."""
    with part_file(os.fspath(path)) as temporary:
        save(temporary)
        os.replace(temporary, path)
