"""The field's caption files, in exactly the shapes in which they are published, broken rows included."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from peyda.captions import ReadOptions, open_reader, read_captions
from peyda.captions.json_stream import items
from peyda.errors import DataError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def table(path: Path, **options: Any) -> tuple[str, list[tuple[str, ...]], list[str]]:
    """Format, rows without empty columns, reasons of what was skipped."""
    with open_reader(path, options=ReadOptions(**options)) as reader:
        rows = [tuple(f"{name}={value}" for name, value in row.items() if value) for row in reader]
        return reader.format_name, rows, [one.reason for one in reader.skipped]


RESULTS = """image_name| comment_number| comment
1000092795.jpg| 0| Two young guys with shaggy hair look at their hands while hanging out in the yard .
1000092795.jpg| 1| Two young , White males are outside near many bushes .
2199200615.jpg| 3| A "dog" runs | across the grass .
2199200615.jpg| 4   A dog runs across the grass .
nothing to see here
"""


def test_flickr30k_results_with_its_broken_row(tmp_path: Path) -> None:
    name, rows, reasons = table(write(tmp_path / "results.csv", RESULTS))
    assert name == "Flickr30k"
    assert rows[0][:2] == ("image=1000092795.jpg", "caption_id=0")
    assert rows[2] == ("image=2199200615.jpg", "caption_id=3", 'caption_en=A "dog" runs | across the grass .')
    assert rows[3] == ("image=2199200615.jpg", "caption_id=4", "caption_en=A dog runs across the grass .")
    assert len(rows) == 4
    assert reasons == ["wrong_columns"]


@pytest.mark.parametrize("name", ["Flickr8k.token.txt", "results_20130124.token", "seg.tsv"])
def test_token_files(tmp_path: Path, name: str) -> None:
    text = (
        "1000268201_693b08cb0e.jpg#0\tA child in a pink dress is climbing up a set of stairs in an entry way .\n"
        "1000268201_693b08cb0e.jpg#1\tA girl going into a wooden building .\n"
        "2258277193_586949ec62.jpg.1#0\tpeople waiting for the subway\n"
        "COCO_val2014_000000012345.jpg#fa#2\tسگی در برف\n"
        "\n"
        "no number\n"
    )
    found, rows, reasons = table(write(tmp_path / name, text))
    assert found == "Flickr-token"
    assert rows[1] == (
        "image=1000268201_693b08cb0e.jpg",
        "caption_id=1",
        "caption_en=A girl going into a wooden building .",
    )
    assert rows[2][0] == "image=2258277193_586949ec62.jpg.1"
    assert rows[3][:2] == ("image=COCO_val2014_000000012345.jpg", "caption_id=2")
    assert reasons == ["wrong_columns"]
    assert table(tmp_path / name, language="fa")[1][3][2] == "caption_fa=سگی در برف"


def test_flickr8k_csv_with_commas_in_captions(tmp_path: Path) -> None:
    text = (
        "image,caption\n"
        "a.jpg,A child in a pink dress .\n"
        'a.jpg,"A black dog , and a ""white"" one ."\n'
        "a.jpg,A man , a plan , a canal\n"
        'b.jpg,"Quoted" at its start\n'
    )
    name, rows, reasons = table(write(tmp_path / "captions.txt", text))
    assert name == "Flickr8k-CSV"
    assert [row[1:] for row in rows] == [
        ("caption_id=0", "caption_en=A child in a pink dress ."),
        ("caption_id=1", 'caption_en=A black dog , and a "white" one .'),
        ("caption_id=2", "caption_en=A man , a plan , a canal"),
        ("caption_id=0", 'caption_en="Quoted" at its start'),
    ]
    assert reasons == []


KARPATHY = {
    "images": [
        {
            "filepath": "val2014",
            "sentids": [770337, 771687],
            "filename": "COCO_val2014_000000391895.jpg",
            "imgid": 0,
            "split": "test",
            "sentences": [
                {"tokens": ["a", "man"], "raw": "A man with a red helmet. ", "imgid": 0, "sentid": 770337},
                {"tokens": ["man", "riding"], "imgid": 0, "sentid": 771687},
            ],
            "cocoid": 391895,
        },
        {"filename": "x.jpg", "split": "restval", "sentences": [{"raw": "A bike.", "sentid": 1}]},
        {"filename": "y.jpg", "split": "val"},
    ],
    "dataset": "coco",
}


def test_karpathy_splits(tmp_path: Path) -> None:
    name, rows, reasons = table(write(tmp_path / "dataset_coco.json", json.dumps(KARPATHY)))
    assert name == "Karpathy"
    assert rows == [
        (
            "image=val2014/COCO_val2014_000000391895.jpg",
            "caption_id=770337",
            "caption_en=A man with a red helmet.",
            "split=test",
        ),
        ("image=val2014/COCO_val2014_000000391895.jpg", "caption_id=771687", "caption_en=man riding", "split=test"),
        ("image=x.jpg", "caption_id=1", "caption_en=A bike.", "split=train"),
    ]
    assert reasons == ["bad_record"]


IMAGES = [
    {
        "license": 5,
        "file_name": "COCO_train2014_000000057870.jpg",
        "coco_url": "http://images.cocodataset.org/train2014/COCO_train2014_000000057870.jpg",
        "height": 480,
        "width": 640,
        "flickr_url": "http://farm4.staticflickr.com/3153/2970773875_164f0c0b83_z.jpg",
        "id": 57870,
    }
]
ANNOTATIONS = [
    {"image_id": 57870, "id": 787980, "caption": "A restaurant has modern wooden tables and chairs.\n"},
    {"image_id": 1, "id": 2, "caption": "An image that is not there."},
    {"image_id": 57870, "id": 3},
]


@pytest.mark.parametrize("order", [("info", "images", "licenses", "annotations"), ("annotations", "images")])
def test_coco_captions_in_any_order(tmp_path: Path, order: tuple[str, ...]) -> None:
    parts = {"info": {"year": 2014}, "images": IMAGES, "annotations": ANNOTATIONS, "licenses": [{"id": 1}]}
    document = json.dumps({name: parts[name] for name in order}, indent=1)
    path = tmp_path / "captions_train2014.json.gz"
    path.write_bytes(gzip.compress(document.encode()))
    name, rows, reasons = table(path)
    assert name == "COCO"
    assert rows == [
        (
            "image=COCO_train2014_000000057870.jpg",
            "caption_id=787980",
            "caption_en=A restaurant has modern wooden tables and chairs.",
            f"url={IMAGES[0]['coco_url']}",
        )
    ]
    assert sorted(reasons) == ["bad_record", "no_image"]


def test_nocaps(tmp_path: Path) -> None:
    document = {
        "info": {"description": "nocaps"},
        "licenses": [],
        "images": [
            {
                "id": 0,
                "open_images_id": "0013ea2087020901",
                "file_name": "0013ea2087020901.jpg",
                "coco_url": "https://s3.amazonaws.com/nocaps/val/0013ea2087020901.jpg",
                "domain": "near-domain",
                "width": 1024,
                "height": 732,
            }
        ],
        "annotations": [{"image_id": 0, "id": 0, "caption": "A baby is standing in front of a house."}],
    }
    _, rows, _ = table(write(tmp_path / "nocaps_val_4500_captions.json", json.dumps(document)))
    assert rows == [
        (
            "image=0013ea2087020901.jpg",
            "caption_id=0",
            "caption_en=A baby is standing in front of a house.",
            "url=https://s3.amazonaws.com/nocaps/val/0013ea2087020901.jpg",
            "domain=near-domain",
        )
    ]


XM3600 = [
    {
        "image/key": "000411001ff7dd4f",
        "image/locale": "fa",
        "en": {"caption": ["A red bus"], "caption/tokenized": ["A red bus"]},
        "fa": {"caption": ["اتوبوس قرمز", "اتوبوسی در خیابان"]},
        "de": {"caption": ["Ein Bus"]},
    },
    {"image/key": "b", "fa": {"caption": "a text"}},
    {"fa": {"caption": ["کلید ندارد"]}},
]


def test_xm3600(tmp_path: Path) -> None:
    path = write(tmp_path / "captions.jsonl", "\n".join(map(json.dumps, XM3600)) + "\n{\n")
    name, rows, reasons = table(path)
    assert name == "XM3600"
    assert rows == [
        ("image=000411001ff7dd4f.jpg", "caption_id=en-0", "caption_en=A red bus", "locale=fa"),
        ("image=000411001ff7dd4f.jpg", "caption_id=fa-0", "caption_fa=اتوبوس قرمز", "locale=fa"),
        ("image=000411001ff7dd4f.jpg", "caption_id=fa-1", "caption_fa=اتوبوسی در خیابان", "locale=fa"),
    ]
    assert reasons == ["bad_record", "no_image", "bad_json"]
    assert [row[2] for row in table(path, language="de")[1]] == ["caption_de=Ein Bus"]


@pytest.mark.parametrize(
    ("text", "columns", "first"),
    [
        ("a.jpg\tسگ\nb.png\tگربه\n", ("image", "caption_id", "caption_en"), ("a.jpg", "0", "سگ")),
        ("a.jpg\t7\tسگ\n", ("image", "caption_id", "caption_en"), ("a.jpg", "7", "سگ")),
        (
            "a cat\thttp://x.org/1\n",
            ("image", "caption_id", "caption_en", "url"),
            ("http://x.org/1", "0", "a cat", "http://x.org/1"),
        ),
    ],
)
def test_tsv_without_a_header_is_guessed(
    tmp_path: Path, text: str, columns: tuple[str, ...], first: tuple[str, ...]
) -> None:
    with open_reader(write(tmp_path / "t.tsv", text)) as reader:
        assert reader.columns == columns
        assert tuple(next(reader).values()) == first


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", "179765\t38\t0.751\tA bike.\tدوچرخه\n")
    options = ReadOptions(header=("image", "caption_id", "score_source", "en", "fa"))
    with open_reader(path, options=options) as reader:
        assert list(reader) == [
            {
                "image": "179765",
                "caption_id": "38",
                "caption_en": "A bike.",
                "caption_fa": "دوچرخه",
                "score_source": "0.751",
            }
        ]
    with open_reader(
        write(tmp_path / "t.csv", "x,یک\n"), options=ReadOptions(header=("image", "caption_fa"))
    ) as reader:
        assert next(reader)["caption_fa"] == "یک"


def test_a_header_is_no_data_though_it_says_jpg(tmp_path: Path) -> None:
    with open_reader(write(tmp_path / "t.tsv", "image\tcaption\nx.jpg\ty\n")) as reader:
        assert [row["image"] for row in reader] == ["x.jpg"]


def test_a_json_list_is_a_table_and_other_json_is_refused(tmp_path: Path) -> None:
    _, rows, reasons = table(write(tmp_path / "t.json", '[{"file_name": "a", "text": "x"}, 3]'))
    assert rows == [("image=a", "caption_id=0", "caption_en=x")]
    assert reasons == ["bad_json"]
    with pytest.raises(DataError, match="neither COCO"):
        list(open_reader(write(tmp_path / "o.json", '{"a": 1}')))


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_json_file_cut_short_says_so(tmp_path: Path, cut: int) -> None:
    text = json.dumps({"images": IMAGES, "annotations": ANNOTATIONS})
    path = write(tmp_path / "captions.json", text[:-cut])
    with pytest.raises(DataError, match="not JSON as expected"):
        list(open_reader(path))


def test_streamed_json_is_what_json_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peyda.captions.json_stream._CHUNK_CHARS", 3)
    document = {"a": [1, -2.5e3, "x]", [], {"b": [None, True]}], "c": {"d": 12345}, "e": [], "f": '\u06af"', "g": [10]}
    found: dict[str, list[Any]] = {}
    for key, value in items(io.StringIO(json.dumps(document, indent=1)), "x"):
        found.setdefault(key, []).append(value)
    assert found == {"a": document["a"], "c": [{"d": 12345}], "f": ['\u06af"'], "g": [10]}
    assert list(items(io.StringIO(" [1, 23 ,456]\n"), "x")) == [("", 1), ("", 23), ("", 456)]
    assert list(items(io.StringIO("{}"), "x")) == []


@pytest.mark.parametrize("text", ["", "3", "[1", "[1,]", "[1 2]", '{"a"}', "{1: 2}", "[1] 2", '{"a": [1}'])
def test_streamed_json_refuses_what_is_none(text: str) -> None:
    with pytest.raises(DataError, match="not JSON as expected"):
        list(items(io.StringIO(text), "x"))


def test_formats_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "t.data", "image,caption_fa\na,x\n")
    assert next(open_reader(path, format="csv"))["caption_fa"] == "x"
    with pytest.raises(DataError, match="known format"):
        open_reader(path)
    with pytest.raises(DataError, match="no table format 'xls'") as caught:
        open_reader(path, format="xls")
    assert "Karpathy" in caught.value.hint


def test_doubled_keys(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "image,caption_id,engine,caption_fa\na,0,x,یک\na,0,x,دو\na,0,y,سه\na,1,x,چهار\n")
    with open_reader(path) as reader:
        assert [row["caption_fa"] for row in reader] == ["یک", "سه", "چهار"]
        assert [(one.line, one.reason) for one in reader.skipped] == [(3, "duplicate_key")]
    with pytest.raises(DataError, match="line 3: a second row with image a, caption_id 0, engine x"):
        list(open_reader(path, duplicates="error"))
    assert len(list(open_reader(path, duplicates="keep"))) == 4
    kinds = write(tmp_path / "k.csv", "image,kind,caption_id,caption_fa\na,short,0,x\na,sentence,0,y\na,short,0,z\n")
    assert [row["caption_fa"] for row in open_reader(kinds)] == ["x", "y"]


def test_bad_tables(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'caption_en'"):
        open_reader(write(tmp_path / "t.csv", "image,caption_fa\na,x\n"), required=["caption_en"])
    with pytest.raises(DataError, match="two columns named image"):
        open_reader(write(tmp_path / "d.csv", "image,image\na,x\n"))
    (tmp_path / "persian.csv").write_bytes("image,caption_fa\na.jpg,سگ در برف\n".encode("cp1256"))
    with pytest.raises(DataError, match="not UTF-8") as caught:
        list(open_reader(tmp_path / "persian.csv"))
    assert "WINDOWS-1256" in caught.value.hint
    rows = list(open_reader(tmp_path / "persian.csv", options=ReadOptions(encoding="cp1256")))
    assert rows[0]["caption_fa"] == "سگ در برف"
    with pytest.raises(DataError, match="unknown encoding"):
        open_reader(tmp_path / "persian.csv", options=ReadOptions(encoding="klingon"))


def test_utf_16_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_bytes("image\tcaption_fa\r\na.jpg\tسگ\r\n".encode("utf-16"))
    assert [row["caption_fa"] for row in open_reader(tmp_path / "t.tsv")] == ["سگ"]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
def test_a_caption_of_a_million_characters_is_a_row_like_others(tmp_path: Path, ending: str) -> None:
    caption = "سگ " * 333_334
    if ending == ".jsonl":
        text = json.dumps({"image": "a", "caption_fa": caption}) + "\n"
    else:
        separator = "," if ending == ".csv" else "\t"
        text = f"image{separator}caption_fa\na{separator}{caption}\n"
    assert [row["caption_fa"] for row in open_reader(write(tmp_path / f"t{ending}", text))] == [caption]


def test_images_are_named_by_urls_where_nothing_else_names_them(tmp_path: Path) -> None:
    text = "url,text\nhttps://x.org/a.jpg,A dog\n"
    with open_reader(write(tmp_path / "t.csv", text)) as reader:
        assert list(reader) == [
            {"image": "https://x.org/a.jpg", "caption_id": "0", "caption_en": "A dog", "url": "https://x.org/a.jpg"}
        ]


def test_jsonl_columns_that_appear_late_are_there_from_the_start(tmp_path: Path) -> None:
    text = '{"image": "a"}\n{"image": "b", "split": "val", "later": 1}\n'
    with open_reader(write(tmp_path / "t.jsonl", text)) as reader:
        assert reader.columns == ("image", "caption_id", "split", "later")
        assert next(reader) == {"image": "a", "caption_id": "0", "split": "", "later": ""}


def test_whole_tables_read_the_published_formats_too(tmp_path: Path) -> None:
    found = read_captions(write(tmp_path / "results.csv", RESULTS), column="caption_en")
    assert found.images() == ["1000092795.jpg", "2199200615.jpg"]
    assert [one.line for one in found.skipped] == [6]
