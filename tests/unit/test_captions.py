"""`peyda.captions`: formats, the canonical table, and names that resolve to files and never out of the directory."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from peyda.captions import TableFormat, format_of, read_captions, register_format, resolve_images
from peyda.captions.formats import _FORMATS, Row, SkippedRow
from peyda.errors import DataError

ROWS = [
    ("a.jpg", "sentence", "0", "سگی در برف می‌دود"),
    ("a.jpg", "short", "0", "سگ، برف"),
    ("sub/b.jpg", "short", "0", ""),
]
HEADER = ("image", "kind", "caption_id", "caption_fa")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def write_rows(path: Path) -> Path:
    """`ROWS` in the format that the file's ending names."""
    records = [dict(zip(HEADER, row, strict=True)) for row in ROWS]
    if path.suffix == ".jsonl":
        return write(path, "".join(json.dumps(record) + "\n" for record in records))
    separator = "\t" if path.suffix == ".tsv" else ","
    lines = [HEADER, *([f'"{value}"' for value in row] for row in ROWS)]
    return write(path, "".join(separator.join(line) + "\n" for line in lines))


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("is_zipped", [False, True])
def test_every_text_format_gives_the_same_table(tmp_path: Path, ending: str, is_zipped: bool) -> None:
    path = write_rows(tmp_path / f"table{ending}")
    if is_zipped:
        data = path.read_bytes()
        path = tmp_path / f"table{ending}.gz"
        path.write_bytes(gzip.compress(data))
    table = read_captions(path, column="caption_fa")
    assert list(table.columns) == list(HEADER)
    assert list(zip(*(table.column(name) for name in HEADER), strict=True)) == ROWS
    assert table.images() == ["a.jpg", "sub/b.jpg"]
    assert table.skipped == ()


def test_parquet_gives_the_same_table(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = dict(zip(HEADER, (list(column) for column in zip(*ROWS, strict=True)), strict=True))
    columns["caption_id"] = [int(one) for one in columns["caption_id"]]  # type: ignore[misc]
    parquet.write_table(pa.table(columns), tmp_path / "table.parquet")
    table = read_captions(tmp_path / "table.parquet")
    assert list(zip(*(table.column(name) for name in HEADER), strict=True)) == ROWS


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError) as caught:
        read_captions(path)
    assert "peyda[parquet]" in caught.value.hint


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_header_decides_the_delimiter(tmp_path: Path, delimiter: str) -> None:
    path = write(tmp_path / "t.csv", f"image{delimiter} caption_fa\na.jpg{delimiter}سگ\n")
    assert read_captions(path).column("caption_fa") == ["سگ"]


def test_csv_details(tmp_path: Path) -> None:
    text = (
        '\ufeffimage,caption_fa\r\na.jpg,"سگ, ""برف""\nخط دو"\r\n\r\nb.jpg,یک,زیاد\r\nc.jpg\r\n,بی‌نام\r\nd.jpg,گربه\r\n'
    )
    table = read_captions(write(tmp_path / "t.csv", text))
    assert table.column("caption_fa") == ['سگ, "برف"\nخط دو', "گربه"]
    assert [(row.line, row.reason) for row in table.skipped] == [
        (5, "wrong_columns"),
        (6, "wrong_columns"),
        (7, "no_image"),
    ]


def test_a_quote_in_tsv_swallows_nothing(tmp_path: Path) -> None:
    text = 'image\tcaption_fa\na.jpg\t"سگ" کنار درخت\nb.jpg\t"گربه\nc.jpg\t"او گفت ""نه"""\n'
    assert read_captions(write(tmp_path / "t.tsv", text)).column("caption_fa") == [
        '"سگ" کنار درخت',
        '"گربه',
        'او گفت "نه"',
    ]


def test_an_open_quote_in_csv_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'image,caption_fa\na.jpg,سگ\nb.jpg,"گربه\nc.jpg,اسب\n')
    with pytest.raises(DataError, match="line 3"):
        read_captions(path)


def test_jsonl_values_and_broken_lines(tmp_path: Path) -> None:
    lines = ['{"image": "a.jpg", "score_x": 0.5, "kept": true, "caption_fa": null}', "{oops", "[1]", ""]
    lines.append('{"image": "b.jpg", "caption_fa": "\\ud83d سگ", "later": ["x"]}')
    table = read_captions(write(tmp_path / "t.jsonl", "\n".join(lines)))
    assert table.columns == {
        "image": ["a.jpg", "b.jpg"],
        "score_x": ["0.5", ""],
        "kept": ["true", ""],
        "caption_fa": ["", "\ud83d سگ"],
        "later": ["", '["x"]'],
        "caption_id": ["0", "0"],
    }
    assert [(row.line, row.reason) for row in table.skipped] == [(2, "bad_json"), (3, "bad_json")]


def test_caption_ids_are_counted_within_each_image_where_there_are_none(tmp_path: Path) -> None:
    table = read_captions(write(tmp_path / "t.csv", "file_name,caption_fa\nb,x\na,y\nb,z\n"))
    assert table.columns == {"image": ["b", "a", "b"], "caption_fa": ["x", "y", "z"], "caption_id": ["0", "0", "1"]}


def test_where_chooses_rows(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.csv")
    assert read_captions(path, where={"kind": "sentence"}).column("caption_fa") == [ROWS[0][3]]
    assert len(read_captions(path, where={"kind": ["sentence", "short"]})) == 3
    assert len(read_captions(path, where={"kind": "short", "image": "a.jpg"})) == 1


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"column": "caption_de"}, "no column 'caption_de'", "image, kind, caption_id, caption_fa"),
        ({"where": {"sort": "x"}}, "no column 'sort'", "image, kind, caption_id, caption_fa"),
        ({"where": {"kind": "long"}}, "kind = long", "sentence, short"),
        ({"where": {"image": "a.jpg", "kind": "long"}}, "other filters", "sentence, short"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(
    tmp_path: Path, options: dict[str, object], message: str, hint: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_captions(write_rows(tmp_path / "t.csv"), **options)  # type: ignore[arg-type]
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "no usable rows"),
        ("t.csv", b"image,caption_fa\n", "no usable rows"),
        ("t.csv", b"image,caption_fa\n,x\n", "line 2: the column image is empty"),
        ("t.csv", b"caption_fa\nx\n", "no column that names the image"),
        ("t.csv", b"image,caption_fa\na,\xff\xfe\n", "not UTF-8"),
        ("t.csv.gz", b"not gzip", "cannot be read"),
        ("t.csv.gz", gzip.compress(b"image,caption_fa\n" * 99)[:-9], "cannot be read"),
        ("t.csv.gz", gzip.compress(b"image,caption_fa\n")[:10] + b"\xff" * 20, "cannot be read"),
        ("t.xlsx", b"", "known format"),
        ("t.jsonl", b"[" * 100_000, "no usable rows"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_captions(tmp_path / name)
    assert caught.value.hint


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name in ("none.csv", "folder.csv"):
        with pytest.raises(DataError, match="cannot be read"):
            read_captions(tmp_path / name)


@pytest.fixture
def dots_format() -> Iterator[TableFormat]:
    def read(path: str) -> Iterator[Row | SkippedRow]:
        yield Row(1, {"image": os.path.basename(path), "caption_fa": "سگ"})
        yield SkippedRow(2, "dots", "just dots")

    dots = TableFormat("dots", (), read, matches=lambda path: path.endswith("..."))
    register_format(dots)
    yield dots
    del _FORMATS["dots"]


def test_a_registered_format_is_read(dots_format: TableFormat) -> None:
    assert format_of("x...") is dots_format
    table = read_captions("x...")
    assert table.images() == ["x..."]
    assert table.skipped[0].reason == "dots"


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def test_names_resolve_by_path_then_by_file_name(tmp_path: Path) -> None:
    touch(tmp_path / "set/a.jpg")
    touch(tmp_path / "set/deep/b.jpg")
    touch(tmp_path / "set/one/same.jpg")
    touch(tmp_path / "set/two/same.jpg")
    names = [
        "a.jpg",
        "elsewhere/a.jpg",
        "x\\b.jpg",
        "deep\\b.jpg",
        "one/same.jpg",
        "same.jpg",
        "c.jpg",
        "",
        ".",
        "deep",
    ]
    resolved = resolve_images(names, tmp_path / "set")
    base = os.path.realpath(tmp_path / "set")
    assert resolved.paths == {
        "a.jpg": f"{base}/a.jpg",
        "elsewhere/a.jpg": f"{base}/a.jpg",
        "x\\b.jpg": f"{base}/deep/b.jpg",
        "deep\\b.jpg": f"{base}/deep/b.jpg",
        "one/same.jpg": f"{base}/one/same.jpg",
    }
    assert resolved.missing == {
        "same.jpg": "ambiguous",
        "c.jpg": "not_found",
        "": "not_found",
        ".": "not_found",
        "deep": "not_found",
    }


def test_names_never_lead_out_of_the_directory(tmp_path: Path) -> None:
    secret = touch(tmp_path / "secret.jpg")
    touch(tmp_path / "set/inside/a.jpg")
    names = ["../secret.jpg", "inside/../../secret.jpg", str(secret), "/etc/passwd", "..", "a\0.jpg", "..\\secret.jpg"]
    resolved = resolve_images(names, tmp_path / "set")
    assert resolved.paths == {}
    assert set(resolved.missing) == set(names)
    inside = str(tmp_path / "set/inside/a.jpg")  # absolute, but within
    assert resolve_images([inside], tmp_path / "set").paths == {inside: os.path.realpath(inside)}


def test_unicode_forms_and_odd_bytes_of_names(tmp_path: Path) -> None:
    touch(tmp_path / "set/cafe\u0301.jpg")
    touch(tmp_path / "set/سگ و گربه 🐶.jpg")
    odd = touch(tmp_path / "set" / os.fsdecode(b"odd\xff.jpg"))
    resolved = resolve_images(["caf\u00e9.jpg", "x/سگ و گربه 🐶.jpg", os.fsdecode(b"odd\xff.jpg")], tmp_path / "set")
    assert resolved.missing == {}
    assert resolved.paths[odd.name] == os.path.realpath(odd)


def test_linked_folders_are_walked_once_and_two_names_of_a_file_meet(tmp_path: Path) -> None:
    photo = touch(tmp_path / "store/a.jpg")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/link").symlink_to(tmp_path / "store")
    (tmp_path / "set/again").symlink_to(tmp_path / "store")
    (tmp_path / "store/loop").symlink_to(tmp_path / "set")
    resolved = resolve_images(["a.jpg", "link/a.jpg", "again/a.jpg"], tmp_path / "set")
    assert set(resolved.paths.values()) == {os.path.realpath(photo)}
    assert len(resolved.paths) == 3


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no directory"):
        resolve_images(["a.jpg"], tmp_path / "none")
