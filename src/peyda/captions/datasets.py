"""Published caption sets by name: `set:flickr30k` wherever a table's path may stand.

A name says which copy on the Hugging Face hub is read, at which revision where one is known, which of its splits, what
its columns mean and how its photographs are called, so that two people who write the same name measure on the same
rows. Photographs are never changed: they are written as they are, byte for byte, once they have proved to be
photographs. docs/data/sets.md holds the same for people, and a test keeps the two together.

Needs the extra `hub` and a network; a mirror is named as `datasets` names it (HF_ENDPOINT). The same sets by path need
neither: every format they are published in is read as a file.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from peyda.captions.formats import ReadOptions, Rows, define_format
from peyda.captions.hub import Reading, hub_columns, read_hub
from peyda.errors import DataError

PREFIX = "set:"


@dataclass(frozen=True, slots=True)
class PublishedSet:
    """A caption set on the hub.

    Attributes:
        about: What it is, in one line.
        source: Where it is, as `peyda.captions.hub` writes it.
        language: Of its captions.
        reading: What its columns and splits mean.
        has_photographs: Whether the photographs are inside; otherwise their addresses are, for `captions fetch`.
        use: What it may be used for here, in one line.
    """

    about: str
    source: str
    language: str
    reading: Reading
    has_photographs: bool
    use: str


SETS: Mapping[str, PublishedSet] = MappingProxyType(
    {
        "flickr30k": PublishedSet(
            about="Flickr30k: 31,783 photographs, five English captions each",
            source="hf:lmms-lab/flickr30k?split=test",
            language="en",
            # The copy calls all of Flickr30k "test": that is no split, so the column stays empty for --split to fill.
            reading=Reading(splits={"test": ""}, image_column="filename", left_out=("sentids", "img_id")),
            has_photographs=True,
            use="training and measuring, split by photograph (--split); research use",
        ),
        "nocaps": PublishedSet(
            about="nocaps, validation: 4,500 photographs of Open Images, ten English captions each",
            source="hf:lmms-lab/NoCaps?split=validation&revision=a26b3fe1e0021164ec430c57c48085d58f2fe922",
            language="en",
            reading=Reading(
                splits={"validation": "test"},
                renamed={"annotations_captions": "captions", "image_coco_url": "url"},
                image_column="image_file_name",
                left_out=("annotations_ids", "image_date_captured", "image_license"),
            ),
            has_photographs=True,
            use="measuring only; it has no training split",
        ),
        "xm3600-fa": PublishedSet(
            about="Crossmodal-3600, Persian: 3,600 photographs, captions written by people",
            source="hf:floschne/xm3600?split=fa&revision=8d3e5665526c55a5855cd6ddfbaba2032bc7cee4",
            language="fa",
            reading=Reading(
                splits={"fa": "test"},
                image_column="image_id",
                image_suffix=".jpg",
                left_out=("captions_tokenized", "captions_tokenized_lowercase"),
            ),
            has_photographs=True,
            use="measuring only, never training",
        ),
        "coco": PublishedSet(
            about="COCO 2014 in Karpathy's splits: 123,287 photographs, five English captions each",
            source="hf:yerevann/coco-karpathy",
            language="en",
            # What Karpathy calls restval is trained on as well, as in all work with his splits.
            reading=Reading(
                splits={"train": "train", "restval": "train", "validation": "val", "test": "test"},
                renamed={"sentences": "captions"},
                left_out=("filepath", "sentids", "imgid"),
            ),
            has_photographs=False,
            use="training and measuring",
        ),
    }
)
"""Name → set."""


def published_set(path: str) -> PublishedSet:
    """The set that `set:NAME` names.

    Raises:
        DataError: There is none of that name.
    """
    name = path.removeprefix(PREFIX)
    if name not in SETS:
        close = difflib.get_close_matches(name, SETS, n=1)
        guess = f"did you mean {PREFIX}{close[0]}? " if close else ""
        raise DataError(
            f"there is no published set {name!r}",
            hint=f"{guess}known: {', '.join(SETS)}; any other set of the hub is hf:OWNER/NAME",
        )
    return SETS[name]


def _options(one: PublishedSet, options: ReadOptions) -> ReadOptions:
    return dataclasses.replace(options, language=options.language or one.language)


def _columns(path: str, options: ReadOptions) -> Sequence[str]:
    one = published_set(path)
    return hub_columns(one.source, _options(one, options), one.reading)


def _read(path: str, options: ReadOptions) -> Rows:
    one = published_set(path)
    yield from read_hub(one.source, _options(one, options), one.reading)


define_format("published set", (), _read, columns=_columns, matches=lambda path: path.startswith(PREFIX))
