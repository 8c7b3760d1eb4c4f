"""Running a server on this machine: its port, its presence beside the gallery, and a clean end.

`serve` blocks until Ctrl-C; `running` serves in a thread for as long as a `with` block lasts. Neither prints anything:
what a person should read goes through `announce` and `warn`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI

from peyda.encoders.protocol import Encoder
from peyda.errors import ConfigError, ServerError, StorageError
from peyda.gallery.directory import GalleryDirectory
from peyda.gallery.locks import ServerInfo, ServerPresence
from peyda.server.app import application
from peyda.server.guard import WILDCARD_HOSTS, is_loopback
from peyda.server.service import Service

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
GRACE_S = 5
# A query of 10,000 Persian letters is a request line of 60,000 characters.
REQUEST_LINE_LIMIT_BYTES = 1_000_000


def serve(
    directory: GalleryDirectory | str | os.PathLike[str],
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    *,
    encoder: Encoder | None = None,
    model: str | None = None,
    announce: Callable[[str], None] = lambda url: None,
    warn: Callable[[str], None] = lambda message: None,
) -> None:
    """Serve a gallery until the process is interrupted.

    Args:
        directory: The gallery, or where it lies.
        host: Address to listen on.
        port: Port to listen on; 0 takes any free one.
        encoder: The model; None loads `model`.
        model: Name or directory of the model; None is the one that the gallery was made with.
        announce: Called once with the address, when the first request can be answered.
        warn: Called with sentences a person should read before that.

    Raises:
        ConfigError: The host does not exist here, or the port is taken or not allowed.
        GalleryBusy: Another server holds this gallery; the message says where.
        GalleryError: The gallery cannot be read.
        ModelError: The model cannot be loaded.
        KeyboardInterrupt: Ctrl-C, after everything was closed.
    """
    with _prepared(directory, host, port, encoder, model, warn) as (app, listener, url):
        _Server(_config(app), lambda: announce(url)).run(sockets=[listener])


@contextlib.contextmanager
def running(
    directory: GalleryDirectory | str | os.PathLike[str],
    host: str = DEFAULT_HOST,
    port: int = 0,
    *,
    encoder: Encoder | None = None,
    model: str | None = None,
) -> Iterator[str]:
    """A server in a thread of this process, for as long as the `with` block lasts; gives its address.

    Arguments and errors are those of `serve`; what `serve` would warn of is left out.
    """
    with _prepared(directory, host, port, encoder, model, lambda message: None) as (app, listener, url):
        is_up = threading.Event()
        server = _Server(_config(app), is_up.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="peyda-server", daemon=True)
        thread.start()
        try:
            while not is_up.wait(0.05):
                if not thread.is_alive():
                    raise ServerError("the server stopped before it answered", hint="Its log says why.")
            yield url
        finally:
            server.should_exit = True
            thread.join(GRACE_S + 5)


@contextlib.contextmanager
def _prepared(
    directory: GalleryDirectory | str | os.PathLike[str],
    host: str,
    port: int,
    encoder: Encoder | None,
    model: str | None,
    warn: Callable[[str], None],
) -> Iterator[tuple[FastAPI, socket.socket, str]]:
    """Everything but the event loop: the port, the presence, the gallery and a warm model."""
    gallery = directory if isinstance(directory, GalleryDirectory) else GalleryDirectory.open(directory)
    with contextlib.closing(bind(host, port)) as listener:
        url = address_of(host, listener.getsockname()[1])
        with presence(gallery, url, warn), contextlib.closing(Service(gallery, encoder, model=model)) as service:
            if not is_loopback(host):
                warn(f"Anyone who can reach this machine over the network can see these photographs at {url}.")
            # Warm before anything listens: whoever comes too early is refused at once instead of waiting.
            service.warm_up()
            yield application(lambda: service, host), listener, url


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=REQUEST_LINE_LIMIT_BYTES,
    )


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to `host` and `port` that does not listen yet.

    Raises:
        ConfigError: The port is taken or not allowed, or there is no such address on this machine.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{host!r} is not an address of this machine", hint=_HOST_HINT) from error
    # "localhost" may be IPv6 first; people and tools type 127.0.0.1, so IPv4 is preferred where both exist.
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere this option would let two servers share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _bind_error(host, port, error) from error
    return listener


_HOST_HINT = "Use --host 127.0.0.1 (this machine only) or --host 0.0.0.0 (everyone on your network)."


def _bind_error(host: str, port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65_535 else port - 1
        return ConfigError(
            f"port {port} is taken by another program",
            hint=f"Choose another one, e.g. --port {other}, or let Peyda find a free one: --port 0",
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return ConfigError(f"port {port} may not be used by you", hint="Choose one above 1023, or --port 0.")
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(f"{host!r} is not an address of this machine", hint=_HOST_HINT)
    return ConfigError(f"cannot listen on {host}:{port}: {error.strerror}", hint=_HOST_HINT)


def address_of(host: str, port: int) -> str:
    """The address to open in a browser on this machine.

    >>> address_of("0.0.0.0", 8000), address_of("::1", 8000)
    ('http://127.0.0.1:8000', 'http://[::1]:8000')
    """
    if host in WILDCARD_HOSTS:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def presence(gallery: GalleryDirectory, url: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Tell the command line and Python that this server holds the gallery, for as long as it does.

    Raises:
        GalleryBusy: Another server holds it already.
    """
    held = ServerPresence(gallery.path, ServerInfo(url, os.getpid(), gallery.manifest.gallery_id))
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held)
        except StorageError as error:
            # A gallery on read-only media can be served too; others then search it by themselves.
            warn(f"Other programs will not find this server: {error.message}.")
        yield
