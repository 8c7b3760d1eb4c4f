"""Metrics of retrieval and classification, intervals and paired tests. Pure NumPy, exact, in bounded memory."""

from __future__ import annotations

from peyda.metrics.classification import ClassScores, class_scores, confusion_matrix
from peyda.metrics.comparing import PairedDifference, holm, paired_difference
from peyda.metrics.intervals import bootstrap_ci
from peyda.metrics.ranking import RetrievalRanks, Ties, image_to_text_ranks, retrieval_ranks, text_to_image_ranks
from peyda.metrics.scores import accuracy_at_k, mean_rank, median_rank, mrr, ndcg_at_k, ndcg_of_queries

__all__ = [
    "ClassScores",
    "PairedDifference",
    "RetrievalRanks",
    "Ties",
    "accuracy_at_k",
    "bootstrap_ci",
    "class_scores",
    "confusion_matrix",
    "holm",
    "image_to_text_ranks",
    "mean_rank",
    "median_rank",
    "mrr",
    "ndcg_at_k",
    "ndcg_of_queries",
    "paired_difference",
    "retrieval_ranks",
    "text_to_image_ranks",
]
