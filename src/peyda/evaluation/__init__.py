"""Measuring a model on captioned photographs: runners and reports around `peyda.metrics`. Never trains."""

from __future__ import annotations

from peyda.evaluation.gallery import GalleryImages, gather_images
from peyda.evaluation.report import RetrievalReport
from peyda.evaluation.retrieval import evaluate_retrieval

__all__ = ["GalleryImages", "RetrievalReport", "evaluate_retrieval", "gather_images"]
