"""Measuring a model on captioned and labelled photographs: runners and reports around `peyda.metrics`. Never trains."""

from __future__ import annotations

from peyda.evaluation.gallery import GalleryImages, gather_images
from peyda.evaluation.report import RetrievalReport, WrittenReport
from peyda.evaluation.retrieval import evaluate_retrieval
from peyda.evaluation.robustness import RobustnessReport, evaluate_robustness
from peyda.evaluation.search_speed import SearchReport, evaluate_search
from peyda.evaluation.zeroshot import ZeroShotReport, evaluate_zeroshot

__all__ = [
    "GalleryImages",
    "RetrievalReport",
    "RobustnessReport",
    "SearchReport",
    "WrittenReport",
    "ZeroShotReport",
    "evaluate_retrieval",
    "evaluate_robustness",
    "evaluate_search",
    "evaluate_zeroshot",
    "gather_images",
]
