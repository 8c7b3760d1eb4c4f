"""Photographs for a first try: samples that installed packages bring, or openly licensed ones from a public service.

Owns where they come from, their titles, authors and licences, and the searches that show something. What is done with
them (indexing, searching, serving) is left to the caller. Rooms above: `cli`; beside: `server`, `evaluation`.
"""

from peyda.demo.online import DEFAULT_LICENCE, DEFAULT_SERVICE, FetchSummary, fetch_photos
from peyda.demo.samples import SAMPLES, copy_samples
from peyda.demo.tour import CREDITS_FILE, OWN_PHOTOS_TOUR, SAMPLE_TOUR, Credit, read_credits

__all__ = [
    "CREDITS_FILE",
    "DEFAULT_LICENCE",
    "DEFAULT_SERVICE",
    "OWN_PHOTOS_TOUR",
    "SAMPLES",
    "SAMPLE_TOUR",
    "Credit",
    "FetchSummary",
    "copy_samples",
    "fetch_photos",
    "read_credits",
]
