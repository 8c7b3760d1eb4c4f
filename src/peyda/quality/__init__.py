"""Quality of translated captions: scores, rules that give a reason, and a report to look at.

Deletes nothing: a row that is not to be used keeps its scores and says why. Models are `peyda.encoders`', tables
`peyda.captions`'.
"""

from __future__ import annotations

from peyda.quality.filtering import FilterSummary, filter_captions
from peyda.quality.pair import CaptionPair
from peyda.quality.rules import REASONS, Rule, Verdict, default_rules
from peyda.quality.scorers import ImageTextScorer, Scorer, SimilarityScorer
from peyda.quality.scoring import ScoreSummary, score_captions
from peyda.quality.signals import SIGNALS

__all__ = [
    "REASONS",
    "SIGNALS",
    "CaptionPair",
    "FilterSummary",
    "ImageTextScorer",
    "Rule",
    "ScoreSummary",
    "Scorer",
    "SimilarityScorer",
    "Verdict",
    "default_rules",
    "filter_captions",
    "score_captions",
]
