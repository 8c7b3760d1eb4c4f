"""Where an address leads, before anything is sent there: no other scheme, no private network, no odd port.

The host's name is looked up once, the answers are checked, and the connection goes to a checked answer: a name that
changes its mind between check and use (DNS rebinding) gains nothing. Source: RFC 6890 (special-purpose addresses).
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from peyda.captions.web.failures import WebFailure

_DEFAULT_PORTS = {"http": 80, "https": 443}
_FIRST_USER_PORT = 1024
_SAFE = "/?&=%:@!$'()*+,;-._~[]"
_MOST_CHARS = 8_000
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Address:
    """An address that may be asked. `target` is path and query, ASCII; `host` is ASCII, without brackets."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def netloc(self) -> str:
        """Host and port as a Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.target}"


def parse_address(text: str, base: Address | None = None) -> Address:
    """An http or https address, its non-ASCII parts encoded.

    Args:
        text: As it stands in a table or a Location header.
        base: What it may be relative to.

    Raises:
        WebFailure: "bad_address".
    """
    text = text.strip()
    if base is not None:
        try:
            text = urljoin(str(base), text)
        except ValueError as error:
            raise WebFailure("bad_address", "it cannot be read") from error
    if not text.isprintable() or len(text) > _MOST_CHARS:
        raise WebFailure("bad_address", "odd characters, or too long")
    try:
        parts = urlsplit(text)
        port = parts.port
        host = (parts.hostname or "").rstrip(".")
        host = host if ":" in host else host.encode("idna").decode("ascii").lower()
    except (ValueError, UnicodeError) as error:
        raise WebFailure("bad_address", "it cannot be read") from error
    if parts.scheme not in _DEFAULT_PORTS or not host or any(char in host for char in " /\\%"):
        raise WebFailure("bad_address", "neither http nor https, or no host")
    if parts.username is not None or parts.password is not None:
        raise WebFailure("bad_address", "it carries a user name")
    port = port or _DEFAULT_PORTS[parts.scheme]
    if port not in _DEFAULT_PORTS.values() and port < _FIRST_USER_PORT:
        raise WebFailure("bad_address", f"port {port} belongs to another service")
    query = f"?{parts.query}" if parts.query else ""
    return Address(parts.scheme, host, port, quote((parts.path or "/") + query, safe=_SAFE))


def look_up(address: Address, *, allow_private: bool) -> list[str]:
    """The IP addresses of its host.

    Args:
        address: What is to be asked.
        allow_private: Whether this machine and private networks may be.

    Raises:
        WebFailure: "dns", or "private_address" where one of the answers is such.
    """
    try:
        answers = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise WebFailure("dns", getattr(error, "strerror", None) or "no such name") from error
    found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    if not allow_private:
        for one in found:
            check_public(one)
    return found


def check_public(ip: str) -> None:
    """Refuse an IP address that is not of the public internet, however it is written or wrapped.

    Raises:
        WebFailure: "private_address".
    """
    number: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(ip.split("%")[0])
    if isinstance(number, ipaddress.IPv6Address):
        inner = number.ipv4_mapped or number.sixtofour or (number.teredo[1] if number.teredo else None)
        if inner is None and number in _NAT64:
            inner = ipaddress.IPv4Address(int(number) & 0xFFFF_FFFF)
        if inner is not None and not inner.is_global:
            raise WebFailure("private_address", str(number))
        if number.ipv4_mapped is not None:
            number = number.ipv4_mapped  # judged as what it stands for
    if not number.is_global or number.is_multicast:
        raise WebFailure("private_address", str(number))
