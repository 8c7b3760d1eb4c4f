"""TIFF directories: the structure under EXIF, TIFF, DNG and most camera RAW files.

Owns: reading fields out of bytes, never beyond them; nothing here raises on damaged input. What the tags mean is left
to `exif` and `tiff`. Source: TIFF 6.0, section 2; BigTIFF (libtiff's design page).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_MOST_FIELDS = 4096
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}


@dataclass(frozen=True, slots=True)
class Field:
    """One entry of a directory: `count` values of `kind` (a TIFF type number) from byte `position` on."""

    kind: int
    count: int
    position: int

    @property
    def size_bytes(self) -> int:
        """Length of the values."""
        return _SIZES[self.kind] * self.count


@dataclass(frozen=True, slots=True)
class TiffBytes:
    """A TIFF structure in memory."""

    data: bytes
    order: str  # "<" or ">", as in struct
    is_big: bool
    first: int

    @classmethod
    def parse(cls, data: bytes) -> TiffBytes | None:
        """Read the header; None when it is none. Olympus ("RO", "RS") and Panasonic ("U") put their own magic."""
        order = {b"II": "<", b"MM": ">"}.get(data[:2])
        if order is None or len(data) < 16:
            return None
        magic = struct.unpack_from(order + "H", data, 2)[0]
        if magic == 43:
            return cls(data, order, True, struct.unpack_from(order + "Q", data, 8)[0])
        if magic in (42, 0x4F52, 0x5352, 0x55):
            return cls(data, order, False, struct.unpack_from(order + "I", data, 4)[0])
        return None

    def directory(self, offset: int) -> tuple[dict[int, Field], int]:
        """The fields of the directory at `offset` and the offset of the next one (0: none).

        Fields whose values lie outside of the bytes are left out.
        """
        data, total = self.data, len(self.data)
        head, entry, inline = (8, struct.Struct(self.order + "HHQQ"), 8) if self.is_big else (
            2, struct.Struct(self.order + "HHII"), 4)  # fmt: skip
        fields: dict[int, Field] = {}
        if not 0 < offset <= total - head:
            return fields, 0
        announced = struct.unpack_from(self.order + ("Q" if self.is_big else "H"), data, offset)[0]
        start = offset + head
        count = min(announced, (total - start) // entry.size, _MOST_FIELDS)
        end = start + count * entry.size
        at = start + entry.size - inline
        for tag, kind, number, value in entry.iter_unpack(memoryview(data)[start:end]):
            size = _SIZES.get(kind, 0) * number
            position = at if size <= inline else value
            at += entry.size
            if size and position + size <= total and tag not in fields:
                fields[tag] = Field(kind, number, position)
        if count < announced or end + inline > total:
            return fields, 0
        return fields, struct.unpack_from(self.order + ("Q" if self.is_big else "I"), data, end)[0]

    def integers(self, field: Field | None, most: int = 64) -> tuple[int, ...]:
        """Up to `most` whole numbers; () when the field is missing or holds something else."""
        code = _INTEGERS.get(field.kind) if field else None
        if field is None or code is None:
            return ()
        return struct.unpack_from(f"{self.order}{min(field.count, most)}{code}", self.data, field.position)

    def integer(self, field: Field | None, default: int = 0) -> int:
        """The first whole number, or `default`."""
        values = self.integers(field, 1)
        return values[0] if values else default

    def fractions(self, field: Field | None, most: int = 8) -> tuple[tuple[int, int], ...]:
        """Up to `most` (numerator, denominator); () when the field holds something else."""
        if field is None or field.kind not in (5, 10):
            return ()
        count = min(field.count, most)
        code = "I" if field.kind == 5 else "i"
        values = struct.unpack_from(f"{self.order}{2 * count}{code}", self.data, field.position)
        return tuple(zip(values[::2], values[1::2], strict=True))

    def text(self, field: Field | None, most: int = 64) -> str:
        """Up to `most` bytes as Latin-1, cut at the first NUL."""
        if field is None or field.kind not in (1, 2, 7):
            return ""
        raw = self.data[field.position : field.position + min(field.count, most)]
        return raw.split(b"\0", 1)[0].decode("latin-1").strip()
