"""The engine `google`: Google's public translation page through googletrans 4, as the original project used it.

googletrans is asynchronous and trusting; this module is neither. One event loop in a thread of its own serves all
calls, so that no coroutine is left un-awaited (py-googletrans#447) and the client never changes loops. Statuses and
bodies are looked at before googletrans sees them: by default it gives the *input* back for any error status, reads
names of JSON keys as if they were translations, and goes through a web page letter by letter.
Google bans addresses that ask too often or too much; a ban ends the run at once instead of making it worse.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import re
import threading
from collections.abc import Sequence
from typing import Any

from peyda.errors import ConfigError
from peyda.translate.protocol import Engine, EngineOptions, Failed, Outcome, Translated, TranslationStopped
from peyda.translate.wire import checked_address, retry_after_s

_TIMEOUT_S = 20.0
_LONGEST_TEXT = 4_500
_COVERED_SHARE = 0.8
_BAN_SIGNS = re.compile(rb"unusual traffic|/sorry/|captcha", re.IGNORECASE)


def open_engine(options: EngineOptions) -> Engine:
    """Open the engine. `base_url` names a server that forwards to Google's, for networks that do not reach it.

    Raises:
        ConfigError: googletrans is not installed or not of version 4.0.1 or later; an unknown option.
    """
    options.only("google", "base_url", "timeout_s")
    try:
        import googletrans
    except ImportError as error:
        raise ConfigError(
            f"the engine google needs {error.name or 'googletrans'}", hint="pip install 'peyda[google]'"
        ) from error
    version = importlib.metadata.version("googletrans")
    if not asyncio.iscoroutinefunction(googletrans.Translator.translate):
        raise ConfigError(f"googletrans {version} is too old", hint="pip install --upgrade 'peyda[google]'")
    address = checked_address(options.base_url) if options.base_url else None
    return GoogleEngine(address, options.timeout_s or _TIMEOUT_S)


class _Refused(Exception):
    """A response that googletrans must not see, as an outcome."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(str(failed))
        self.failed = failed


class GoogleEngine:
    """See the module. One request for each text; several run at a time."""

    label = "google"
    longest_text = _LONGEST_TEXT
    batch_size = 1
    concurrency = 4
    calls_per_s: float | None = 4.0

    def __init__(self, address: str | None, timeout_s: float) -> None:
        self.identity = "google|en|fa|1"
        self._address = address
        self._timeout_s = timeout_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="google-translate")
        self._thread.start()
        self._is_closed = False
        try:
            self._translator = self._run(self._open())
        except BaseException:
            self._end_loop()
            raise

    def translate(self, texts: Sequence[str]) -> list[Outcome]:
        """One request for each text, one after the other."""
        return [self._run(self._translate(text)) for text in texts]

    def close(self) -> None:
        """Close connections and the loop."""
        if self._is_closed:
            return
        self._run(self._close())
        self._end_loop()

    async def _close(self) -> None:
        """End what still runs (a second Ctrl-C does not wait for it), then the connections."""
        running = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._translator.client.aclose()

    def _end_loop(self) -> None:
        self._is_closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _open(self) -> Any:
        """Make the client inside the loop that it will live in."""
        import httpx
        from googletrans import Translator

        translator = Translator(raise_exception=True, timeout=httpx.Timeout(self._timeout_s))
        translator.client.event_hooks = {"request": [self._forward], "response": [_check]}
        return translator

    async def _forward(self, request: Any) -> None:
        """Put the address of a forwarding server in place of Google's: googletrans itself knows host names alone."""
        if self._address is not None:
            import httpx

            target = httpx.URL(self._address)
            request.url = request.url.copy_with(scheme=target.scheme, host=target.host, port=target.port)
            request.headers["Host"] = request.url.netloc.decode("ascii")

    async def _translate(self, text: str) -> Outcome:
        import httpx

        try:
            # The client's timeout is one of silence; a server that drips would keep us for ever.
            found = await asyncio.wait_for(self._translator.translate(text, src="en", dest="fa"), self._timeout_s)
        except _Refused as error:
            return error.failed
        except (TimeoutError, httpx.TimeoutException):
            return Failed("timeout", may_pass=True)
        except httpx.ConnectError:
            return Failed("unreachable", may_pass=True)
        except httpx.TransportError:
            return Failed("broken_off", may_pass=True)
        except (TypeError, IndexError, KeyError, AttributeError) as error:
            # None where pieces should be (py-googletrans#299, #440).
            return Failed("half_answer", f"googletrans: {error}"[:200], may_pass=True)
        translated = found.text
        if not isinstance(translated, str) or not translated.strip():
            return Failed("empty_answer", may_pass=True)
        return Translated(translated)


async def _check(response: Any) -> None:
    """Look at a response before googletrans does.

    Raises:
        _Refused: It holds no translation.
        TranslationStopped: It is a ban.
    """
    status = response.status_code
    location = response.headers.get("Location", "").encode()
    body = await response.aread()
    wait_s = retry_after_s(response.headers.get("Retry-After"))
    if status == 429 and wait_s:
        raise _Refused(Failed("rate_limited", may_pass=True, wait_s=wait_s))
    if status in {403, 429} or 300 <= status < 400 or (status != 200 and _BAN_SIGNS.search(location + body)):
        raise TranslationStopped(
            f"Google has banned this network for now (status {status})",
            hint="wait some hours, ask more slowly (--rate 1), or use another engine; what is done is kept",
        )
    if status >= 500 or status == 408:
        raise _Refused(Failed("server_error", f"status {status}", may_pass=True, wait_s=wait_s))
    if status != 200:
        raise _Refused(Failed("refused", f"status {status}"))
    if failed := _shape_failure(body, response.request.url.params.get("q", "")):
        raise _Refused(failed)


def _shape_failure(body: bytes, text: str) -> Failed | None:
    """Whether a body is what googletrans takes it for: a list that begins with the list of (Persian, English) pieces.

    A piece without both sides is the transliteration. The English sides together must cover `text`.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        if _BAN_SIGNS.search(body):
            raise TranslationStopped(
                "Google asks whether this is a robot",
                hint="wait some hours, or use another engine; what is done is kept",
            ) from None
        is_cut = body.lstrip()[:1] == b"["
        return Failed("half_answer" if is_cut else "not_json", may_pass=True)
    pieces = data[0] if isinstance(data, list) and data else None
    if not isinstance(pieces, list) or not all(isinstance(piece, list) and piece for piece in pieces):
        return Failed("half_answer", "pieces of the translation are missing", may_pass=True)
    pairs = [(piece[0], piece[1] if len(piece) > 1 else None) for piece in pieces]
    if any(not isinstance(one, str | None) for pair in pairs for one in pair):
        return Failed("half_answer", "pieces of the translation are no text", may_pass=True)
    if any(english and english.strip() and persian is None for persian, english in pairs):
        return Failed("half_answer", "a piece has no translation", may_pass=True)
    covered = sum(len(english) for _, english in pairs if english)
    if covered and covered < _COVERED_SHARE * len(text):
        return Failed("half_answer", f"{covered} of {len(text)} characters were translated", may_pass=True)
    return None
