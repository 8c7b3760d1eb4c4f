"""Source texts and their keys, Persian spelling, failures, options, the cache file."""

from __future__ import annotations

import doctest
import importlib
import sqlite3
import threading
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peyda.errors import ConfigError, DataError, StorageError
from peyda.translate import ENGINES, EngineOptions, Failed, open_engine, to_persian_spelling
from peyda.translate.cache import TranslationCache
from peyda.translate.source import normalize_source, refusal, source_key

ANY_TEXT = st.text(st.characters(codec=None), max_size=60)


@pytest.mark.parametrize("name", ["source", "spelling", "pace", "wire"])
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"peyda.translate.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


@given(ANY_TEXT)
def test_a_normalised_source_is_one_line_of_encodable_text(text: str) -> None:
    source = normalize_source(text)
    assert normalize_source(source) == source
    assert source == source.strip()
    assert not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in source)
    assert len(source_key(source)) == 16


def test_what_changes_a_translation_changes_the_key() -> None:
    sources = ["a dog", "A dog", "a dog.", "a  cat", "e\u0301", "e"]
    assert len({source_key(normalize_source(text)) for text in sources}) == len(sources)
    assert normalize_source("e\u0301") == normalize_source("é")


def test_what_is_not_sent() -> None:
    assert refusal("a" * 10, 10) is None
    assert str(refusal("a" * 11, 10)) == "too_long: 11 characters, and the engine takes 10"
    assert refusal(normalize_source(" \ufeff\u200b\n\t\x00"), 10) == Failed("no_text")


@given(ANY_TEXT)
def test_persian_spelling_is_idempotent_and_keeps_half_spaces(text: str) -> None:
    mended = to_persian_spelling(text)
    assert to_persian_spelling(mended) == mended
    assert mended.count("\u200c") == text.count("\u200c")
    assert not set(mended) & set("يىك٠١٢٣٤٥٦٧٨٩\n\t\u200f")


def test_persian_spelling_leaves_what_people_read() -> None:
    text = "خانهٔ «بزرگ»، ۱۲ مِتر؛ می\u200cرود؟ ABC 34 ئ ؤ أ"
    assert to_persian_spelling(text) == text


def test_a_failure_needs_a_known_code() -> None:
    with pytest.raises(ValueError, match="unknown failure"):
        Failed("oops")


def test_options_never_show_the_key() -> None:
    options = EngineOptions(model="m", api_key="sk-secret")
    assert "secret" not in repr(options)
    assert "m" in repr(options)


def test_an_unknown_engine_gets_a_guess() -> None:
    with pytest.raises(ConfigError, match="no translation engine 'gogle'") as caught:
        open_engine("gogle")
    assert "Did you mean google?" in caught.value.hint
    assert all(name in caught.value.hint for name in ENGINES)


KEYS = [bytes([n]) * 16 for n in range(4)]


def test_the_cache_keeps_engines_and_jobs_apart(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "cache.sqlite"
    with TranslationCache(path, "one", b"job 1") as cache:
        cache.put({KEYS[0]: "الف"}, {KEYS[1]: Failed("refused", "no")})
        assert cache.translations(KEYS) == {KEYS[0]: "الف"}
        assert cache.failures(KEYS) == {KEYS[1]: Failed("refused", "no")}
    with TranslationCache(path, "two", b"job 1") as cache:
        assert cache.translations(KEYS) == {}
    with TranslationCache(path, "one", b"job 2") as cache:
        assert cache.translations(KEYS) == {KEYS[0]: "الف"}
        assert cache.failures(KEYS) == {}
        cache.forget_failures()
    with TranslationCache(path, "one", b"job 1") as cache:
        assert cache.failures(KEYS)
        cache.forget_failures()
        assert cache.failures(KEYS) == {}
        cache.close()


def test_the_cache_answers_for_many_keys_at_once(tmp_path: Path) -> None:
    keys = [n.to_bytes(16) for n in range(3_000)]
    with TranslationCache(tmp_path / "c", "one") as cache:
        cache.put({key: str(n) for n, key in enumerate(keys)}, {})
        assert cache.translations(keys) == {key: str(n) for n, key in enumerate(keys)}
        assert cache.translations([]) == {}


def test_two_writers_share_the_cache(tmp_path: Path) -> None:
    def write(identity: str) -> None:
        with TranslationCache(tmp_path / "c", identity) as cache:
            for n in range(50):
                cache.put({n.to_bytes(16): identity}, {})

    threads = [threading.Thread(target=write, args=(name,)) for name in ("one", "two", "one")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("one", "two"):
        with TranslationCache(tmp_path / "c", name) as cache:
            assert len(cache.translations([n.to_bytes(16) for n in range(50)])) == 50


def test_a_cache_of_a_newer_peyda_is_left_alone(tmp_path: Path) -> None:
    TranslationCache(tmp_path / "c", "one").close()
    with sqlite3.connect(tmp_path / "c") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DataError, match="newer Peyda") as caught:
        TranslationCache(tmp_path / "c", "one")
    assert "--cache" in caught.value.hint


def test_what_is_no_cache_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("image,caption\n" * 100)
    with pytest.raises(DataError, match="no cache"):
        TranslationCache(tmp_path / "text", "one")
    assert (tmp_path / "text").read_text() == "image,caption\n" * 100
    with sqlite3.connect(tmp_path / "other") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(DataError, match="other program"):
        TranslationCache(tmp_path / "other", "one")


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cache"):
        TranslationCache(tmp_path / "file" / "c", "one")
    with pytest.raises(StorageError, match="cache"):
        TranslationCache(tmp_path, "one")
