"""HTTP: the FastAPI application, its API, and the web page. Contains no search logic: it asks `peyda.search`.

| module | owns |
|---|---|
| `app` | the application: start-up, shut-down, the page and the API's documentation |
| `api` | one function for each address under `/api` |
| `service` | the open gallery and model behind the addresses, and how much runs at once |
| `problems` | errors → RFC 9457 problem documents |
| `guard` | Host allow-list, origin check, security headers |
| `thumbnails`, `files` | pictures for the browser |
| `replies` | the shapes of answers |
| `launch` | `serve` and `running`: port, presence beside the gallery, a clean end |
| `static/` | the page: ES modules and CSS, no build step, nothing from elsewhere |
"""

from peyda.server.app import create_app
from peyda.server.launch import running, serve

__all__ = ["create_app", "running", "serve"]
