"""Why a request came to nothing: stable codes, each with a sentence. They are written into ledgers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

WEB_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "bad_address": "It is no http or https address that can be asked.",
        "private_address": "Its host is this machine or a private network.",
        "dns": "Its host's name cannot be looked up.",
        "unreachable": "Its host cannot be reached.",
        "timeout": "Its host is too slow.",
        "tls": "Its host's certificate cannot be trusted.",
        "bad_reply": "What came is no HTTP.",
        "cut_short": "The reply ended early.",
        "too_large": "The reply is larger than the limit.",
        "wrong_type": "The reply is of another media type.",
        "bad_encoding": "The reply is compressed, though that was not asked for.",
        "bad_json": "The reply is no JSON, or not of the shape that is known.",
        "redirect": "It redirects too often, to nowhere, or from https to http.",
        "disallowed": "Its host asks not to be used for this (X-Robots-Tag, robots.txt).",
        "host_down": "Its host failed too often in a row; the rest was left for another run.",
        "too_small": "The picture is smaller than asked for.",
        "unwanted_format": "The picture is of a format that was not asked for.",
    }
)
"""Code → sentence. Besides these there are `http_<status>`, and the codes of `peyda.images.REASONS`."""

PASSING_REASONS = frozenset(
    {"dns", "unreachable", "timeout", "cut_short", "bad_reply", "host_down", "truncated"}
    | {f"http_{status}" for status in (408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524)}
)
"""Codes that another try may not meet again."""

HOST_REASONS = frozenset({"dns", "unreachable", "timeout"})
"""Codes that speak of the host, not of the one address."""


class WebFailure(Exception):
    """One request has failed.

    Args:
        reason: A stable code.
        detail: What exactly, for the ledger.
        wait_s: How long the host asks to be left alone; 0 where it does not say.
    """

    def __init__(self, reason: str, detail: str = "", *, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.wait_s = wait_s

    @property
    def is_passing(self) -> bool:
        """Whether another try may go better."""
        return self.reason in PASSING_REASONS
