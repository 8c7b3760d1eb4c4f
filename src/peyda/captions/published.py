"""The shapes in which the field's caption sets are published, each told by its content.

- Flickr30k `results.csv`: `image_name| comment_number| comment`, one row of which lacks its second separator.
- Flickr8k and Flickr30k token files: `NAME.jpg#0<tab>caption`; translated sets have `NAME.jpg#zhb#0 caption`.
- Flickr8k `captions.txt`: `image,caption`, where a caption may hold unquoted commas.
- Karpathy's splits: `{"images": [{"filename", "split", "sentences": [{"raw", "sentid"}]}]}`.
- COCO captions and nocaps: `{"images": [{"id", "file_name", "coco_url"}], "annotations": [{"image_id", …}]}`.
- XM3600 `captions.jsonl`: `{"image/key": …, "fa": {"caption": […]}, "en": …}`, a line for each image.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from peyda.captions.formats import ReadOptions, Row, Rows, SkippedRow, define_format
from peyda.captions.json_stream import items
from peyda.captions.plain import as_text
from peyda.captions.text import first_line, open_text, sniff
from peyda.errors import DataError

_RESULTS_HEADER = re.compile(r"image_name\|\s*comment_number\|\s*comment")
_RESULTS_ROW = re.compile(r"(?P<image>[^|]+)\|\s*(?P<id>\d+)\s*(?:\|\s*|\s+)(?P<caption>.*)", re.DOTALL)
_TOKEN_ROW = re.compile(r"(?P<image>[^\t#]+\.\w+)#(?:\w+#)?(?P<id>\d+)[\t ]\s*(?P<caption>.*)", re.DOTALL)
_TOKEN_SUFFIXES = (".token", ".token.txt", ".txt", ".tsv", ".token.gz", ".txt.gz", ".tsv.gz")
_LOCALES = ("en", "fa")


def _caption(options: ReadOptions) -> str:
    return f"caption_{options.language or 'en'}"


def _one_caption(path: str, options: ReadOptions) -> Sequence[str]:
    return ("image", "caption_id", _caption(options))


def _text_lines(path: str, options: ReadOptions) -> Iterator[tuple[int, str]]:
    """Line number and text of every line that is not empty."""
    with open_text(path, options.encoding) as file:
        for line, text in enumerate(file, start=1):
            if text.strip():
                yield line, text.rstrip("\r\n")


def _matched_rows(path: str, options: ReadOptions, pattern: re.Pattern[str], *, skip_first: bool) -> Rows:
    for number, (line, text) in enumerate(_text_lines(path, options)):
        if number == 0 and skip_first:
            continue
        match = pattern.fullmatch(text)
        if match is None:
            yield SkippedRow(line, "wrong_columns", f"not of the form of the other lines: {text[:80]}")
        else:
            name, number_text, caption = match.group("image", "id", "caption")
            yield Row(line, {"image": name.strip(), "caption_id": number_text, _caption(options): caption.strip()})


def _read_results(path: str, options: ReadOptions) -> Rows:
    return _matched_rows(path, options, _RESULTS_ROW, skip_first=True)


def _is_results(path: str) -> bool:
    is_text = path.lower().endswith((".csv", ".txt", ".csv.gz", ".txt.gz"))
    return is_text and bool(_RESULTS_HEADER.fullmatch(first_line(path).strip()))


def _read_tokens(path: str, options: ReadOptions) -> Rows:
    return _matched_rows(path, options, _TOKEN_ROW, skip_first=False)


def _is_tokens(path: str) -> bool:
    return path.lower().endswith(_TOKEN_SUFFIXES) and bool(_TOKEN_ROW.match(first_line(path)))


def _read_kaggle(path: str, options: ReadOptions) -> Rows:
    """`image,caption`: what comes after the first comma is the caption, quoted as CSV or not."""
    for number, (line, text) in enumerate(_text_lines(path, options)):
        image, comma, caption = text.partition(",")
        if number == 0:
            continue
        if not comma:
            yield SkippedRow(line, "wrong_columns", "no comma between image and caption")
            continue
        if caption.startswith('"') and caption.endswith('"') and len(caption) > 1:
            fields = next(csv.reader([caption]))
            caption = fields[0] if len(fields) == 1 else caption
        yield Row(line, {"image": image.strip(), _caption(options): caption.strip()})


def _is_kaggle(path: str) -> bool:
    return path.lower().endswith((".txt", ".txt.gz")) and first_line(path).strip().lower() == "image,caption"


def _kaggle_columns(path: str, options: ReadOptions) -> Sequence[str]:
    return ("image", _caption(options))


def _read_karpathy(path: str, options: ReadOptions) -> Rows:
    number = 0
    with open_text(path, options.encoding) as file:
        for key, image in items(file, path):
            if key != "images":
                continue
            number += 1
            yield from _karpathy_image(number, image, _caption(options))


def _karpathy_image(number: int, image: Any, column: str) -> Rows:
    if not isinstance(image, dict) or not isinstance(image.get("sentences"), list):
        yield SkippedRow(number, "bad_record", "an image without sentences")
        return
    split = as_text(image.get("split"))
    folder = as_text(image.get("filepath"))
    name = as_text(image.get("filename"))
    for at, sentence in enumerate(image["sentences"]):
        if not isinstance(sentence, dict):
            yield SkippedRow(number, "bad_record", "a sentence that is no object")
            continue
        raw = sentence.get("raw")
        tokens = sentence.get("tokens")
        text = raw if isinstance(raw, str) else " ".join(map(str, tokens)) if isinstance(tokens, list) else ""
        yield Row(
            number,
            {
                "image": f"{folder}/{name}" if folder and name else name,
                "caption_id": as_text(sentence.get("sentid", at)),
                column: text.strip(),
                # "restval" are val photographs that everybody trains on.
                "split": "train" if split == "restval" else split,
            },
        )


def _is_karpathy(path: str) -> bool:
    return path.lower().endswith((".json", ".json.gz")) and bool(re.search(r'"sentences"\s*:\s*\[', sniff(path)))


def _karpathy_columns(path: str, options: ReadOptions) -> Sequence[str]:
    return ("image", "caption_id", _caption(options), "split")


_COCO_EXTRA = {"url": ("coco_url", "flickr_url", "url"), "domain": ("domain",)}
"""Column → the members of an image that may fill it; nocaps says of each image how far it is from COCO."""


def _coco_images(path: str, options: ReadOptions) -> dict[str, dict[str, str]]:
    images: dict[str, dict[str, str]] = {}
    with open_text(path, options.encoding) as file:
        for key, image in items(file, path):
            if key == "images" and isinstance(image, dict):
                row = {"image": as_text(image.get("file_name"))}
                for column, members in _COCO_EXTRA.items():
                    row[column] = next((text for one in members if (text := as_text(image.get(one)))), "")
                images[as_text(image.get("id"))] = row
    return images


def _read_coco(path: str, options: ReadOptions) -> Rows:
    """Two passes: the images' names first, since either array may come first."""
    images = _coco_images(path, options)
    number = 0
    with open_text(path, options.encoding) as file:
        for key, annotation in items(file, path):
            if key != "annotations":
                continue
            number += 1
            if not isinstance(annotation, dict) or not isinstance(annotation.get("caption"), str):
                yield SkippedRow(number, "bad_record", "an annotation without a caption")
                continue
            image = images.get(as_text(annotation.get("image_id")))
            if image is None:
                yield SkippedRow(number, "no_image", f"no image has the id {annotation.get('image_id')!r}")
                continue
            texts = {"caption_id": as_text(annotation.get("id")), _caption(options): annotation["caption"].strip()}
            yield Row(number, image | texts)


def _is_coco(path: str) -> bool:
    """Any JSON object: an `images` or `annotations` member is near its start, whatever its first arrays hold."""
    if not path.lower().endswith((".json", ".json.gz")):
        return False
    head = sniff(path)
    return head.lstrip()[:1] == "{" and bool(re.search(r'"(images|annotations)"\s*:\s*\[', head))


def _coco_columns(path: str, options: ReadOptions) -> Sequence[str]:
    return ("image", "caption_id", _caption(options), *_COCO_EXTRA)


def _locales(options: ReadOptions) -> tuple[str, ...]:
    return (options.language,) if options.language else _LOCALES


def _read_xm3600(path: str, options: ReadOptions) -> Rows:
    for line, text in _text_lines(path, options):
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            yield SkippedRow(line, "bad_json", f"not JSON: {error}")
            continue
        if not isinstance(record, dict) or not record.get("image/key"):
            yield SkippedRow(line, "no_image", "no image/key")
            continue
        yield from _xm3600_captions(line, record, options)


def _xm3600_captions(line: int, record: dict[str, Any], options: ReadOptions) -> Rows:
    for language in _locales(options):
        spoken = record.get(language)
        captions = spoken.get("caption") if isinstance(spoken, dict) else None
        if captions is None:
            continue  # not every image has every language
        if not isinstance(captions, list):
            yield SkippedRow(line, "bad_record", f"{language}: its captions are no list")
            continue
        for at, caption in enumerate(captions):
            yield Row(
                line,
                {
                    "image": f"{record['image/key']}.jpg",
                    # Captions of two languages are no translations of each other: rows of their own.
                    "caption_id": f"{language}-{at}",
                    f"caption_{language}": as_text(caption).strip(),
                    "locale": as_text(record.get("image/locale")),
                },
            )


def _is_xm3600(path: str) -> bool:
    is_lines = path.lower().endswith((".jsonl", ".jsonl.gz", ".ndjson"))
    return is_lines and '"image/key"' in first_line(path)


def _xm3600_columns(path: str, options: ReadOptions) -> Sequence[str]:
    return ("image", "caption_id", *(f"caption_{language}" for language in _locales(options)), "locale")


def _refuse_other_json(path: str, options: ReadOptions) -> Rows:
    raise DataError(
        f"{path} is JSON, but neither COCO captions, Karpathy's splits, nor a list of rows",
        hint="write one JSON object a line and name it .jsonl",
    )


def _is_other_json(path: str) -> bool:
    return path.lower().endswith((".json", ".json.gz")) and sniff(path).lstrip()[:1] == "{"


define_format("JSON object", (), _refuse_other_json, matches=_is_other_json)
define_format("COCO", (".json", ".json.gz"), _read_coco, columns=_coco_columns, matches=_is_coco)
define_format("Karpathy", (".json", ".json.gz"), _read_karpathy, columns=_karpathy_columns, matches=_is_karpathy)
define_format("Flickr8k-CSV", (".txt",), _read_kaggle, columns=_kaggle_columns, matches=_is_kaggle)
define_format("Flickr-token", (".token", ".txt"), _read_tokens, columns=_one_caption, matches=_is_tokens)
define_format("Flickr30k", (".csv",), _read_results, columns=_one_caption, matches=_is_results)
define_format("XM3600", (".jsonl",), _read_xm3600, columns=_xm3600_columns, matches=_is_xm3600)
