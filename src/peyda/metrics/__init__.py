"""Retrieval metrics: ranks, Acc@k, MRR, nDCG and bootstrap intervals. Pure NumPy, exact, in bounded memory."""

from __future__ import annotations

from peyda.metrics.intervals import bootstrap_ci
from peyda.metrics.ranking import RetrievalRanks, image_to_text_ranks, retrieval_ranks, text_to_image_ranks
from peyda.metrics.scores import accuracy_at_k, mean_rank, median_rank, mrr, ndcg_at_k

__all__ = [
    "RetrievalRanks",
    "accuracy_at_k",
    "bootstrap_ci",
    "image_to_text_ranks",
    "mean_rank",
    "median_rank",
    "mrr",
    "ndcg_at_k",
    "retrieval_ranks",
    "text_to_image_ranks",
]
