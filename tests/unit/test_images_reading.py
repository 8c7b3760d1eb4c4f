"""Reading a photograph from disk: its facts, its hash, and every way in which a disk says no."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from datetime import datetime
from pathlib import Path

import pytest
from tests.hostile import encoded, exif_block, picture

from peyda.errors import ImageRefused, StorageError
from peyda.images import Limits, decode_bytes, hash_photo, read_photo


@pytest.fixture
def photo_path(tmp_path: Path) -> str:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(picture(1, (400, 300)), "JPEG"))
    return str(path)


def test_facts_without_exif_come_from_the_file(photo_path: str) -> None:
    moment = datetime(2015, 3, 21, 12, 30, 45)
    os.utime(photo_path, ns=(0, int(moment.timestamp()) * 10**9 + 123))
    photo = read_photo(photo_path, target_px=224)
    data = Path(photo_path).read_bytes()
    assert photo.content_hash == hash_photo(photo_path) == hashlib.blake2b(data, digest_size=16).hexdigest()
    assert (photo.size_bytes, photo.mtime_ns) == (len(data), int(moment.timestamp()) * 10**9 + 123)
    facts = photo.facts
    assert (facts.format, facts.width_px, facts.height_px) == ("JPEG", 400, 300)
    assert (facts.taken_at, facts.taken_from) == ("2015-03-21T12:30:45", "file")
    assert (facts.latitude, facts.longitude) == (None, None)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_exif_is_read_from_every_format_that_has_it(form: str, tmp_path: Path) -> None:
    gps: dict[int, object] = {1: "S", 2: (33.0, 30.0, 36.0), 3: "W", 4: (70.0, 45.0, 0.0)}
    block = exif_block(date="2019:05:04 03:02:01", gps=gps)
    path = tmp_path / "photo"
    path.write_bytes(encoded(picture(2, (120, 80)), form, exif=block))
    facts = read_photo(str(path), target_px=64).facts
    assert facts.format == form
    assert (facts.taken_at, facts.taken_from) == ("2019-05-04T03:02:01", "exif")
    assert facts.latitude == pytest.approx(-33.51, abs=1e-6)
    assert facts.longitude == pytest.approx(-70.75, abs=1e-6)


@pytest.mark.parametrize("seconds", [0, 4_000_000_000, 253_402_300_800, -5_000_000_000])
def test_any_modification_time_gives_a_date(photo_path: str, seconds: int) -> None:
    try:
        os.utime(photo_path, (0, seconds))
    except OSError:
        pytest.skip("this file system has no such time")
    taken_at = read_photo(photo_path, target_px=64).facts.taken_at
    assert datetime.fromisoformat(taken_at)


def test_bytes_without_a_file_have_no_time() -> None:
    photo = decode_bytes(encoded(picture(3), "PNG"), target_px=64)
    assert (photo.facts.taken_at, photo.facts.taken_from, photo.mtime_ns) == ("", "none", 0)


def test_the_same_bytes_give_the_same_photo_as_the_file(photo_path: str) -> None:
    data = Path(photo_path).read_bytes()
    from_file, from_bytes = read_photo(photo_path, target_px=64), decode_bytes(data, target_px=64)
    assert from_file.content_hash == from_bytes.content_hash
    assert from_file.image.tobytes() == from_bytes.image.tobytes()


def reason_of(path: str, **options: object) -> str:
    with pytest.raises(ImageRefused) as caught:
        read_photo(path, target_px=64, **options)  # type: ignore[arg-type]
    assert caught.value.hint
    return caught.value.reason


def test_files_that_are_none(tmp_path: Path, photo_path: str) -> None:
    os.symlink("loop", tmp_path / "loop")
    assert reason_of(str(tmp_path)) == "not_a_file"
    assert reason_of("/dev/zero") == "not_a_file"
    assert reason_of(str(tmp_path / "missing.jpg")) == "vanished"
    assert reason_of(photo_path + "/inside.jpg") == "vanished"
    assert reason_of(str(tmp_path / "loop")) == "unreadable"
    assert reason_of(str(tmp_path / ("x" * 400))) == "unreadable"
    assert reason_of("nul\0byte.jpg") == "unreadable"


def test_a_pipe_that_takes_a_files_place_does_not_block(
    photo_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    status = os.stat(photo_path)
    with monkeypatch.context() as patch:
        patch.setattr("peyda.images.photo._stat", lambda path, limits: status)
        assert reason_of(pipe) == "not_a_file"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EACCES, "permission_denied"),
        (errno.EPERM, "permission_denied"),
        (errno.ENOENT, "vanished"),
        (errno.EIO, "unreadable"),
        (errno.ENOMEM, "out_of_memory"),
        (errno.EISDIR, "not_a_file"),
    ],
)
def test_what_the_system_says_becomes_a_reason(
    photo_path: str, number: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number), photo_path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        assert reason_of(photo_path) == reason


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENODEV, errno.ESTALE])
def test_a_lost_disk_stops_the_run_instead_of_skipping_all(
    photo_path: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", fail)
        with pytest.raises(StorageError) as caught:
            read_photo(photo_path, target_px=64)
    assert caught.value.hint


def test_no_file_handle_stays_open(photo_path: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0broken")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(5):
        read_photo(photo_path, target_px=64)
        reason_of(str(broken))
    after = len(os.listdir("/proc/self/fd")) if before else 0
    assert after == before


def test_limits_hold(photo_path: str) -> None:
    size = os.path.getsize(photo_path)
    assert reason_of(photo_path, limits=Limits(file_bytes=size - 1)) == "file_too_large"
    assert reason_of(photo_path, limits=Limits(decode_bytes=size - 1)) == "needs_too_much_memory"
    assert reason_of(photo_path, limits=Limits(pixels=400 * 300 - 1)) == "too_many_pixels"
    # A baseline JPEG needs itself and, at 4 bytes a pixel, the picture that libjpeg has shrunk to a quarter.
    needed = size + 100 * 75 * 4
    assert reason_of(photo_path, limits=Limits(decode_bytes=needed - 1)) == "needs_too_much_memory"
    read_photo(photo_path, target_px=64, limits=Limits(file_bytes=size, pixels=120_000, decode_bytes=needed))


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    assert reason_of(str(path)) == "file_too_large"


def test_an_upload_may_be_too_large() -> None:
    with pytest.raises(ImageRefused) as caught:
        decode_bytes(bytes(100), target_px=64, limits=Limits(file_bytes=99))
    assert caught.value.reason == "file_too_large"


def test_target_is_checked(photo_path: str) -> None:
    with pytest.raises(ValueError, match="target_px"):
        read_photo(photo_path, target_px=0)


def test_many_threads_give_the_same_pixels(tmp_path: Path) -> None:
    paths, wanted = [], []
    for seed, form in enumerate(("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "HEIF")):
        path = tmp_path / f"photo.{form.lower()}"
        path.write_bytes(encoded(picture(seed, (300, 200)), form))
        paths.append(str(path))
        wanted.append(read_photo(str(path), target_px=64).image.tobytes())
    got: list[list[bytes]] = [[] for _ in range(6)]

    def work(index: int) -> None:
        got[index] = [read_photo(path, target_px=64).image.tobytes() for path in paths]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [wanted] * 6
