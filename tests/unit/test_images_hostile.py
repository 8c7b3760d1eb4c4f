"""Every odd or hostile file gets the answer it should, and no bytes whatever make anything else than a refusal."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from tests.hostile import make_hostile_folder, make_valid_images

from peyda.errors import ImageRefused
from peyda.images import REASONS, RETRY_REASONS, SUPPORTED_SUFFIXES, Limits, decode_bytes, read_photo, thumbnail_jpeg


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str | None]]:
    folder = tmp_path_factory.mktemp("hostile")
    return folder, make_hostile_folder(folder)


def test_every_file_is_answered_as_expected(
    hostile: tuple[Path, dict[str, str | None]], capfd: pytest.CaptureFixture[str]
) -> None:
    folder, expected = hostile
    answers: dict[str, str | None] = {}
    refusals: list[ImageRefused] = []
    for name in expected:
        try:
            photo = read_photo(os.path.join(folder, name), target_px=64)
        except ImageRefused as refusal:
            answers[name] = refusal.reason
            refusals.append(refusal)
        else:
            answers[name] = None
            assert photo.image.mode == "RGB"
            assert photo.facts.width_px > 0
    assert answers == expected
    for refusal in refusals:
        assert refusal.hint
        assert refusal.message.endswith(".")
        assert "\n" not in refusal.message
    assert capfd.readouterr() == ("", "")


def test_the_hostile_folder_says_what_it_holds(hostile: tuple[Path, dict[str, str | None]]) -> None:
    folder, expected = hostile
    assert set(os.listdir(folder)) == set(expected)
    assert set(expected.values()) - {None} <= set(REASONS)
    assert {os.path.splitext(name)[1].lower() for name in expected} <= SUPPORTED_SUFFIXES
    indexed = [Path(folder, name).read_bytes() for name, reason in expected.items() if reason is None]
    assert len(set(indexed)) == len(indexed)


def test_thumbnails_refuse_what_reading_refuses(hostile: tuple[Path, dict[str, str | None]]) -> None:
    folder, expected = hostile
    for name, reason in expected.items():
        path = os.path.join(folder, name)
        if reason is None:
            assert thumbnail_jpeg(path, 32).startswith(b"\xff\xd8\xff")
        else:
            with pytest.raises(ImageRefused) as caught:
                thumbnail_jpeg(path, 32)
            assert caught.value.reason == reason


def test_reasons_are_sentences_with_a_remedy() -> None:
    for code, words in REASONS.items():
        assert code == code.lower()
        assert words.count(".") >= 2 or words.count("]") == 1, code
    assert set(REASONS) >= RETRY_REASONS


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One to eight changes: a byte, a length field, a cut, a doubled stretch; more of them in the header."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        reach = len(changed) if rng.random() < 0.5 else min(len(changed), 200)
        if reach < 2:
            break
        at = rng.randrange(reach)
        kind = rng.randrange(5)
        if kind == 0:
            changed[at] = rng.randrange(256)
        elif kind == 1:
            changed[at : at + 4] = rng.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"))
        elif kind == 2:
            del changed[at : at + rng.randrange(1, 40)]
        elif kind == 3:
            changed[at:at] = changed[rng.randrange(len(changed)) :][: rng.randrange(1, 60)]
        else:
            changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.1 else changed)


@pytest.mark.parametrize("name", sorted(make_valid_images()))
def test_mutated_bytes_are_read_or_refused(name: str) -> None:
    rng = random.Random(name)
    valid = make_valid_images()[name]
    limits = Limits(decode_bytes=64 << 20)
    refused: list[str] = []
    for _ in range(150):
        try:
            photo = decode_bytes(mutate(valid, rng), target_px=48, limits=limits)
        except ImageRefused as refusal:
            refused.append(refusal.reason)
        else:
            assert photo.image.mode == "RGB"
            photo.image.getpixel((0, 0))
    assert refused
    assert set(refused) <= set(REASONS)


@pytest.mark.parametrize("name", sorted(make_valid_images()))
def test_every_prefix_is_refused_or_whole(name: str) -> None:
    """A file cut anywhere in its first half is never taken for a whole one."""
    valid = make_valid_images()[name]
    for length in range(0, len(valid) // 2, max(1, len(valid) // 100)):
        with pytest.raises(ImageRefused) as caught:
            decode_bytes(valid[:length], target_px=48)
        assert caught.value.reason in {"empty", "not_an_image", "truncated", "undecodable"}


def test_errors_of_any_kind_inside_a_decoder_become_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    from peyda.images import decoding

    valid = make_valid_images()["base.jpg"]
    for error, reason in (
        (MemoryError(), "out_of_memory"),
        (RecursionError("deep"), "undecodable"),
        (AssertionError(), "undecodable"),
        (EOFError(), "truncated"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), "undecodable"),
    ):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setitem(decoding._OPENERS, "JPEG", fail)
        with pytest.raises(ImageRefused) as caught:
            decode_bytes(valid, target_px=48)
        assert caught.value.reason == reason


def test_interrupts_are_not_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    from peyda.images import decoding

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(decoding._OPENERS, "JPEG", interrupt)
    with pytest.raises(KeyboardInterrupt):
        decode_bytes(make_valid_images()["base.jpg"], target_px=48)
