"""Models worth pulling for Persian, with what a person needs to choose: size, licence, speed, published numbers.

All are ONNX exports in the layout that Peyda loads, published by Immich (https://huggingface.co/immich-app).

- Persian retrieval: text to image on XM3600 `fa` (3,600 photographs, one Persian caption a query), from open_clip's
  table of multilingual retrieval, and for SigLIP 2 from Immich's documentation, which gives the mean of the three only.
  They are of other photographs than ours: `peyda.evaluation.published` says more.
- Persian object words: Babel-ImageNet (Geigle et al., 2023), top-1 among 682 classes.
- Licences: of the weights that were exported, as their own model cards state them.
- Sizes: about four bytes a parameter (open_clip's model profile, and its SigLIP 2 configurations); what exactly there
  is to fetch is asked of the hub, and shown, before anything is.
"""

from __future__ import annotations

from dataclasses import dataclass

from peyda.errors import ModelError

_OPEN_CLIP = "open_clip, docs/openclip_multilingual_retrieval_results.csv"
_IMMICH = "Immich documentation, Searching (mean of the three)"


@dataclass(frozen=True, slots=True)
class Recommended:
    """One model that can be pulled by its short name.

    Attributes:
        name: What `peyda models pull` takes, and what the model is called once it is here.
        repository: Its id on the hub.
        description: What it is, in a line.
        licence: Of the weights, as an SPDX-like id.
        size_bytes: About what it takes on disk.
        embed_dim: Length of an embedding.
        image_size_px: Side of the square that the image tower reads.
        speed: "fast", "medium", "slow" or "very slow", by the work of its image tower on a photograph: as much as a
            ViT-B/32, a ViT-B/16, a ViT-B/16 at 384 px, or more.
        persian_mean: Mean of Acc@1, Acc@5 and Acc@10 on XM3600 `fa`, a share.
        persian_accuracy: The three themselves, k → share; empty where only the mean is published.
        object_words: Top-1 on Babel-ImageNet FA, a share; None where it is not published.
        source: Where the retrieval numbers are published.
    """

    name: str
    repository: str
    description: str
    licence: str
    size_bytes: int
    embed_dim: int
    image_size_px: int
    speed: str
    persian_mean: float
    source: str
    persian_accuracy: tuple[tuple[int, float], ...] = ()
    object_words: float | None = None

    def to_dict(self) -> dict[str, object]:
        """JSON-ready mapping."""
        return {
            "name": self.name,
            "repository": self.repository,
            "description": self.description,
            "licence": self.licence,
            "size_bytes": self.size_bytes,
            "embed_dim": self.embed_dim,
            "image_size_px": self.image_size_px,
            "speed": self.speed,
            "persian_mean": self.persian_mean,
            "persian_accuracy_at_k": {str(k): share for k, share in self.persian_accuracy},
            "object_words_top1": self.object_words,
            "source": self.source,
        }


def _open_clip(at_1: float, at_5: float, at_10: float) -> tuple[float, tuple[tuple[int, float], ...]]:
    return round((at_1 + at_5 + at_10) / 3, 3), ((1, at_1), (5, at_5), (10, at_10))


def _entries() -> tuple[Recommended, ...]:
    xlmr_base, xlmr_large = _open_clip(0.464, 0.754, 0.838), _open_clip(0.564, 0.805, 0.878)
    i18n = _open_clip(0.499, 0.757, 0.837)
    nllb_base, nllb_large = _open_clip(0.557, 0.818, 0.886), _open_clip(0.613, 0.858, 0.914)
    return (
        Recommended(
            "siglip2-so400m",
            "immich-app/ViT-SO400M-16-SigLIP2-384__webli",
            "SigLIP 2 So400m/16 at 384 px: the best that may be used for anything",
            "apache-2.0",
            4_540_000_000,
            1152,
            384,
            "very slow",
            0.763,
            _IMMICH,
        ),
        Recommended(
            "xlmr-large-vit-h14",
            "immich-app/XLM-Roberta-Large-ViT-H-14__frozen_laion5b_s13b_b90k",
            "XLM-RoBERTa large with ViT-H/14",
            "mit",
            4_770_000_000,
            1024,
            224,
            "very slow",
            xlmr_large[0],
            _OPEN_CLIP,
            xlmr_large[1],
            0.394,
        ),
        Recommended(
            "siglip-i18n",
            "immich-app/ViT-B-16-SigLIP-i18n-256__webli",
            "SigLIP multilingual B/16 at 256 px: the best published object words",
            "apache-2.0",
            1_480_000_000,
            768,
            256,
            "medium",
            i18n[0],
            _OPEN_CLIP,
            i18n[1],
            0.514,
        ),
        Recommended(
            "xlmr-base-vit-b32",
            "immich-app/XLM-Roberta-Base-ViT-B-32__laion5b_s13b_b90k",
            "XLM-RoBERTa base with ViT-B/32: the best of the fast ones",
            "mit",
            1_460_000_000,
            512,
            224,
            "fast",
            xlmr_base[0],
            _OPEN_CLIP,
            xlmr_base[1],
        ),
        Recommended(
            "siglip2-base",
            "immich-app/ViT-B-16-SigLIP2__webli",
            "SigLIP 2 B/16 at 224 px",
            "apache-2.0",
            1_500_000_000,
            768,
            224,
            "medium",
            0.683,
            _IMMICH,
        ),
        Recommended(
            "siglip2-base-32",
            "immich-app/ViT-B-32-SigLIP2-256__webli",
            "SigLIP 2 B/32 at 256 px",
            "apache-2.0",
            1_510_000_000,
            768,
            256,
            "fast",
            0.652,
            _IMMICH,
        ),
        Recommended(
            "nllb-clip-large",
            "immich-app/nllb-clip-large-siglip__mrl",
            "NLLB-CLIP large, SigLIP image tower: the best Persian retrieval, not for commercial use",
            "cc-by-nc-4.0",
            4_780_000_000,
            1152,
            384,
            "very slow",
            nllb_large[0],
            _OPEN_CLIP,
            nllb_large[1],
        ),
        Recommended(
            "nllb-clip-base",
            "immich-app/nllb-clip-base-siglip__mrl",
            "NLLB-CLIP base, SigLIP image tower: not for commercial use",
            "cc-by-nc-4.0",
            2_030_000_000,
            768,
            384,
            "slow",
            nllb_base[0],
            _OPEN_CLIP,
            nllb_base[1],
        ),
    )


RECOMMENDED: tuple[Recommended, ...] = _entries()
"""Free licences first, the most accurate first within each."""


def find_recommended(name: str) -> Recommended | None:
    """The entry of a short name, a hub id, or the last part of one; None where it is none of ours."""
    for entry in RECOMMENDED:
        if name.lower() in (entry.name, entry.repository.lower(), entry.repository.partition("/")[2].lower()):
            return entry
    return None


def no_such_model(name: str) -> ModelError:
    """The error for a name that means nothing, with a guess."""
    import difflib

    close = difflib.get_close_matches(name, [entry.name for entry in RECOMMENDED], n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    return ModelError(
        f"no model is known by the name {name!r}",
        hint=f"{guess}peyda models list shows the names; OWNER/NAME of the hub, a folder or an archive do as well",
    )
