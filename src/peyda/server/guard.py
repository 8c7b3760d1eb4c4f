"""Who may ask, and what a browser may do with the answer: Host allow-list, origin check and security headers.

A page on the internet can point its own host name at 127.0.0.1 (DNS rebinding) and so read a local server as if it
were its own origin. The Host header then still carries that foreign name, so only known names are answered. Nothing is
allowed to other origins: no CORS headers, and requests that a browser marks as coming from elsewhere are refused.
Sources: https://owasp.org/www-project-secure-headers/ and https://www.w3.org/TR/fetch-metadata/
"""

from __future__ import annotations

import ipaddress
import socket

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from peyda.server.problems import problem_response

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARD_HOSTS = frozenset({"0.0.0.0", "::", ""})

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def host_name(header: str) -> str:
    """The name in a Host header, lower-cased, without port, brackets or a trailing dot; "" when there is none.

    >>> host_name("LocalHost:8000"), host_name("[::1]:8000"), host_name("evil.example")
    ('localhost', '::1', 'evil.example')
    """
    header = header.strip().lower()
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].rstrip(".")


def is_loopback(host: str) -> bool:
    """True for names and addresses that only this machine can reach."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_allowed_host(name: str, served_host: str) -> bool:
    """May a request that calls this server `name` be answered, when it was started with `--host served_host`?

    Listening on every address, the server is also called by its own addresses and its machine's name. An address
    in digits cannot be rebound, so those are safe to answer.
    """
    if not name:
        return False
    if is_loopback(name) or name == served_host.lower():
        return True
    if served_host not in WILDCARD_HOSTS:
        return False
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        own = socket.gethostname().lower()
        return name in {own, f"{own}.local"}


def is_foreign(headers: Headers, method: str) -> bool:
    """True when the browser says that another site's page made this request (a link that was followed is fine)."""
    site = headers.get("sec-fetch-site", "none")
    if site in {"none", "same-origin"}:
        return False
    return not (headers.get("sec-fetch-mode") == "navigate" and method in {"GET", "HEAD"})


class Guard:
    """ASGI middleware: refuses strange hosts and foreign pages, and adds the security headers to every reply."""

    def __init__(self, app: ASGIApp, served_host: str) -> None:
        self.app = app
        self.served_host = served_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse, or pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        if not is_allowed_host(host_name(headers.get("host", "")), self.served_host):
            refusal = problem_response(
                "HostRefused",
                421,
                "This server does not answer to that host name.",
                hint="Use the address that `peyda serve` printed, or start it with --host and that name.",
            )
            await refusal(scope, receive, send_with_headers)
        elif is_foreign(headers, scope["method"]):
            refusal = problem_response(
                "OriginRefused",
                403,
                "Pages of other sites may not use this server.",
                hint="Open the address that `peyda serve` printed.",
            )
            await refusal(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)
