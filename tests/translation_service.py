"""A local translation service in two dialects, OpenAI's and Google's, that misbehaves on purpose.

It records every text it was asked for and every text it answered. What it does with a request is decided by `plan`:
a list of names from `MISBEHAVIOURS`, one for each request, and "ok" when the list is used up; or a function of the
texts of the request.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PAGE = "<!doctype html><html><body><h1>Welcome to Café Wi-Fi</h1>, [ ,, log in</body></html>"
SORRY = "<html><body>Our systems have detected unusual traffic from your computer network.</body></html>"

MISBEHAVIOURS = (
    "limit",  # 429 with Retry-After: 1
    "error",  # 500
    "busy",  # 503 with Retry-After: 1
    "hang",  # no answer until the server is closed
    "drip",  # an answer that never ends, a byte at a time
    "cut",  # the connection breaks before the announced length
    "half",  # a whole HTTP answer, with JSON that stops in the middle
    "missing",  # one translation too few
    "empty",  # empty strings
    "html",  # a web page
    "odd",  # JSON, but of another shape
    "ban",
)


def persian(text: str) -> str:
    """The service's translation of a text; holds Arabic letters and a half-space, as engines' answers do."""
    return f"ترجمه\u200cي «{text}»"


class TranslationService:
    """Runs in threads of this process; use as a context manager.

    Attributes:
        plan: See the module.
        asked: Texts of each request, in order of arrival.
        answered: How often each text was translated in an answer that was sent whole.
    """

    def __init__(self, plan: Sequence[str] | Callable[[list[str]], str] = ()) -> None:
        self.plan = plan
        self.asked: list[list[str]] = []
        self.answered: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.is_running_at_once = 0
        self.most_at_once = 0
        service = self

        class Handler(_Handler):
            owner = service

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def address(self) -> str:
        """Of the service, without a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> TranslationService:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def behaviour(self, texts: list[str]) -> str:
        """What to do with the next request."""
        with self.lock:
            self.asked.append(texts)
            if callable(self.plan):
                return self.plan(texts)
            at = len(self.asked) - 1
            return self.plan[at] if at < len(self.plan) else "ok"


class _Handler(BaseHTTPRequestHandler):
    owner: TranslationService

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.owner.keys.add(self.headers.get("Authorization", ""))
        assert urlsplit(self.path).path.endswith("/chat/completions")
        captions = json.loads(body["messages"][-1]["content"])["captions"]
        self._serve([caption["en"] for caption in captions], _chat_answer, is_google=False)

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        assert (query["sl"], query["tl"]) == (["en"], ["fa"])
        self._serve(query["q"], _google_answer, is_google=True)

    def _serve(self, texts: list[str], answer: Callable[[list[str], str], Any], *, is_google: bool) -> None:
        owner = self.owner
        with owner.lock:
            owner.is_running_at_once += 1
            owner.most_at_once = max(owner.most_at_once, owner.is_running_at_once)
        try:
            behaviour = owner.behaviour(texts)
            self._behave(behaviour, texts, answer, is_google=is_google)
        finally:
            with owner.lock:
                owner.is_running_at_once -= 1

    def _behave(
        self, behaviour: str, texts: list[str], answer: Callable[[list[str], str], Any], *, is_google: bool
    ) -> None:
        match behaviour:
            case "limit":
                self._send(
                    429, SORRY if is_google else '{"error": {"code": "rate_limit_exceeded"}}', {"Retry-After": "1"}
                )
            case "error":
                self._send(500, "oops")
            case "busy":
                self._send(503, "", {"Retry-After": "1"})
            case "hang":
                self.owner.closing.wait()
            case "drip":
                self._drip()
            case "cut":
                text = json.dumps(answer(texts, "ok"))
                self._send(200, text[: len(text) // 2], length=len(text))
            case "html":
                self._send(200, PAGE, kind="text/html")
            case "ban":
                self._send(429 if is_google else 403, SORRY, kind="text/html")
            case "odd":
                self._send(200, '{"sentences": {"trans": "nothing"}}')
            case _:
                text = json.dumps(answer(texts, behaviour))
                self._send(200, text[: len(text) * 2 // 3] if behaviour == "half" else text)
                if behaviour in {"ok", "slow"}:
                    with self.owner.lock:
                        self.owner.answered.update(texts)

    def _send(
        self,
        status: int,
        text: str,
        headers: dict[str, str] | None = None,
        kind: str = "application/json",
        length: int | None = None,
    ) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.send_header("Connection", "close")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        try:
            while not self.owner.closing.wait(0.02):
                self.wfile.write(b" ")
        except OSError:
            pass
        self.close_connection = True


def _chat_answer(texts: list[str], behaviour: str) -> Any:
    if behaviour == "slow":
        time.sleep(0.05)
    entries = [{"id": n, "fa": "" if behaviour == "empty" else persian(text)} for n, text in enumerate(texts, start=1)]
    if behaviour == "missing":
        entries.pop()
    content = json.dumps({"translations": entries}, ensure_ascii=False)
    return {"choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]}


def _google_answer(texts: list[str], behaviour: str) -> Any:
    """One text, in two pieces; the last one, without an English side, is the transliteration."""
    if behaviour == "slow":
        time.sleep(0.05)
    (text,) = texts
    whole = "" if behaviour == "empty" else persian(text)
    cut = len(text) // 2
    pieces: list[Any] = [[whole[: len(whole) // 2], text[:cut], None], [whole[len(whole) // 2 :], text[cut:], None]]
    if behaviour == "missing":
        pieces[1][0] = None
    return [[*pieces, [None, None, "tarjome"]], None, "en"]
