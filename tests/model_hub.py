"""A model hub on this machine: the file API of the Hugging Face hub, with its content network on another port.

Small files come from the hub itself, large ones by a redirect to the content network, as there. Both can be told to
misbehave, path by path.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.strange_server import Request, StrangeServer, strange_server

REVISION = "c0ffee" + "0" * 34
LARGE = (".onnx", "tokenizer.json", ".weight", ".armnn")


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class ModelHub:
    """Serves one repository.

    Attributes:
        vices: Path of a file → what to do instead of serving it; returns False to serve it after all.
        listing_vice: The same for the list of files.
        card: What the hub knows of the model card.
        token: Where set, nothing goes without it.
        served: Path → byte ranges that were sent, (first, how many).
        authorizations: Server ("hub", "cdn") → Authorization headers it was sent.
        drip_s: Pause after every 64 kB.
    """

    def __init__(self, folder: Path, repository: str) -> None:
        self.folder = folder
        self.repository = repository
        self.revision = REVISION
        self.vices: dict[str, Callable[[Request], bool]] = {}
        self.listing_vice: Callable[[Request], bool] | None = None
        self.card: dict[str, Any] = {}
        self.token = ""
        self.served: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.authorizations: dict[str, set[str]] = {"hub": set(), "cdn": set()}
        self.listing_changes: dict[str, dict[str, Any]] = {}
        self.etag_of: Callable[[bytes], str] = lambda data: f'"{hashlib.md5(data).hexdigest()}"'
        self.knows_ranges = True
        self.drip_s = 0.0
        self.hub: StrangeServer
        self.cdn: StrangeServer

    @property
    def environ(self) -> dict[str, str]:
        """What a client must have in its environment to ask this hub."""
        return {"HF_ENDPOINT": self.hub.url, "HF_TOKEN": self.token}

    def fetched(self, path: str) -> int:
        """How many bytes of a file were sent, in all."""
        return sum(size for _, size in self.served[path])

    def listing(self) -> dict[str, Any]:
        siblings = []
        for file in sorted(self.folder.rglob("*")):
            if file.is_file():
                path, data = file.relative_to(self.folder).as_posix(), file.read_bytes()
                entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git_sha1(data)}
                if path.endswith(LARGE):
                    entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
                siblings.append(entry | self.listing_changes.get(path, {}))
        tags = ["onnx", "clip"]
        return {"id": self.repository, "sha": self.revision, "tags": tags, "cardData": self.card, "siblings": siblings}

    def on_api(self, request: Request) -> None:
        self.authorizations["hub"].add(request.headers.get("Authorization", ""))
        if self.listing_vice is not None and self.listing_vice(request):
            return
        match = re.fullmatch(r"/api/models/(.+)/revision/(.+)", urlsplit(request.path).path)
        if self._refused(request):
            return
        if not match or match[1] != self.repository:
            request.reply(b"{}", "application/json", status=401, X_Error_Code="RepoNotFound")
        elif unquote(match[2]) not in ("main", self.revision):
            request.reply(b"{}", "application/json", status=404, X_Error_Code="RevisionNotFound")
        else:
            assert "blobs=true" in request.path
            request.reply(json.dumps(self.listing()).encode(), "application/json")

    def on_resolve(self, request: Request) -> None:
        self.authorizations["hub"].add(request.headers.get("Authorization", ""))
        prefix = f"/{self.repository}/resolve/{self.revision}/"
        path = unquote(urlsplit(request.path).path).removeprefix(prefix)
        if self._refused(request):
            return
        if not (self.folder / path).is_file():
            request.reply(b"Entry not found", "text/plain", status=404, X_Error_Code="EntryNotFound")
        elif path.endswith(LARGE):
            request.reply(b"", status=302, Location=f"{self.cdn.url}/{request.path.removeprefix(prefix)}?sign=x")
        elif not (path in self.vices and self.vices[path](request)):
            self._serve(request, path)

    def on_cdn(self, request: Request) -> None:
        self.authorizations["cdn"].add(request.headers.get("Authorization", ""))
        path = unquote(urlsplit(request.path).path)[1:]
        if not (path in self.vices and self.vices[path](request)):
            self._serve(request, path)

    def _refused(self, request: Request) -> bool:
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            request.reply(b"{}", "application/json", status=401, X_Error_Code="GatedRepo")
            return True
        return False

    def _serve(self, request: Request, path: str) -> None:
        data = (self.folder / path).read_bytes()
        etag, start, status = self.etag_of(data), 0, 200
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if asked and self.knows_ranges and request.headers.get("If-Range", etag) == etag:
            start, status = int(asked[1]), 206
            if start >= len(data):
                request.reply(b"", status=416, Content_Range=f"bytes */{len(data)}")
                return
        request.send_response(status)
        request.send_header("Content-Length", str(len(data) - start))
        if etag:
            request.send_header("ETag", etag)
        if status == 206:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        request.end_headers()
        self.served[path].append((start, 0))
        for at in range(start, len(data), 65_536):
            chunk = data[at : at + 65_536]
            request.wfile.write(chunk)
            first, size = self.served[path][-1]
            self.served[path][-1] = first, size + len(chunk)
            time.sleep(self.drip_s)

    def cut_after(self, path: str, size: int, times: int = 1) -> None:
        """Let the next downloads of a file break off after `size` bytes, however much was asked for."""
        left = times

        def vice(request: Request) -> bool:
            nonlocal left
            if left == 0:
                return False
            left -= 1
            data = (self.folder / path).read_bytes()
            start = int((request.headers.get("Range") or "bytes=0-")[6:-1])
            request.send_response(206 if start else 200)
            request.send_header("Content-Length", str(len(data) - start))
            request.send_header("ETag", self.etag_of(data))
            if start:
                request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            request.end_headers()
            request.wfile.write(data[start : start + size])
            self.served[path].append((start, min(size, len(data) - start)))
            return True

        self.vices[path] = vice


@contextmanager
def model_hub(folder: Path, repository: str = "somebody/tiny") -> Iterator[ModelHub]:
    """The hub and its content network, running."""
    hub = ModelHub(folder, repository)
    routes = {"/api/models/*": hub.on_api, f"/{repository}/resolve/*": hub.on_resolve}
    with strange_server(routes) as server, strange_server({"/*": hub.on_cdn}) as cdn:
        hub.hub, hub.cdn = server, cdn
        yield hub
