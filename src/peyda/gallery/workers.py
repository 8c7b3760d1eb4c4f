"""The threads that read photographs and embed them.

Every thread does the whole way, from bytes to vectors, for a small chunk of files at a time. Pillow and ONNX Runtime
both let go of the interpreter while they work, so decoding on one core overlaps with encoding on another, without a
hand-over of pixels between threads. Memory is bounded by the number of chunks in flight.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np

from peyda.encoders import Encoder
from peyda.errors import ImageRefused, ModelError, PeydaError
from peyda.gallery.changes import ToRead
from peyda.gallery.commit import Encoded, Known, Outcome
from peyda.gallery.reasons import NO_VECTOR, UNDECODABLE
from peyda.gallery.scan import Found
from peyda.images import PhotoFacts, read_photo
from peyda.types import Float32, Skipped

CHUNK = 4
"""Files that are read and embedded together. Measured on one core: a convolutional tower is fastest with 1 to 4 (its
activations stay in the cache) and needs a fifth of the memory that 16 take; a ViT gains little beyond 4."""

_CHUNKS_PER_THREAD = 8  # in flight: enough that nobody waits while the caller's thread commits
_HASH_BLOCK_BYTES = 1 << 20


class Workers:
    """A pool of reading-and-embedding threads; a context manager.

    Args:
        encoder: Embeds; its methods are called from every thread.
        count: How many threads.
        is_known: Whether the gallery has a photograph with that content hash; called from every thread.
    """

    def __init__(self, encoder: Encoder, count: int, is_known: Callable[[str], bool]) -> None:
        self._encoder = encoder
        self._is_known = is_known
        self._jobs: queue.SimpleQueue[Sequence[ToRead] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[list[Outcome] | BaseException] = queue.SimpleQueue()
        self._is_stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"peyda-reader-{n}", daemon=True) for n in range(count)
        ]
        self.in_flight = 0

    @property
    def has_room(self) -> bool:
        """Whether another chunk may be submitted: each thread works on one and finds the next ones waiting."""
        return self.in_flight < _CHUNKS_PER_THREAD * len(self._threads)

    def __enter__(self) -> Workers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for _thread in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def submit(self, chunk: Sequence[ToRead]) -> None:
        """Queue one chunk. Never waits; the caller looks at `has_room` first."""
        self.in_flight += 1
        self._jobs.put(chunk)

    def stop(self) -> None:
        """Let the threads give back what they have finished and leave the rest: chunks come back shorter or empty."""
        self._is_stopping.set()

    def collect(self, timeout_s: float) -> list[Outcome] | None:
        """The outcomes of one chunk, or None when none is ready in time.

        Raises:
            ModelError: The encoder does not work at all.
        """
        try:
            result = self._results.get(timeout=timeout_s)
        except queue.Empty:
            return None
        self.in_flight -= 1
        if isinstance(result, BaseException):
            raise result
        return result

    def _run(self) -> None:
        while (chunk := self._jobs.get()) is not None:
            try:
                self._results.put(self._process(chunk))
            except BaseException as error:  # noqa: BLE001 - whatever it is, the caller's thread must hear of it
                self._results.put(error)

    def _process(self, chunk: Sequence[ToRead]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        read: list[tuple[Found, str, PhotoFacts]] = []
        size = self._encoder.image_size_px
        pixels = np.empty((len(chunk), 3, size, size), np.float32)
        for item in chunk:
            if self._is_stopping.is_set():
                break
            outcome = self._read(item, pixels[len(read)])
            if isinstance(outcome, tuple):
                read.append(outcome)
            else:
                outcomes.append(outcome)
        return outcomes + self._encode(read, pixels[: len(read)])

    def _read(self, item: ToRead, pixels: Float32) -> tuple[Found, str, PhotoFacts] | Outcome:
        """Fill `pixels` (`Float32[3, size, size]`) from one file, or say why not."""
        found = item.found
        try:
            if item.has_twin_size and (known := self._known(found)) is not None:
                return known
            photo = read_photo(found.path, target_px=self._encoder.image_size_px)
            pixels[...] = self._encoder.preprocess(photo.image)
        except ImageRefused as refused:
            detail = f"{refused.message} {refused.hint}".strip()
            return Skipped(found.path, refused.reason, detail, found.size_bytes, found.mtime_ns)
        except PeydaError:
            raise  # the disk is lost, the catalogue is damaged: no fault of this photograph
        except Exception as error:  # noqa: BLE001 - one bad photograph never stops a run
            return _skipped(found, UNDECODABLE, f"{type(error).__name__}: {error}")
        return found, photo.content_hash, photo.facts

    def _known(self, found: Found) -> Known | None:
        try:
            content_hash = hash_file(found.path)
        except OSError:
            return None  # reading it as a photograph will say what is wrong
        return Known(found, content_hash) if self._is_known(content_hash) else None

    def _encode(self, read: Sequence[tuple[Found, str, PhotoFacts]], pixels: Float32) -> list[Outcome]:
        if not read:
            return []
        try:
            vectors = self._encoder.encode_pixels(pixels)
        except ModelError:
            return self._encode_singly(read, pixels)
        return [Encoded(*one, vector) for one, vector in zip(read, vectors, strict=True)]

    def _encode_singly(self, read: Sequence[tuple[Found, str, PhotoFacts]], pixels: Float32) -> list[Outcome]:
        """One photograph that the model cannot take must not cost the others theirs."""
        outcomes: list[Outcome] = []
        for one, row in zip(read, pixels, strict=True):
            with contextlib.suppress(ModelError):
                outcomes.append(Encoded(*one, self._encoder.encode_pixels(row[None])[0]))
                continue
            outcomes.append(_skipped(one[0], NO_VECTOR, "The model gives no usable vector for this photograph."))
        if not any(isinstance(outcome, Encoded) for outcome in outcomes):
            self._encoder.encode_pixels(np.zeros_like(pixels[:1]))  # raises when it is the model that is broken
        return outcomes


def hash_file(path: str) -> str:
    """The content hash that `peyda.images.read_photo` gives, without decoding. Raises OSError."""
    digest = blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _skipped(found: Found, reason: str, detail: str) -> Skipped:
    return Skipped(found.path, reason, detail, found.size_bytes, found.mtime_ns)
