"""Caption tables: readers and writers for the field's formats, one canonical schema, and the photographs they name.

Knows nothing of who translates, scores, trains or measures. The door for jobs over big tables:

```python
from peyda.captions import open_reader, open_writer, append_writer, ordered

with open_reader("results.csv") as reader:  # any known format; rows are dict[str, str], all of reader.columns in each
    columns = ordered([*reader.columns, "score_mini"])
    with open_writer("scored.parquet", columns) as writer:  # .csv .tsv .jsonl .parquet (.gz); appears when all is well
        for row in reader:
            writer.write(row | {"score_mini": 0.5})  # str, float, bool or None; an unknown column is a ValueError
    reader.skipped  # lines that could not be read, doubled keys: SkippedRow(line, reason, detail)

with append_writer("job.jsonl", columns) as journal:  # .jsonl .csv .tsv: survives a kill, a half row is cut off
    journal.write(row)
    journal.flush()
```

A row's key is (image, caption_id, engine): `row_key(row, key_columns(reader.columns))`. `read_captions` reads a table
whole, for measuring. A new format is one `TableFormat` and one `register_format` call.
"""

from __future__ import annotations

from peyda.captions import datasets as _datasets  # noqa: F401 - registers its format
from peyda.captions import hub as _hub  # noqa: F401 - registers its format
from peyda.captions import plain as _plain  # noqa: F401 - registers its formats
from peyda.captions import published as _published  # noqa: F401 - registers its formats, to be asked before the plain ones
from peyda.captions.appending import append_writer
from peyda.captions.formats import ReadOptions, SkippedRow, TableFormat, format_of, known_formats, register_format
from peyda.captions.reading import CaptionReader, CaptionRow, open_reader
from peyda.captions.resolve import ResolvedImages, resolve_images
from peyda.captions.schema import COLUMNS, KEY, is_score, key_columns, ordered, photo_name, row_key
from peyda.captions.table import CaptionTable, read_captions
from peyda.captions.writing import TableWriter, check_writable, open_writer

__all__ = [
    "COLUMNS",
    "KEY",
    "CaptionReader",
    "CaptionRow",
    "CaptionTable",
    "ReadOptions",
    "ResolvedImages",
    "SkippedRow",
    "TableFormat",
    "TableWriter",
    "append_writer",
    "check_writable",
    "format_of",
    "is_score",
    "key_columns",
    "known_formats",
    "open_reader",
    "open_writer",
    "ordered",
    "photo_name",
    "read_captions",
    "register_format",
    "resolve_images",
    "row_key",
]
