"""What the rest of Peyda may ask of a dual encoder, whichever backend runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from peyda.types import Float32

if TYPE_CHECKING:
    from PIL import Image


class Encoder(Protocol):
    """A dual encoder: photographs and sentences into one space.

    Rows that come out are `Float32[n, embed_dim]`, L2-normalised and finite. Methods are thread-safe.
    """

    @property
    def name(self) -> str:
        """Short name, e.g. "mini"."""

    @property
    def embed_dim(self) -> int:
        """Length of an embedding."""

    @property
    def fingerprint(self) -> str:
        """Hex digest over all files of the model: changes when anything in it changes."""

    @property
    def visual_fingerprint(self) -> str:
        """Hex digest over the image tower alone: a gallery depends on this and on no other part."""

    @property
    def image_size_px(self) -> int:
        """Side of the square that the image tower reads; decoders may shrink to no less than this."""

    def encode_images(self, images: Sequence[Image.Image]) -> Float32:
        """Embed photographs of any mode and size. Empty input gives shape (0, embed_dim)."""

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """Embed sentences; normalises them first. Empty input gives shape (0, embed_dim)."""

    def preprocess(self, image: Image.Image) -> Float32:
        """One photograph as the tower reads it: `Float32[3, size, size]`."""

    def encode_pixels(self, pixels: Float32) -> Float32:
        """Embed already preprocessed pixels, `Float32[n, 3, size, size]`, in the calling thread."""
