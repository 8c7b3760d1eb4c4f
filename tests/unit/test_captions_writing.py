"""Writers of caption tables: what is written reads back, nothing is half-written, a killed job goes on."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peyda.captions import append_writer, open_reader, open_writer, ordered
from peyda.errors import DataError, StorageError

COLUMNS = ("image", "caption_id", "caption_en", "caption_fa", "engine", "score_mini", "kept", "reason", "split", "kind")
ROWS: list[dict[str, object]] = [
    {"image": "a.jpg", "caption_id": 0, "caption_fa": 'سگ، "برف"\nخط دو', "score_mini": 0.25, "kept": True},
    {
        "image": "a.jpg",
        "caption_id": 1,
        "caption_en": '"quoted"',
        "kept": False,
        "reason": "too_short",
        "kind": "short",
    },
    {"image": "نام.jpg", "caption_id": "x,1", "caption_en": "a\rb\ttab | pipe;", "score_mini": None, "kept": None},
]
TEXTS = [
    dict.fromkeys(COLUMNS, "")
    | {"image": "a.jpg", "caption_id": "0", "caption_fa": 'سگ، "برف"\nخط دو', "score_mini": "0.25", "kept": "true"},
    dict.fromkeys(COLUMNS, "")
    | {"image": "a.jpg", "caption_id": "1", "caption_en": '"quoted"', "kept": "false"}
    | {"reason": "too_short", "kind": "short"},
    dict.fromkeys(COLUMNS, "") | {"image": "نام.jpg", "caption_id": "x,1", "caption_en": "a\rb\ttab | pipe;"},
]
ENDINGS = [".csv", ".tsv", ".jsonl", ".csv.gz", ".tsv.gz", ".jsonl.gz", ".parquet"]


def write(path: Path) -> Path:
    with open_writer(path, COLUMNS) as writer:
        for row in ROWS:
            writer.write(row)
    return path


def without_breaks(row: dict[str, str]) -> dict[str, str]:
    """What TSV can hold of a row."""
    return {name: value.replace("\n", " ").replace("\r", " ").replace("\t", " ") for name, value in row.items()}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_written_reads_back(tmp_path: Path, ending: str) -> None:
    with open_reader(write(tmp_path / f"new/table{ending}")) as reader:
        assert reader.columns == COLUMNS
        expected = [without_breaks(row) for row in TEXTS] if "tsv" in ending else TEXTS
        assert list(reader) == expected
        assert reader.skipped == []
    assert os.listdir(tmp_path / "new") == [f"table{ending}"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_failure_inside_leaves_the_old_table_and_no_debris(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"table{ending}")
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), open_writer(path, COLUMNS) as writer:
        writer.write({"image": 1 // 0} if writer.write(ROWS[0]) is None else {})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_an_os_error_of_the_caller_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), open_writer(tmp_path / "t.csv", COLUMNS):
        raise BrokenPipeError
    with pytest.raises(BrokenPipeError), append_writer(tmp_path / "t.jsonl", COLUMNS):
        raise BrokenPipeError


def test_the_same_rows_give_the_same_bytes_and_usual_rights(tmp_path: Path) -> None:
    for ending in (".csv.gz", ".parquet"):
        first, second = write(tmp_path / f"one{ending}"), write(tmp_path / f"two{ending}")
        assert first.read_bytes() == second.read_bytes()
    (tmp_path / "plain").touch()
    assert first.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_unknown_columns_and_endings_are_refused(tmp_path: Path) -> None:
    for ending in ENDINGS:
        with pytest.raises(ValueError, match="oops"), open_writer(tmp_path / f"t{ending}", COLUMNS) as writer:
            writer.write({"image": "a", "oops": 1})
    with pytest.raises(DataError, match=r"t\.xlsx"), open_writer(tmp_path / "t.xlsx", COLUMNS):
        pass
    with pytest.raises(ValueError, match="each once"), open_writer(tmp_path / "t.csv", ("image", "image")):
        pass
    assert os.listdir(tmp_path) == []


def test_parquet_refuses_scores_and_verdicts_that_are_none(tmp_path: Path) -> None:
    for row, what in (({"score_mini": "good"}, "no number"), ({"kept": "maybe"}, "kept")):
        with pytest.raises(DataError, match=what), open_writer(tmp_path / "t.parquet", COLUMNS) as writer:
            writer.write({"image": "a"} | row)


def test_parquet_has_types_and_a_version(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(write(tmp_path / "t.parquet"))
    assert str(table.schema.field("score_mini").type) == "double"
    assert str(table.schema.field("kept").type) == "bool"
    assert table.schema.metadata[b"peyda_table_version"] == b"1"


def test_a_newer_table_is_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    newer = pa.table({"image": ["a"]}).replace_schema_metadata({"peyda_table_version": "2"})
    parquet.write_table(newer, tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("image,peyda_table_version\na,1\nb,2\n")
    (tmp_path / "t.jsonl").write_text('{"image": "a", "peyda_table_version": 2}\n')
    for name in ("t.parquet", "t.csv", "t.jsonl"):
        with pytest.raises(DataError, match="newer Peyda") as caught:
            list(open_reader(tmp_path / name))
        assert "upgrade" in caught.value.hint


def test_a_read_only_folder_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"), open_writer(tmp_path / "file/t.csv", COLUMNS):
        pass
    with pytest.raises(StorageError, match="cannot be written"), append_writer(tmp_path / "file/t.csv", COLUMNS):
        pass


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_killed_job_goes_on_after_its_last_whole_row(tmp_path: Path, ending: str, cut: int) -> None:
    path = tmp_path / f"t{ending}"
    for row in ROWS:
        with append_writer(path, COLUMNS) as writer:
            writer.write(row)
            writer.flush()
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])  # killed while the third row was on its way
    with append_writer(path, COLUMNS):
        pass
    with open_reader(path) as reader:
        found = list(reader)
        is_whole = ending == ".jsonl" and cut == 1  # only the end of its line was missing
        assert [row["caption_id"] for row in found] == ["0", "1", "x,1"][: 3 if is_whole else 2]
        assert reader.skipped == []
    if not is_whole:
        with append_writer(path, COLUMNS) as writer:
            writer.write(ROWS[2])
    assert path.read_bytes() == whole


def test_a_row_of_csv_with_line_breaks_is_cut_off_whole(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('image,caption_fa\na,یک\nb,"دو\nسه\n', encoding="utf-8")
    with append_writer(path, ("image", "caption_fa")) as writer:
        writer.write({"image": "c"})
    assert path.read_text(encoding="utf-8") == "image,caption_fa\na,یک\nc,\n"


def test_appending_needs_the_same_columns_and_a_format_that_allows_it(tmp_path: Path) -> None:
    for ending in (".csv", ".tsv"):
        with append_writer(tmp_path / f"t{ending}", ("image", "x")):
            pass
        with pytest.raises(DataError, match="other columns: image, x"):
            append_writer(tmp_path / f"t{ending}", ("image", "y")).__enter__()
    for ending in (".parquet", ".csv.gz", ".jsonl.gz"):
        with pytest.raises(DataError, match="cannot be added"):
            append_writer(tmp_path / f"t{ending}", ("image",)).__enter__()


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(TEXT, TEXT), max_size=4), ending=st.sampled_from([".csv", ".jsonl", ".parquet"]))
def test_any_text_survives(tmp_path: Path, rows: list[tuple[str, str]], ending: str) -> None:
    with open_writer(tmp_path / f"t{ending}", ("image", "caption_id", "caption_fa")) as writer:
        for at, (image, caption) in enumerate(rows):
            writer.write({"image": f"{image}.jpg", "caption_id": at, "caption_fa": caption})
    found = [(row["image"], row["caption_fa"]) for row in open_reader(tmp_path / f"t{ending}", duplicates="keep")]
    assert found == [(f"{image}.jpg", caption) for image, caption in rows]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(captions=st.lists(TEXT, min_size=1, max_size=4))
def test_tsv_keeps_all_but_breaks(tmp_path: Path, captions: list[str]) -> None:
    with open_writer(tmp_path / "t.tsv", ("image", "caption_fa")) as writer:
        for caption in captions:
            writer.write({"image": "a.jpg", "caption_fa": caption})
    found = [row["caption_fa"] for row in open_reader(tmp_path / "t.tsv")]
    assert [" ".join(one.split()) for one in found] == [" ".join(one.split()) for one in captions]


def test_half_a_surrogate_pair_stops_nothing(tmp_path: Path) -> None:
    for ending in (".csv", ".tsv", ".parquet", ".jsonl"):
        with open_writer(tmp_path / f"t{ending}", ("image", "caption_fa")) as writer:
            writer.write({"image": "a", "caption_fa": "\ud83d سگ"})
        first = chr(0xD83D) if ending == ".jsonl" else chr(0xFFFD)
        assert next(open_reader(tmp_path / f"t{ending}"))["caption_fa"] == f"{first} سگ"


def test_numbers_that_are_none_are_empty(tmp_path: Path) -> None:
    for ending in (".csv", ".jsonl", ".parquet"):
        with open_writer(tmp_path / f"t{ending}", ("image", "score_x")) as writer:
            writer.write({"image": "a", "score_x": float("nan")})
            writer.write({"image": "b", "score_x": float("inf")})
        assert [row["score_x"] for row in open_reader(tmp_path / f"t{ending}")] == ["", "inf"]


def test_gzip_is_gzip_and_json_is_json(tmp_path: Path) -> None:
    lines = gzip.decompress(write(tmp_path / "t.jsonl.gz").read_bytes()).decode("utf-8").splitlines()
    assert json.loads(lines[0])["score_mini"] == 0.25
    assert json.loads(lines[0])["kept"] is True


def test_canonical_order() -> None:
    given_order = ["x", "split", "score_b", "kept", "image", "score_a", "caption_fa", "caption_id"]
    assert ordered(given_order) == ("image", "caption_id", "caption_fa", "score_b", "score_a", "kept", "split", "x")
