"""`peyda serve`: the web page and the HTTP API of a gallery, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

import click

from peyda.cli.options import gallery_option, host_option, model_option, port_option

_EXIT_TERMINATED = 128 + 15


@click.command()
@host_option
@port_option
@gallery_option
@model_option
@click.option("--open", "should_open", is_flag=True, help="Open the page in your browser once it is ready.")
def serve(host: str | None, port: int | None, gallery: str | None, model: str | None, should_open: bool) -> None:
    """Serve a gallery's web page and HTTP API, until Ctrl-C.

    Only this machine can reach it, unless you give another --host. While it runs, `peyda search` and Python go
    through it by themselves.
    """
    from peyda.config import load_settings
    from peyda.server import serve as run_server

    settings = load_settings(gallery=gallery, model=model, host=host, port=port)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)  # so that a polite kill closes the gallery like Ctrl-C does

    def announce(url: str) -> None:
        click.echo(f"Peyda answers at {url}  (API: {url}/docs; Ctrl-C stops it)")
        sys.stdout.flush()
        if should_open:
            # In a thread of its own: some browsers hold the caller until they are closed.
            threading.Thread(target=click.launch, args=(url,), daemon=True).start()

    run_server(
        settings.gallery,
        settings.host,
        settings.port,
        model=settings.model if model else None,
        announce=announce,
        warn=lambda message: click.echo(f"warning: {message}", err=True),
    )


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(_EXIT_TERMINATED)
