"""Fetching photographs from servers that misbehave on purpose: every address ends with a file or a reason."""

from __future__ import annotations

import csv
import json
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.strange_server import (
    Request,
    StrangeServer,
    cut_short,
    drip,
    drip_headers,
    endless,
    garbage,
    hang,
    hang_up,
    picture,
    strange_server,
)

from peyda.captions import open_reader
from peyda.captions.web import FetchOptions, FetchSummary, Politeness, WebClient, WebFailure, fetch_images
from peyda.captions.web import client as client_module
from peyda.captions.web.address import check_public, look_up, parse_address
from peyda.captions.web.client import retry_after_s
from peyda.captions.web.ledger import LEDGER_FILE, read_ledger
from peyda.captions.web.pictures import safe_name, verify_picture
from peyda.captions.web.schedule import Schedule
from peyda.errors import DataError

QUICK = Politeness(concurrency=8, per_host=4, tries=2, backoff_s=0.01, longest_wait_s=2)


def flaky(request: Request) -> None:
    if request.count == 1:
        request.reply(b"", status=503)
    else:
        request.reply(picture())


def banned_for_a_second(request: Request) -> None:
    if request.count == 1:
        request.reply(b"", status=429, Retry_After="1")
    else:
        request.reply(picture())


def bomb() -> bytes:
    """A PNG of a few bytes that announces 60,000 × 60,000 pixels."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(b"x"),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


ROUTES: dict[str, Any] = {
    "/ok/*": lambda request: request.reply(picture()),
    "/png": lambda request: request.reply(picture(kind="PNG"), "application/octet-stream"),
    "/untyped": lambda request: request.reply(picture(), ""),
    "/flaky": flaky,
    "/429": banned_for_a_second,
    "/404": lambda request: request.reply(b"", status=404),
    "/500": lambda request: request.reply(b"", status=500),
    "/html": lambda request: request.reply(b"<html>login</html>", "text/html"),
    "/liar": lambda request: request.reply(b"<html>login</html>"),
    "/empty": lambda request: request.reply(b""),
    "/huge": lambda request: request.reply(b"", Content_Length="99999999"),
    "/endless": endless,
    "/cut": cut_short,
    "/damaged": lambda request: request.reply(picture(size=(640, 480))[:2000]),
    "/bomb": lambda request: request.reply(bomb()),
    "/tiny": lambda request: request.reply(picture(size=(8, 8))),
    "/gif": lambda request: request.reply(picture(kind="GIF"), "image/gif"),
    "/zipped": lambda request: request.reply(picture(), Content_Encoding="gzip"),
    "/noai": lambda request: request.reply(picture(), X_Robots_Tag="noai, noimageai"),
    "/garbage": garbage,
    "/hang-up": hang_up,
    "/hang": hang,
    "/drip": drip,
    "/drip-headers": drip_headers,
    "/moved": lambda request: request.reply(b"", status=302, Location="/ok/moved"),
    "/loop": lambda request: request.reply(b"", status=301, Location="/loop"),
    "/nowhere": lambda request: request.reply(b"", status=301),
    "/to-file": lambda request: request.reply(b"", status=302, Location="file:///etc/passwd"),
}


@pytest.fixture
def server() -> Iterator[StrangeServer]:
    with strange_server(dict(ROUTES)) as running:
        yield running


def client(**options: Any) -> WebClient:
    return WebClient(**{"timeout_s": 0.4, "deadline_s": 0.8, "allow_private": True} | options)


def fetch(folder: Path, urls: list[str], images: list[str] | None = None, **options: Any) -> FetchSummary:
    """Fetch addresses, from a table in `folder`, with two captions each."""
    folder.mkdir(exist_ok=True)
    out = options.pop("out", None)
    asking = options.pop("client", None) or client()
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption_id", "caption_en", "url"])
        for at, url in enumerate(urls):
            for caption in range(2):
                writer.writerow([images[at] if images else url, caption, "x", url])
    settings = FetchOptions(**{"politeness": QUICK, "limit_bytes": 100_000} | options)
    return fetch_images(folder / "table.csv", folder / "images", options=settings, client=asking, out=out)


@pytest.mark.parametrize(
    ("path", "reason", "requests"),
    [
        ("/404", "http_404", 1),
        ("/500", "http_500", 2),
        ("/html", "wrong_type", 1),
        ("/liar", "not_an_image", 1),
        ("/empty", "empty", 1),
        ("/huge", "too_large", 1),
        ("/endless", "too_large", 1),
        ("/cut", "cut_short", 2),
        ("/damaged", "truncated", 2),
        ("/bomb", "too_many_pixels", 1),
        ("/tiny", "too_small", 1),
        ("/gif", "unwanted_format", 1),
        ("/zipped", "bad_encoding", 1),
        ("/noai", "disallowed", 1),
        ("/garbage", "bad_reply", 2),
        ("/hang-up", "unreachable", 2),
        ("/hang", "timeout", 2),
        ("/drip", "timeout", 2),
        ("/drip-headers", "timeout", 2),
        ("/loop", "redirect", 6),
        ("/nowhere", "redirect", 1),
        ("/to-file", "bad_address", 1),
    ],
)
def test_every_vice_has_its_reason(
    tmp_path: Path, server: StrangeServer, path: str, reason: str, requests: int
) -> None:
    summary = fetch(tmp_path, [server.url + path], formats=frozenset({"JPEG", "PNG"}), min_side_px=16)
    assert dict(summary.reasons) == {reason: 1}
    assert (summary.addresses, summary.failed, summary.fetched) == (1, 1, 0)
    assert server.counts[path] == requests
    entry = read_ledger(str(tmp_path / "images"))[server.url + path]
    assert (entry.image, entry.reason) == ("", reason)
    assert [one.name for one in (tmp_path / "images").iterdir()] == [LEDGER_FILE]


def test_good_ones_arrive_whatever_the_others_do(tmp_path: Path, server: StrangeServer) -> None:
    good = ["/ok/1", "/png", "/untyped", "/flaky", "/429", "/moved"]
    bad = ["/404", "/liar", "/hang", "/garbage"]
    summary = fetch(tmp_path, [server.url + path for path in good + bad])
    assert (summary.addresses, summary.fetched, summary.failed) == (10, 6, 4)
    ledger = read_ledger(str(tmp_path / "images"))
    for path in good:
        with Image.open(tmp_path / "images" / ledger[server.url + path].image) as image:
            assert image.size == (64, 48)
    assert ledger[server.url + "/png"].image.endswith(".png")
    assert summary.fetched_bytes == sum(entry.size_bytes for entry in ledger.values())


def test_a_second_run_asks_only_for_what_may_have_passed(tmp_path: Path, server: StrangeServer) -> None:
    paths = ["/ok/1", "/ok/2", "/404", "/500"]
    fetch(tmp_path, [server.url + path for path in paths])
    server.counts.clear()
    server.routes["/500"] = lambda request: request.reply(picture())
    ledger = read_ledger(str(tmp_path / "images"))
    (tmp_path / "images" / ledger[f"{server.url}/ok/2"].image).write_bytes(b"half")  # as after a crash of the disk
    summary = fetch(tmp_path, [server.url + path for path in paths])
    assert dict(server.counts) == {"/ok/2": 1, "/500": 1}
    assert (summary.already_there, summary.failed_before, summary.fetched, summary.failed) == (1, 1, 2, 0)
    server.counts.clear()
    again = fetch(tmp_path, [server.url + path for path in paths], retry_failed=True)
    assert dict(server.counts) == {"/404": 1}
    assert again.already_there == 3


def test_a_half_written_ledger_line_is_no_obstacle(tmp_path: Path, server: StrangeServer) -> None:
    fetch(tmp_path, [f"{server.url}/ok/1", f"{server.url}/ok/2"])
    ledger = tmp_path / "images" / LEDGER_FILE
    ledger.write_bytes(ledger.read_bytes()[:-20])
    summary = fetch(tmp_path, [f"{server.url}/ok/1", f"{server.url}/ok/2"])
    assert (summary.already_there, summary.fetched) == (1, 1)
    assert [json.loads(line)["reason"] for line in ledger.read_text().splitlines()] == [None, None]


def test_names_of_the_table_are_kept_where_they_are_harmless(tmp_path: Path, server: StrangeServer) -> None:
    urls = [f"{server.url}/ok/{at}" for at in range(6)]
    images = ["val/a.jpg", "../../evil.jpg", "A.JPG", "a.jpg", "/etc/x.jpg", "a.jpg.exe"]
    fetch(tmp_path, urls, images)
    ledger = read_ledger(str(tmp_path / "images"))
    names = [ledger[url].image for url in urls]
    assert names[0] == "val/a.jpg"
    assert sum(name.lower() == "a.jpg" for name in names) == 1  # the other one has the name of its address
    assert len(set(names)) == 6
    files = {str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file()}
    assert files == {"table.csv", "images/ledger.jsonl", *(f"images/{name}" for name in names)}


def test_the_new_table_keeps_all_rows(tmp_path: Path, server: StrangeServer) -> None:
    urls = [f"{server.url}/ok/1", f"{server.url}/404", ""]
    fetch(tmp_path, urls, ["a.jpg", "b.jpg", "c.jpg"], out=tmp_path / "out.csv")
    rows = list(open_reader(tmp_path / "out.csv"))
    assert [(row["image"], row["kept"], row["reason"]) for row in rows[::2]] == [
        ("a.jpg", "", ""),
        ("b.jpg", "false", "image_http_404"),
        ("c.jpg", "false", "image_no_address"),
    ]
    assert len(rows) == 6


def test_plain_pictures_are_small_and_say_nothing(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "camera"
    exif[0x8825] = {1: "N", 2: (35.0, 42.0, 0.0)}
    Image.new("RGB", (400, 200), (10, 200, 10)).save(tmp_path / "a.jpg", exif=exif)
    data = (tmp_path / "a.jpg").read_bytes()
    assert b"camera" in data
    plain = verify_picture(data, plain_px=100)
    assert (plain.format, plain.width_px, plain.height_px) == ("JPEG", 100, 50)
    assert b"camera" not in plain.data
    assert b"Exif" not in plain.data


def test_hosts_are_asked_politely(tmp_path: Path) -> None:
    def slow(request: Request) -> None:
        request.server.patience.wait(0.05)
        request.reply(picture())

    with strange_server({"/*": slow}) as server:
        rules = Politeness(concurrency=8, per_host=2, interval_s=0.03)
        summary = fetch(tmp_path, [f"{server.url}/{at}" for at in range(8)], politeness=rules)
        assert summary.fetched == 8
        assert server.most_at_once <= 2
        gaps = [later - earlier for earlier, later in zip(server.starts, server.starts[1:], strict=False)]
        assert sum(gaps) >= 0.03 * 7 * 0.8


def test_a_dead_host_is_given_up_and_the_others_are_not(tmp_path: Path, server: StrangeServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    rules = Politeness(concurrency=4, per_host=1, tries=1, give_up_after=3)
    urls = [f"{dead}/{at}" for at in range(20)] + [f"{server.url}/ok/{at}" for at in range(3)]
    summary = fetch(tmp_path, urls, politeness=rules)
    assert summary.fetched == 3
    assert dict(summary.reasons) == {"unreachable": 3, "host_down": 17}


def test_a_host_that_asks_for_a_long_pause_is_left_alone(tmp_path: Path) -> None:
    ban = {"/*": lambda request: request.reply(b"", status=429, Retry_After="86400")}
    with strange_server(ban) as server:
        rules = Politeness(per_host=1, concurrency=1)
        summary = fetch(tmp_path, [f"{server.url}/{at}" for at in range(9)], politeness=rules)
        assert dict(summary.reasons) == {"http_429": 1, "host_down": 8}
        assert sum(server.counts.values()) == 1


def test_private_networks_are_not_asked(tmp_path: Path, server: StrangeServer) -> None:
    port = server.server_address[1]
    hosts = ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]"]
    summary = fetch(tmp_path, [f"http://{host}:{port}/ok/1" for host in hosts], client=client(allow_private=False))
    assert summary.fetched == 0
    assert set(summary.reasons) <= {"private_address", "dns", "bad_address"}
    assert summary.reasons["private_address"] >= 2
    assert not server.counts


def test_a_redirect_does_not_lead_into_a_private_network(
    server: StrangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`public.test` stands for a public host (its answer is taken as checked); what it redirects to is not one."""

    def look_up_with_one_public_host(address: Any, *, allow_private: bool) -> list[str]:
        return ["127.0.0.1"] if address.host == "public.test" else look_up(address, allow_private=allow_private)

    monkeypatch.setattr(client_module, "look_up", look_up_with_one_public_host)
    port = server.server_address[1]
    server.routes["/in"] = lambda request: request.reply(b"", status=302, Location=f"http://127.0.0.1:{port}/ok/1")
    asking = client(allow_private=False)
    assert asking.get(f"http://public.test:{port}/ok/1", limit_bytes=9999).status == 200
    with pytest.raises(WebFailure, match="private_address"):
        asking.get(f"http://public.test:{port}/in", limit_bytes=9999)
    assert server.counts["/ok/1"] == 1


@pytest.mark.parametrize(
    "ip",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_addresses_that_are_not_public(ip: str) -> None:
    with pytest.raises(WebFailure, match="private_address"):
        check_public(ip)


@pytest.mark.parametrize("ip", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"])
def test_addresses_that_are_public(ip: str) -> None:
    check_public(ip)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.jpg",
        "ftp://x.org/a",
        "file:///etc/passwd",
        "http://",
        "http://u:p@x.org/",
        "http://x.org:22/",
        "http://x.org:99999/",
        "http://x.org/\r\nX: y",
        "http://[::1/",
        "http://x y.org/",
        f"http://x.org/{'a' * 9000}",
        "javascript:alert(1)",
    ],
)
def test_addresses_that_cannot_be_asked(text: str) -> None:
    with pytest.raises(WebFailure, match="bad_address"):
        parse_address(text)


def test_addresses_are_encoded() -> None:
    address = parse_address(" http://مثال.test/سگ در برف.jpg?q=گربه&x=%20#part")
    assert address.host == "xn--mgbh0fb.test"
    assert str(address).isascii()
    assert address.target.startswith("/%D8%B3%DA%AF%20%D8%AF%D8%B1")
    assert address.target.endswith("&x=%20")
    assert str(parse_address("https://X.org:443/a/../b")) == "https://x.org/a/../b"
    assert str(parse_address("../c", parse_address("http://x.org/a/b"))) == "http://x.org/c"


def test_retry_after_in_both_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)
    assert retry_after_s("Tue, 14 Nov 2023 22:14:20 GMT") == 60
    assert retry_after_s("Tue, 14 Nov 2023 22:00:00 GMT") == 0
    assert retry_after_s("3") == 3
    assert retry_after_s("-3") == retry_after_s("") == retry_after_s("soon") == 0


def test_an_error_that_is_no_failure_of_an_address_ends_the_run() -> None:
    def work(_: int) -> int:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        list(Schedule(iter([1]), lambda _: "x", work, QUICK).outcomes())


def test_stop_ends_requests_under_way(server: StrangeServer) -> None:
    asking = client(timeout_s=20, deadline_s=20)
    threading.Timer(0.2, asking.stop).start()
    with pytest.raises(WebFailure):
        asking.get(f"{server.url}/hang", limit_bytes=9)


def test_tables_without_addresses_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,caption_en\na.jpg,x\n")
    with pytest.raises(DataError, match="no column of addresses") as caught:
        fetch_images(tmp_path / "t.csv", tmp_path / "images")
    assert "image, caption_id, caption_en" in caught.value.hint
    with pytest.raises(DataError, match="no column link"):
        fetch_images(tmp_path / "t.csv", tmp_path / "images", options=FetchOptions(url_column="link"))
    (tmp_path / "u.csv").write_text("image,url\na.jpg,\n")
    with pytest.raises(DataError, match="no addresses"):
        fetch_images(tmp_path / "u.csv", tmp_path / "images")


@pytest.mark.parametrize(
    "name",
    ["", "..", "a/../b.jpg", "/a.jpg", "C:/a.jpg", ".hidden.jpg", "a.txt", "con.jpg", "a\0.jpg", "a/b/c/d/e.jpg"],
)
def test_names_that_are_not_safe(name: str) -> None:
    assert safe_name(name) is None


def test_names_that_are_safe() -> None:
    assert safe_name("val2014\\COCO 1.jpg") == "val2014/COCO 1.jpg"
    assert safe_name("سگ.jpg") == "سگ.jpg"
    assert safe_name("س" * 100 + ".jpg") is None  # longer than many disks take


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of localhost that nobody but the test trusts, with its key."""
    tool = shutil.which("openssl")
    if tool is None:
        pytest.skip("the openssl command is not installed")
    made = tmp_path / "localhost.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    extension = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [tool, *words.split(), *extension, "-keyout", made, "-out", tmp_path / "cert.pem"],
        check=True,
        capture_output=True,
    )
    made.write_bytes(made.read_bytes() + (tmp_path / "cert.pem").read_bytes())
    return made


def test_https_is_checked_against_the_name(
    server: StrangeServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    port = server.server_address[1]
    server.routes["/host"] = lambda request: request.reply(request.headers["Host"].encode(), "text/plain")
    server.routes["/down"] = lambda request: request.reply(b"", status=302, Location=f"http://localhost:{port}/ok/1")
    with pytest.raises(WebFailure, match="tls"):
        client().get(f"https://localhost:{port}/ok/1", limit_bytes=9999)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    asking = client()
    assert asking.get(f"https://localhost:{port}/ok/1", limit_bytes=9999).body == picture()
    assert asking.get(f"https://localhost:{port}/host", limit_bytes=99).body == f"localhost:{port}".encode()
    with pytest.raises(WebFailure, match="tls"):
        asking.get(f"https://127.0.0.1:{port}/ok/1", limit_bytes=9999)
    with pytest.raises(WebFailure, match="redirect"):
        asking.get(f"https://localhost:{port}/down", limit_bytes=9999)
    patient = client(timeout_s=20, deadline_s=20)
    threading.Timer(0.3, patient.stop).start()
    with pytest.raises(WebFailure):
        patient.get(f"https://localhost:{port}/hang", limit_bytes=9)
