"""Measuring a model on captioned and labelled photographs: runners and reports around `peyda.metrics`. Never trains."""

from __future__ import annotations

from peyda.evaluation.gallery import GalleryImages, gather_images
from peyda.evaluation.report import RetrievalReport, WrittenReport
from peyda.evaluation.retrieval import evaluate_retrieval

__all__ = ["GalleryImages", "RetrievalReport", "WrittenReport", "evaluate_retrieval", "gather_images"]
