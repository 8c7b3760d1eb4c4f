"""Which hosts are answered, and which requests of a browser are somebody else's."""

from __future__ import annotations

import socket

import pytest
from starlette.datastructures import Headers

from peyda.server.guard import CONTENT_SECURITY_POLICY, host_name, is_allowed_host, is_foreign, is_loopback


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("127.0.0.1:8000", "127.0.0.1"),
        ("LOCALHOST", "localhost"),
        ("localhost.:80", "localhost"),
        ("[::1]:8000", "::1"),
        ("[::1]", "::1"),
        ("evil.example:8000", "evil.example"),
        ("", ""),
        (":8000", ""),
    ],
)
def test_host_name(header: str, name: str) -> None:
    assert host_name(header) == name


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "127.8.9.1", "::1"])
@pytest.mark.parametrize("served", ["127.0.0.1", "0.0.0.0", "192.168.1.20"])
def test_loopback_names_are_always_answered(name: str, served: str) -> None:
    assert is_allowed_host(name, served)
    assert is_loopback(name)


@pytest.mark.parametrize(
    "name", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "192.168.1.20", "0.0.0.0"]
)
def test_a_local_server_answers_to_nothing_else(name: str) -> None:
    assert not is_allowed_host(name, "127.0.0.1")


def test_the_chosen_host_is_answered() -> None:
    assert is_allowed_host("photos.lan", "Photos.LAN")
    assert is_allowed_host("192.168.1.20", "192.168.1.20")
    assert not is_allowed_host("192.168.1.21", "192.168.1.20")


@pytest.mark.parametrize("served", ["0.0.0.0", "::"])
def test_on_every_address_digits_and_the_own_name_are_answered_but_no_other_name(served: str) -> None:
    assert is_allowed_host("192.168.1.20", served)
    assert is_allowed_host("fe80::1", served)
    assert is_allowed_host(socket.gethostname().lower(), served)
    assert not is_allowed_host("evil.example", served)


@pytest.mark.parametrize(
    ("site", "mode", "method", "foreign"),
    [
        (None, None, "GET", False),  # no browser: curl, the command line
        ("same-origin", "cors", "POST", False),
        ("none", "navigate", "GET", False),  # typed into the address bar
        ("cross-site", "navigate", "GET", False),  # a link that was followed
        ("cross-site", "navigate", "POST", True),  # a form of another site
        ("cross-site", "no-cors", "GET", True),  # an <img> of another site
        ("same-site", "cors", "GET", True),  # another port of this machine
    ],
)
def test_requests_that_other_sites_make(site: str | None, mode: str | None, method: str, foreign: bool) -> None:
    given = {"sec-fetch-site": site, "sec-fetch-mode": mode}
    headers = Headers({name: value for name, value in given.items() if value})
    assert is_foreign(headers, method) is foreign


def test_the_policy_lets_nothing_in_from_elsewhere() -> None:
    policy = dict(part.split(" ", 1) for part in CONTENT_SECURITY_POLICY.split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["img-src"] == "'self' data:"
    for sources in policy.values():
        assert set(sources.split()) <= {"'self'", "'none'", "data:"}
