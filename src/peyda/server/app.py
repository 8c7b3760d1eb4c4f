"""The FastAPI application: start-up and shut-down, the API, the page and the API's own documentation page.

Nothing here reaches for the network: the page and the documentation are static files of this package.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from anyio import to_thread
from fastapi import FastAPI, Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from peyda._version import __version__
from peyda.encoders.protocol import Encoder
from peyda.gallery.directory import GalleryDirectory
from peyda.server.api import router
from peyda.server.guard import Guard
from peyda.server.problems import install_problem_handlers
from peyda.server.service import Service, follow_gallery, keep_store_tidy

STATIC_DIR = os.path.join(os.path.dirname(__file__), "static")
# The page is asked for again each time (a 304 costs nothing), so an updated Peyda never meets its own old scripts.
_NO_CACHE = {"Cache-Control": "no-cache"}


class _Static(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_NO_CACHE)
        return response


def create_app(
    directory: GalleryDirectory | str | os.PathLike[str], encoder: Encoder | None = None, *, host: str = "127.0.0.1"
) -> FastAPI:
    """The application that serves one gallery.

    The gallery and the model are opened, and warmed, when the application starts, not here.

    Args:
        directory: The gallery, or where it lies.
        encoder: The model; None loads the one that the gallery was made with.
        host: The name or address that people will call the server by; loopback names always work.

    Raises:
        GalleryError: There is no readable gallery in `directory`.
    """
    gallery = directory if isinstance(directory, GalleryDirectory) else GalleryDirectory.open(directory)

    def start() -> Service:
        service = Service(gallery, encoder)
        try:
            service.warm_up()
        except BaseException:
            service.close()
            raise
        return service

    return application(start, host)


def application(start: Callable[[], Service], host: str) -> FastAPI:
    """The application around the service that `start` gives; it is closed when the application stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = await to_thread.run_sync(start)
        app.state.service = service
        try:
            async with anyio.create_task_group() as background:
                background.start_soon(keep_store_tidy, service)
                background.start_soon(follow_gallery, service)
                try:
                    yield
                finally:
                    service.is_stopping.set()  # a thread cannot be cancelled, but it asks
                    background.cancel_scope.cancel()
        finally:
            service.close()

    app = FastAPI(
        title="Peyda",
        version=__version__,
        summary="Find photographs by describing them in Persian.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own page loads its scripts from the network
        redoc_url=None,
    )
    install_problem_handlers(app)
    app.include_router(router)
    app.mount("/static", _Static(directory=STATIC_DIR), name="static")

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def page(request: Request) -> Response:
        return FileResponse(os.path.join(STATIC_DIR, "index.html"), headers=_NO_CACHE)

    @app.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
    def documentation(request: Request) -> Response:
        return FileResponse(os.path.join(STATIC_DIR, "docs.html"), headers=_NO_CACHE)

    app.add_middleware(Guard, served_host=host)
    return app
