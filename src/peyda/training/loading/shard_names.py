"""From what people write for a set of shards to the files: `DIR/shard-{000000..000009}.tar`, `DIR/*.tar`, a folder.

Only files on this machine: `pipe:` and web addresses, which other readers run or fetch, are refused.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence

from peyda.errors import DataError

_MOST = 1_000_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def shard_paths(pattern: str | os.PathLike[str] | Sequence[str]) -> list[str]:
    """The shards, in order, each once.

    Args:
        pattern: Ranges and lists in braces, wildcards, a folder of `.tar` files, a file; or several of these.

    Raises:
        DataError: There are none, one that a range names is missing, or it is no local path.
    """
    if isinstance(pattern, str) or not isinstance(pattern, Sequence):
        pattern = [os.fspath(pattern)]
    found: dict[str, None] = {}
    for one in pattern:
        if "://" in one or one.startswith("pipe:"):
            raise DataError(f"{one} is no local path", hint="download the shards first, and name their files")
        found |= dict.fromkeys(_files(one))
    if not found:
        raise DataError(
            f"no shard matches {', '.join(pattern)}", hint="write DIR/shard-{000000..000009}.tar or DIR/*.tar"
        )
    return list(found)


def _files(pattern: str) -> Iterator[str]:
    if os.path.isfile(pattern):
        yield pattern
        return
    names = _expand(pattern)
    for name in names:
        if os.path.isdir(name):
            yield from sorted(glob.glob(os.path.join(glob.escape(name), "*.tar")))
        elif glob.has_magic(name) and not os.path.exists(name):
            yield from sorted(glob.glob(name))
        elif os.path.isfile(name):
            yield name
        else:
            missing = [one for one in names if not os.path.exists(one)]
            raise DataError(
                f"there is no shard {name}" + (f", nor {len(missing) - 1:,} others" if len(missing) > 1 else ""),
                hint="check the folder and the numbers in the braces",
            )


def _expand(pattern: str) -> list[str]:
    """Braces as in a shell: `{000..012}` counts and keeps the zeros, `{a,b}` lists.

    >>> _expand("s-{08..10}.tar")
    ['s-08.tar', 's-09.tar', 's-10.tar']
    """
    found = next((one for one in _BRACES.finditer(pattern) if "," in one[1] or _RANGE.fullmatch(one[1])), None)
    if found is None:
        return [pattern]
    counted = _RANGE.fullmatch(found[1])
    if counted is None:
        values = found[1].split(",")
    else:
        first, last = int(counted[1]), int(counted[2])
        if not 0 <= last - first < _MOST:
            raise DataError(
                f"{pattern} counts from {first} to {last}", hint="write {FIRST..LAST}, as in {000000..000009}"
            )
        width = len(counted[1]) if counted[1].startswith("0") else 0
        values = [str(number).zfill(width) for number in range(first, last + 1)]
    before, after = pattern[: found.start()], pattern[found.end() :]
    rests = _expand(after)
    if len(values) * len(rests) > _MOST:
        raise DataError(f"{pattern} names more than {_MOST:,} shards", hint="check the numbers in the braces")
    return [before + value + rest for value in values for rest in rests]
