"""The web as a source of photographs: careful requests, polite scheduling, a ledger of what came and what did not.

Owns everything of `captions` that opens a socket. Every address is data from a stranger: where it may lead, how much
it may send and for how long is limited here.
"""

from __future__ import annotations

from peyda.captions.web.client import Reply, WebClient
from peyda.captions.web.failures import PASSING_REASONS, WEB_REASONS, WebFailure
from peyda.captions.web.fetch import FetchOptions, FetchSummary, fetch_images
from peyda.captions.web.schedule import Politeness

__all__ = [
    "PASSING_REASONS",
    "WEB_REASONS",
    "FetchOptions",
    "FetchSummary",
    "Politeness",
    "Reply",
    "WebClient",
    "WebFailure",
    "fetch_images",
]
