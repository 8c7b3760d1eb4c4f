"""Memory: the estimate holds against what a process really takes, and decoders share one purse."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
from PIL import Image
from tests.hostile import encoded, picture

from peyda.images.budget import MemoryBudget
from peyda.images.quiet import quiet_decoders

MEASURE = """
import resource, sys
from contextlib import nullcontext
import peyda.images.decoding as decoding
from peyda.images import decode_bytes, read_photo
import PIL.AvifImagePlugin, PIL.TiffImagePlugin, PIL.WebPImagePlugin, pillow_heif

class Purse:
    def take(self, amount):
        self.amount = amount
        return nullcontext()

purse = decoding.DECODING = Purse()
read_photo(sys.argv[2], target_px=224)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read_photo(sys.argv[1], target_px=224)
print(purse.amount, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "subsampling": 0}),
        ("PNG", {"compress_level": 1}),
        ("WEBP", {"method": 0, "quality": 30}),
        ("AVIF", {"speed": 10, "quality": 30}),
        ("HEIF", {"quality": 10, "enc_params": {"preset": "ultrafast"}}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("GIF", {}),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else value,
)
def test_decoding_takes_no_more_than_estimated(form: str, options: dict[str, object], tmp_path: Path) -> None:
    """Twelve megapixels, in a process of its own."""
    large, small = tmp_path / "large", tmp_path / "small"
    large.write_bytes(encoded(picture(1, (4000, 3000)), form, **options))
    small.write_bytes(encoded(picture(2, (300, 200)), form, **options))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(large), str(small)], capture_output=True, text=True, check=True
    )
    estimated, taken = map(int, done.stdout.split())
    # Rows, tables, the shrunken picture and the allocator's rounding come on top.
    assert taken <= estimated + (24 << 20)


def test_a_purse_gives_no_more_than_it_has() -> None:
    purse = MemoryBudget(100)
    most, lock = 0, threading.Lock()

    def work(amount: int) -> None:
        nonlocal most
        for _ in range(30):
            with purse.take(amount), lock:
                most = max(most, purse.used)

    threads = [threading.Thread(target=work, args=(amount,)) for amount in (10, 30, 60, 90, 100, 5000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= 100
    assert purse.used == 0


def test_a_large_request_is_served_before_later_small_ones() -> None:
    purse, served = MemoryBudget(100), []
    entered = threading.Event()

    def take(amount: int) -> None:
        with purse.take(amount):
            served.append(amount)

    with purse.take(50):
        large = threading.Thread(target=take, args=(100,))
        large.start()
        while not purse._queue:
            entered.wait(0.001)
        small = threading.Thread(target=take, args=(1,))
        small.start()
        while len(purse._queue) < 2:
            entered.wait(0.001)
        assert served == []
    large.join()
    small.join()
    assert served == [100, 1]


def test_a_purse_is_refilled_after_an_error() -> None:
    purse = MemoryBudget(10)
    with pytest.raises(RuntimeError), purse.take(10):
        raise RuntimeError
    with purse.take(10):
        assert purse.used == 10


def test_decoders_warn_in_silence_and_others_do_not() -> None:
    before = list(warnings.filters)
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = 10
    try:
        with quiet_decoders(), quiet_decoders():
            Image.open(encoded_file()).close()
            with pytest.warns(UserWarning, match="mine"):
                warnings.warn("mine", UserWarning, stacklevel=1)
        with pytest.warns(Image.DecompressionBombWarning):
            Image.open(encoded_file()).close()
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    assert list(warnings.filters) == before


def encoded_file() -> object:
    """Fifteen pixels."""
    import io

    return io.BytesIO(encoded(picture(3, (5, 3)), "PNG"))
