"""From embeddings to ranks: where a query's own item stands among all candidates.

The tie rule: whatever scores as high as the query's own item counts as before it, so that an encoder which maps
everything to one point is last everywhere, and never first.

Similarity is the dot product of the rows (the cosine where they are L2-normalised), worked out in float64: there the
rounding error is far below any difference that float32 embeddings can have, so a difference inside that error *is* a
tie. In float32 a matrix product may give two equal rows scores that differ in the last bit, and hide the tie.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Ties = Literal["against", "for"]

_BLOCK_BYTES = 64 * 2**20  # of one block of the similarity matrix


@dataclass(frozen=True, slots=True)
class RetrievalRanks:
    """Ranks of both directions; 1 is best.

    Attributes:
        text_to_image: `Int64[t]`, for each text the rank of its own image among all images.
        image_to_text: `Int64[q]`, for each queried image the rank of the best of its own texts among all texts,
            the image's other texts left out (the field's CLIP recall).
        queried_images: `Int64[q]`, ascending: the images that have a text. Images without one are candidates only.
        own_texts: `Int64[t]`, for each text its rank among all texts when its own image is the query: what a graded
            metric such as nDCG needs. Different for the texts of one image; the lowest of them is in `image_to_text`.
    """

    text_to_image: Int64
    image_to_text: Int64
    queried_images: Int64
    own_texts: Int64


def retrieval_ranks(
    text_embeddings: npt.ArrayLike,
    image_embeddings: npt.ArrayLike,
    image_of_text: npt.ArrayLike,
    *,
    ties: Ties = "against",
) -> RetrievalRanks:
    """Rank both directions in one walk over the similarity matrix, a block of images at a time.

    Args:
        text_embeddings: `Float[t, d]`.
        image_embeddings: `Float[n, d]`, one row for each distinct image.
        image_of_text: `Int[t]`, the row of each text's own image. An image may have several texts, or none.
        ties: "against" the query, or "for" it: then what scores as high as its own item stands behind it, and an
            encoder that maps everything to one point is first everywhere. Only for comparing with figures made so.

    Returns:
        The ranks. No texts give empty ranks.

    Raises:
        ValueError: Shapes do not fit, a value is not finite, or `image_of_text` points outside the images.

    >>> ranks = retrieval_ranks([[1, 0], [0.6, 0.8], [0.8, 0.6]], [[1, 0], [0, 1]], [0, 1, 1])
    >>> ranks.text_to_image.tolist(), ranks.image_to_text.tolist()
    ([1, 1, 2], [1, 1])
    >>> retrieval_ranks([[1, 0]], [[1, 0], [1, 0]], [0], ties="for").text_to_image.tolist()
    [1]
    """
    texts, images, own = _checked(text_embeddings, image_embeddings, image_of_text)
    own_scores = np.einsum("td,td->t", texts, images[own])
    text_norms, image_norms = np.linalg.norm(texts, axis=1), np.linalg.norm(images, axis=1)
    # Twice the bound on the rounding error of a dot product of d terms, for the two scores compared.
    error = 2.0 * (texts.shape[1] + 2) * np.finfo(np.float64).eps
    text_error = error * text_norms * image_norms.max(initial=0.0)
    image_error = error * image_norms[own] * text_norms.max(initial=0.0)
    if ties == "for":  # only what is higher for certain stands before the own item
        text_floor = np.nextafter(own_scores + text_error, np.inf)
        image_floor = np.nextafter(own_scores + image_error, np.inf)
    else:
        text_floor, image_floor = own_scores - text_error, own_scores - image_error

    order, starts = _texts_of_images(own, len(images))
    text_ranks = np.ones(len(texts), dtype=np.int64)
    strangers = np.zeros(len(texts), dtype=np.int64)  # texts of other images that stand before each text
    for rows, scores in _blocks(images, texts):
        mine = order[starts[rows.start] : starts[rows.stop]]
        scores[own[mine] - rows.start, mine] = -np.inf  # neither direction competes with its own
        text_ranks += np.count_nonzero(scores >= text_floor, axis=0)
        for text in mine.tolist():
            strangers[text] = np.count_nonzero(scores[own[text] - rows.start] >= image_floor[text])
    queried = np.unique(own)
    own_texts = 1 + strangers + _places(own, strangers)
    best = np.full(len(images), np.iinfo(np.int64).max)
    np.minimum.at(best, own, own_texts)
    return RetrievalRanks(text_ranks, best[queried], queried, own_texts)


def text_to_image_ranks(
    text_embeddings: npt.ArrayLike, image_embeddings: npt.ArrayLike, image_of_text: npt.ArrayLike
) -> Int64:
    """The rank of each text's own image, `Int64[t]`; arguments, ties and errors as `retrieval_ranks`."""
    return retrieval_ranks(text_embeddings, image_embeddings, image_of_text).text_to_image


def image_to_text_ranks(
    text_embeddings: npt.ArrayLike, image_embeddings: npt.ArrayLike, image_of_text: npt.ArrayLike
) -> Int64:
    """The rank of the best own text of each image that has one, by ascending image row, `Int64[q]`.

    Arguments, ties and errors as `retrieval_ranks`.
    """
    return retrieval_ranks(text_embeddings, image_embeddings, image_of_text).image_to_text


def _checked(
    text_embeddings: npt.ArrayLike, image_embeddings: npt.ArrayLike, image_of_text: npt.ArrayLike
) -> tuple[Float64, Float64, Int64]:
    texts = np.asarray(text_embeddings, dtype=np.float64)
    images = np.asarray(image_embeddings, dtype=np.float64)
    own = np.asarray(image_of_text)
    if texts.ndim != 2 or images.ndim != 2 or texts.shape[1] != images.shape[1]:
        raise ValueError(f"embeddings must be [t, d] and [n, d]; got {texts.shape} and {images.shape}")
    if own.shape != (len(texts),):
        raise ValueError(f"image_of_text must be [{len(texts)}]; got {own.shape}")
    if len(own) and not np.issubdtype(own.dtype, np.integer):
        raise ValueError(f"image_of_text must hold integers; got {own.dtype}")
    if len(own) and (int(own.min()) < 0 or int(own.max()) >= len(images)):
        raise ValueError(f"image_of_text must be in [0, {len(images)}); got {own.min()} to {own.max()}")
    if not (np.isfinite(texts).all() and np.isfinite(images).all()):
        raise ValueError("embeddings must be finite")
    return texts, images, own.astype(np.int64)


def _texts_of_images(own: Int64, images: int) -> tuple[Int64, Int64]:
    """Texts ordered by their image, and where each image's texts begin in that order: `Int64[t]`, `Int64[n + 1]`."""
    order = np.argsort(own, kind="stable")
    return order, np.searchsorted(own[order], np.arange(images + 1)).astype(np.int64)


def _places(own: Int64, strangers: Int64) -> Int64:
    """How many texts of the same image stand before each text: 0, 1, … by `strangers`, then by position."""
    order = np.lexsort((np.arange(len(own)), strangers, own))
    sorted_own = own[order]
    places = np.empty(len(own), dtype=np.int64)
    places[order] = np.arange(len(own)) - np.searchsorted(sorted_own, sorted_own)
    return places


def _blocks(images: Float64, texts: Float64) -> Iterator[tuple[slice, Float64]]:
    """Blocks of the similarity matrix, `Float64[b, t]`, each with the rows of `images` it is of."""
    size = max(1, _BLOCK_BYTES // (8 * max(1, len(texts))))
    for start in range(0, len(images), size):
        rows = slice(start, min(start + size, len(images)))
        yield rows, images[rows] @ texts.T
