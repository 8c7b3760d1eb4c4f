"""The name tables are complete, in order, and spelt by the rules that their README states."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from peyda.persian import lexicon, normalize
from peyda.persian.lexicon import ClassNames, EverydayPhrase, caltech101_names, everyday_names, imagenet_names

ZWNJ = "\N{ZERO WIDTH NON-JOINER}"
# What a Persian name may hold: the letters of modern Iranian spelling, a space and the half-space.
ALPHABET = set("آأئؤءابپتثجچحخدذرزژسشصضطظعغفقکگلمنوهی ") | {ZWNJ}
UNJOINED = "آاأؤءدذرزژو"
# Names Latin letters belong in: index -> the letters.
LATIN_ALLOWED = {661: set("T")}


def spelling_faults(name: str) -> list[str]:
    faults = []
    if name != name.strip(" " + ZWNJ) or "  " in name:
        faults.append("stray space at an edge or doubled")
    if re.search(f" {ZWNJ}|{ZWNJ} |{ZWNJ}{ZWNJ}", name):
        faults.append("half-space beside a space or another half-space")
    if re.search(f"[{UNJOINED}]{ZWNJ}", name):
        faults.append("invisible half-space after a letter that joins to nothing")
    if unicodedata.normalize("NFC", name) != name:
        faults.append("not NFC")
    return faults


def all_persian() -> list[tuple[str, str]]:
    rows = [(f"imagenet {c.index}", name) for c in imagenet_names() for name in c.fa]
    rows += [(f"caltech101 {c.wnid}", name) for c in caltech101_names() for name in c.fa]
    rows += [(f"everyday {e.en}", name) for e in everyday_names() for name in e.fa]
    return rows


def test_imagenet_holds_each_class_once_in_index_order() -> None:
    classes = imagenet_names()

    assert [c.index for c in classes] == list(range(1000))
    wnids = [c.wnid for c in classes]
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in wnids)
    # The usual index order of ImageNet-1k is the byte order of the WordNet ids.
    assert wnids == sorted(set(wnids))


@pytest.mark.parametrize(
    ("index", "wnid", "english", "persian"),
    [
        (0, "n01440764", "tench", "لای‌ماهی"),
        (97, "n01847000", "drake", "اردک نر"),
        (134, "n02012849", "crane", "درنا"),
        (242, "n02108089", "boxer", "سگ باکسر"),
        (282, "n02123159", "tiger cat", "گربه ببری"),
        (430, "n02802426", "basketball", "توپ بسکتبال"),
        (517, "n03126707", "crane", "جرثقیل"),
        (673, "n03793489", "mouse", "ماوس"),
        (677, "n03804744", "nail", "میخ"),
        (999, "n15075141", "toilet tissue", "دستمال توالت"),
    ],
)
def test_imagenet_rows_are_aligned_with_their_classes(index: int, wnid: str, english: str, persian: str) -> None:
    row = imagenet_names()[index]

    assert (row.wnid, row.en[0], row.fa[0]) == (wnid, english, persian)


def test_caltech101_holds_each_folder_once_in_byte_order() -> None:
    classes = caltech101_names()

    assert [c.index for c in classes] == list(range(101))
    folders = [c.wnid for c in classes]
    assert folders == sorted(set(folders))
    assert {"Faces", "Faces_easy", "water_lilly", "yin_yang"} <= set(folders)
    assert "BACKGROUND_Google" not in folders


def test_everyday_entries_are_many_and_listed_once() -> None:
    english = [entry.en for entry in everyday_names()]

    assert len(english) >= 1500
    assert len(set(english)) == len(english)
    assert all(en == en.strip() and en.isascii() for en in english)


def test_every_name_uses_only_modern_persian_letters() -> None:
    wrong = []
    for where, name in all_persian():
        extra = set(name) - ALPHABET
        if where.startswith("imagenet "):
            extra -= LATIN_ALLOWED.get(int(where.split()[1]), set())
        if extra:
            wrong.append((where, name, [unicodedata.name(ch, repr(ch)) for ch in sorted(extra)]))

    assert wrong == []


def test_every_name_has_clean_spaces_and_half_spaces() -> None:
    assert [(where, name, faults) for where, name in all_persian() if (faults := spelling_faults(name))] == []


@pytest.mark.parametrize("table", [imagenet_names, caltech101_names])
def test_classes_have_synonyms_that_differ_normalize(table: Callable[[], list[ClassNames]]) -> None:
    classes = table()

    assert all(2 <= len(c.fa) <= 6 for c in classes)
    repeated = [c.fa for c in classes if len({normalize(name) for name in c.fa}) < len(c.fa)]
    assert repeated == []


@pytest.mark.parametrize("table", [imagenet_names, caltech101_names, everyday_names])
def test_first_names_tell_all_entries_of_a_table_apart(
    table: Callable[[], Sequence[ClassNames | EverydayPhrase]],
) -> None:
    seen: dict[str, ClassNames | EverydayPhrase] = {}
    clashes = []
    for entry in table():
        first = normalize(entry.fa[0])
        if first in seen:
            clashes.append((first, seen[first], entry))
        seen[first] = entry

    assert clashes == []


def test_only_the_laptop_shares_its_first_name_with_a_synonym_of_another_class() -> None:
    classes = imagenet_names()
    firsts = {normalize(c.fa[0]): c.index for c in classes}
    shared = {
        (firsts[normalize(name)], c.index)
        for c in classes
        for name in c.fa[1:]
        if firsts.get(normalize(name), c.index) != c.index
    }

    # ImageNet has laptop (620) and notebook (681), which Iranians call the same thing.
    assert shared == {(620, 681)}


def test_readers_hand_out_fresh_lists() -> None:
    imagenet_names().clear()

    assert len(imagenet_names()) == 1000


def test_damaged_table_is_refused_with_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lexicon, "files", lambda _package: tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    lexicon._imagenet_table.cache_clear()
    try:
        for content, complaint in [
            ("0\tn01440764\ttench\n", "imagenet_fa.tsv:1: 3 columns"),
            ("1\tn01440764\ttench\tلای\n", "imagenet_fa.tsv:1: numbered '1'"),
            ("0\tn01440764\ttench\tلای|\n", "an empty name"),
        ]:
            (data / "imagenet_fa.tsv").write_text(content, encoding="utf-8")
            with pytest.raises(ValueError, match=complaint):
                imagenet_names()
    finally:
        lexicon._imagenet_table.cache_clear()
