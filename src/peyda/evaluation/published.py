"""Numbers that others published for Persian, with their sources: for orientation beside ours, never among them.

They are of other photographs, other captions and other galleries, so nothing here may share a column with a
measurement of ours. Read from stored copies of the sources named in each row.
"""

from __future__ import annotations

from dataclasses import dataclass

_XM3600 = "XM3600, Persian captions, 3,600 photographs"
_OPEN_CLIP = "open_clip, docs/openclip_multilingual_retrieval_results.csv"
_ORIGINAL = "arman-aminian/image-search, README (read off its plots)"
_BABEL = "Babel-ImageNet (Geigle et al., 2023), Persian, 682 classes"


@dataclass(frozen=True, slots=True)
class PublishedRetrieval:
    """Text to image, as published.

    Attributes:
        system: The model.
        dataset: What it was measured on.
        accuracy: k → Acc@k, shares.
        source: Where it is published.
        remark: What to know before reading it.
    """

    system: str
    dataset: str
    accuracy: tuple[tuple[int, float], ...]
    source: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class PublishedZeroShot:
    """Zero-shot classification, as published: `top1` is a share."""

    system: str
    dataset: str
    top1: float
    source: str
    remark: str = ""


def _xm3600(system: str, at_1: float, at_5: float, at_10: float, remark: str = "") -> PublishedRetrieval:
    return PublishedRetrieval(system, _XM3600, ((1, at_1), (5, at_5), (10, at_10)), _OPEN_CLIP, remark)


RETRIEVAL: tuple[PublishedRetrieval, ...] = (
    _xm3600("nllb-clip-large-siglip (mrl)", 0.613, 0.858, 0.914, "non-commercial licence"),
    _xm3600("XLM-RoBERTa-large ViT-H/14", 0.564, 0.805, 0.878),
    _xm3600("nllb-clip-base-siglip (mrl)", 0.557, 0.818, 0.886, "non-commercial licence"),
    _xm3600("SigLIP-i18n B/16-256", 0.499, 0.757, 0.837),
    _xm3600("XLM-RoBERTa-base ViT-B/32", 0.464, 0.754, 0.838),
    PublishedRetrieval(
        "original project, CLIP",
        "Flickr30k, 1,000 caption rows",
        ((1, 0.37), (5, 0.51), (10, 0.65), (50, 0.89)),
        _ORIGINAL,
        "machine-translated captions; overlaps its training data; doubled photographs; ties count for the query",
    ),
    PublishedRetrieval(
        "original project, CLIP",
        "nocaps, 1,000 photographs, one caption each",
        ((1, 0.13), (5, 0.34), (10, 0.48), (50, 0.77)),
        _ORIGINAL,
        "machine-translated captions; ties count for the query",
    ),
)

ZERO_SHOT: tuple[PublishedZeroShot, ...] = (
    PublishedZeroShot("SigLIP-i18n B/16", "Babel-ImageNet FA", 0.514, _BABEL),
    PublishedZeroShot("XLM-RoBERTa-large ViT-H/14", "Babel-ImageNet FA", 0.394, _BABEL),
    PublishedZeroShot("nllb-clip-large-siglip", "Babel-ImageNet FA", 0.329, _BABEL),
    PublishedZeroShot("original project, CLIP", "STL-10", 0.49, _ORIGINAL),
    PublishedZeroShot("original project, CorrNet baseline", "STL-10", 0.10, _ORIGINAL),
    PublishedZeroShot("original project, CLIP", "Oxford-IIIT Pets, cat or dog", 0.83, _ORIGINAL, "two classes"),
    PublishedZeroShot(
        "original project, CorrNet baseline", "Oxford-IIIT Pets, cat or dog", 0.68, _ORIGINAL, "two classes"
    ),
)
