"""robots.txt: what a host asks crawlers not to touch, and how long to pause. Source: RFC 9309."""

from __future__ import annotations

import threading
from urllib.robotparser import RobotFileParser

from peyda.captions.web.address import parse_address
from peyda.captions.web.client import WebClient
from peyda.captions.web.failures import WebFailure

_LIMIT_BYTES = 512_000
_AGENT = "peyda"


class Robots:
    """The rules of hosts, asked for once each; thread-safe."""

    def __init__(self, client: WebClient) -> None:
        self._client = client
        self._rules: dict[str, RobotFileParser] = {}
        self._lock = threading.Lock()

    def check(self, url: str) -> float:
        """See that an address may be asked for.

        Returns:
            The pause between two requests that the host wants, in seconds; 0 where it does not say.

        Raises:
            WebFailure: "disallowed", or why the rules could not be had (RFC 9309: then nothing is allowed).
        """
        address = parse_address(url)
        origin = f"{address.scheme}://{address.netloc}"
        with self._lock:
            if origin not in self._rules:
                self._rules[origin] = self._fetch(origin)
            rules = self._rules[origin]
        if not rules.can_fetch(_AGENT, str(address)):
            raise WebFailure("disallowed", f"{origin}/robots.txt")
        return float(rules.crawl_delay(_AGENT) or 0)

    def _fetch(self, origin: str) -> RobotFileParser:
        rules = RobotFileParser()
        try:
            text = self._client.get(f"{origin}/robots.txt", limit_bytes=_LIMIT_BYTES).body.decode("utf-8", "replace")
        except WebFailure as failure:
            if not failure.reason.startswith("http_4") or failure.is_passing:
                raise
            text = ""  # a host without rules
        rules.parse(text.splitlines())
        return rules
