"""Caption tables: readers for the field's file formats, one canonical schema, and the photographs that a table names.

Knows nothing of who translates, trains or measures. A new format is one `TableFormat` and one `register_format` call.
"""

from __future__ import annotations

from peyda.captions.formats import SkippedRow, TableFormat, format_of, known_formats, register_format
from peyda.captions.resolve import ResolvedImages, resolve_images
from peyda.captions.table import CaptionTable, read_captions

__all__ = [
    "CaptionTable",
    "ResolvedImages",
    "SkippedRow",
    "TableFormat",
    "format_of",
    "known_formats",
    "read_captions",
    "register_format",
    "resolve_images",
]
