"""WebDataset shards: tar files in which `KEY.jpg` and `KEY.txt` (or `KEY.json`) are one sample.

A shard is listed once: of each sample the captions and the place of the photograph. Photographs are then read where
they lie, in any order, so that shards train exactly as a folder does (shuffled as a whole, resumable in mid-epoch).
Nothing is extracted; links and special members are left alone; only photographs, `.txt` and `.json` are ever opened.

Source: the format as the `webdataset` package (https://github.com/webdataset/webdataset) describes and writes it; the
captions as img2dataset (`.txt`, `.json`) and CLIP_benchmark (`.txt` with one caption a line) write them.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from PIL import Image

from peyda.captions.splits import photo_identity
from peyda.errors import ImageRefused
from peyda.images import DEFAULT_LIMITS, SUPPORTED_SUFFIXES, decode_bytes
from peyda.images.refusals import refuse, refuse_unread
from peyda.training.loading.gather import Gathered, Splits
from peyda.training.loading.sample_texts import UnreadableTexts, sample_texts
from peyda.training.loading.shard_names import shard_paths

CAPTION_BYTES = 1 << 20
"""Largest `.txt` or `.json` that is read."""

_HEADER_BYTES = 1 << 20
"""Most that is read at once while listing: long names and PAX headers, which announce their own length."""

_TEXT_ENDINGS = ("txt", "json")
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_KEY = re.compile(r"(?P<key>(?:.*/)?[^./]+)\.(?P<ending>[^/]+)", re.DOTALL)
"""The key ends at the first dot of the file name, as in the `webdataset` package."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where a photograph lies."""

    shard: str
    offset: int
    size: int


class ShardImages:
    """Photographs inside shards; a `PhotoReader`."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members

    def read(self, number: int, target_px: int) -> Image.Image:
        """One photograph, upright, in RGB."""
        member = self._members[number]
        try:
            with open(member.shard, "rb") as file:
                file.seek(member.offset)
                data = file.read(member.size)
        except OSError as error:
            raise refuse_unread(error) from error
        if len(data) < member.size:
            raise refuse("truncated", "its shard has become shorter")
        return decode_bytes(data, target_px=target_px).image


@dataclass(slots=True)
class _Sample:
    """The members of one key."""

    key: str
    image: Member | None = None
    name: str = ""
    texts: dict[str, bytes] = field(default_factory=dict)
    problem: tuple[str, str] | None = None


class _Cut(Exception):
    """The shard is damaged from here on."""


def read_shards(
    pattern: str | os.PathLike[str] | Sequence[str], splits: Splits, *, column: str
) -> tuple[Gathered, list[Member]]:
    """The samples of shards, in the order of the shards; their names are `SHARD/MEMBER`.

    Args:
        pattern: See `shard_paths`.
        splits: The wanted split.
        column: The key of `.json` that holds the caption or captions.

    Raises:
        DataError: There is no such shard, a photograph is in two splits, or nothing is left.
    """
    out = Gathered()
    members: list[Member] = []
    for shard in shard_paths(pattern):
        seen: set[str] = set()
        for sample in _samples(shard, out):
            _add(sample, shard, seen, splits, column, out, members)
    out.check(str(pattern), splits, f"the key {column} of .json, or .txt,")
    return out, members


def _add(
    sample: _Sample, shard: str, seen: set[str], splits: Splits, column: str, out: Gathered, members: list[Member]
) -> None:
    """Judge one sample."""
    name = f"{shard}/{sample.name or sample.key}"
    # Keys are running numbers in many sets, so that alone they make nothing the same; as a table of splits names them
    # they are photographs.
    identity = photo_identity(sample.key) if splits.has_rule else f"{os.path.realpath(shard)}/{sample.key}"
    found = None
    if sample.key in seen:
        problem = ("duplicate_key", "the shard has a sample of that key already")
    elif sample.problem is not None:
        problem = sample.problem
    elif sample.image is None:
        problem = ("no_image", "no photograph has that key")
    else:
        try:
            found = sample_texts(sample.texts, column)
            problem = ("no_text", f"neither .txt nor the key {column} of .json has a caption")
        except UnreadableTexts as error:
            problem = ("unreadable_text", str(error))
    seen.add(sample.key)
    reason = splits.verdict(sample.key, found.split, shard, identity=identity) if found else ""
    if found and reason:
        out.left_out[reason] += max(1, len(found.texts))
    elif found and found.texts and sample.image:
        members.append(sample.image)
        row = out.row_of(name, identity)
        for text in found.texts:
            out.add(row, text)
    else:
        out.skip(name, *problem)


def _samples(shard: str, out: Gathered) -> Iterator[_Sample]:
    """Runs of members with one key; what stands before a damaged place is given."""
    sample: _Sample | None = None
    try:
        with open(shard, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            for info in _headers(file):
                parts = _KEY.fullmatch(info.name.removeprefix("./"))
                if parts is None or not info.isreg() or info.issparse():
                    continue
                if sample is None or sample.key != parts["key"]:
                    if sample is not None:
                        yield sample
                    sample = _Sample(parts["key"])
                _take(sample, parts["ending"].lower(), info, shard, file, size)
    except _Cut as cut:
        out.skip(shard, "shard_damaged", str(cut))
    except OSError as error:
        refused = refuse_unread(error)
        if not isinstance(refused, ImageRefused):
            raise refused from error
        out.skip(shard, refused.reason, refused.message)
    if sample is not None:
        yield sample


def _take(sample: _Sample, ending: str, info: tarfile.TarInfo, shard: str, file: BinaryIO, shard_bytes: int) -> None:
    """One member of a sample: where a photograph lies, what a text says."""
    is_photo, is_text = f".{ending}" in SUPPORTED_SUFFIXES, ending in _TEXT_ENDINGS
    if not (is_photo and sample.image is None) and not is_text:
        return
    limit = DEFAULT_LIMITS.file_bytes if is_photo else CAPTION_BYTES
    if is_photo:
        sample.image, sample.name = Member(shard, info.offset_data, info.size), info.name.removeprefix("./")
    if info.offset_data + info.size > shard_bytes:
        sample.problem = ("truncated", f"the shard ends inside {info.name}")
    elif info.size > limit:
        sample.problem = ("file_too_large", f"{info.name} has {info.size:,} bytes, more than {limit:,}")
    elif is_text:
        file.seek(info.offset_data)
        sample.texts[ending] = file.read(info.size)


def _headers(file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """The members of a tar, until its end or its first damage."""
    try:
        with tarfile.open(fileobj=cast("BinaryIO", _Bounded(file)), mode="r:") as tar:
            last = -1
            while (info := tar.next()) is not None:
                if info.size < 0 or tar.offset <= last:  # a negative size leads back, and round for ever
                    raise _Cut("a header announces a negative size")
                last = tar.offset
                yield info
                cast("Any", tar).members = []  # it would keep them all
            file.seek(tar.offset)
            end = file.read(tarfile.BLOCKSIZE)
            if end.strip(b"\0"):
                raise _Cut(f"no header where one should be, at byte {tar.offset:,}")
            if len(end) < tarfile.BLOCKSIZE:
                raise _Cut("its end is missing")
    except tarfile.TarError as error:
        file.seek(0)
        start = file.read(6)
        if start.startswith(_COMPRESSED):
            raise _Cut("it is compressed; unpack it (gunzip, xz -d): photographs gain nothing from it") from error
        raise _Cut(str(error)) from error
    except (ValueError, OverflowError, RecursionError) as error:  # headers that make no sense
        raise _Cut(f"a header cannot be read ({type(error).__name__})") from error


class _Bounded:
    """A file that gives no more at once than a header may have."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self._file = file.seek, file.tell, file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEADER_BYTES:
            raise _Cut(f"a header announces {size:,} bytes")
        return self._file.read(size)
