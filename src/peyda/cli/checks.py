"""The checks of `peyda doctor`: each looks at one part of this machine and says what to do when it is not well.

A check never raises: what it did not expect becomes a failed result too. Nothing here changes anything on disk.
"""

from __future__ import annotations

import io
import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from peyda.config import Settings, config_path
from peyda.errors import GalleryNotFound, PeydaError

Status = Literal["ok", "note", "fail"]

REINSTALL = "Install Peyda again: `pip install --force-reinstall peyda`, or `make setup` in a clone."
LIBRARIES = (
    "click",
    "fastapi",
    "filelock",
    "numpy",
    "onnxruntime",
    "pillow",
    "pillow-heif",
    "platformdirs",
    "qdrant-edge-py",
    "rich",
    "tokenizers",
    "uvicorn",
    "watchfiles",
)
FORMATS = ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")

_LITTLE_DISK_BYTES = 1_000_000_000
_NO_DISK_BYTES = 100_000_000
_LITTLE_MEMORY_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the doctor: `note` is worth knowing, `fail` breaks something; `fix` says what to do about it."""

    name: str
    status: Status
    detail: str
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping."""
        return asdict(self)


def run_checks(settings: Settings) -> Iterator[Result]:
    """Run every check, one result after the other."""
    checks: tuple[tuple[str, Callable[[Settings], Result | list[Result]]], ...] = (
        ("python", check_python),
        ("terminal", check_terminal),
        ("settings", check_settings),
        ("libraries", check_libraries),
        ("model", check_model),
        ("formats", check_formats),
        ("camera raw", check_raw),
        ("gallery", check_gallery),
        ("directories", check_directories),
        ("disk", check_disk),
        ("memory", check_memory),
        ("port", check_port),
    )
    for name, check in checks:
        try:
            outcome = check(settings)
        except PeydaError as error:
            outcome = Result(name, "fail", error.message, error.hint)
        except Exception as error:  # noqa: BLE001 - a doctor that dies of an illness helps nobody
            outcome = Result(name, "fail", f"{type(error).__name__}: {error}", REINSTALL)
        yield from outcome if isinstance(outcome, list) else [outcome]


def check_python(_: Settings) -> Result:
    """The interpreter and the machine under it."""
    detail = f"{platform.python_implementation()} {platform.python_version()}, {platform.platform(terse=True)}"
    detail += f", {platform.machine()}, {os.cpu_count()} cores"
    return Result("python", "ok", detail)


def check_terminal(_: Settings) -> Result:
    """Whether Persian can be printed here."""
    encoding = sys.stdout.encoding or "unknown"
    try:
        "پیدا".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return Result("terminal", "note", f"{encoding} cannot show Persian", "Set LANG=C.UTF-8 or PYTHONUTF8=1.")
    return Result("terminal", "ok", f"{encoding} shows Persian")


def check_settings(settings: Settings) -> Result:
    """Where the settings came from."""
    changed = [f"{name} ({source})" for name, source in settings.sources.items() if source != "default"]
    path = config_path()
    there = path if path and os.path.exists(path) else f"no file {path}" if path else "no file"
    return Result("settings", "ok", f"{there}; set: {', '.join(changed) or 'nothing'}")


def check_libraries(_: Settings) -> Result:
    """That everything that is needed is installed, and in which version."""
    from importlib.metadata import PackageNotFoundError, version

    versions, missing = [], []
    for name in ("peyda", *LIBRARIES):
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        fix = f"Run `pip install {' '.join(missing)}`."
        return Result("libraries", "fail", f"not installed: {', '.join(missing)}", fix)
    return Result("libraries", "ok", ", ".join(versions))


def check_model(settings: Settings) -> Result:
    """That the model's files are whole, and that both towers answer with something sensible."""
    import numpy as np
    from PIL import Image

    from peyda.encoders import load_encoder, model_info, verify_model

    info = model_info(settings.model)
    if damaged := verify_model(info.path):
        return Result("model", "fail", f"{info.name}: damaged files: {', '.join(damaged)}", REINSTALL)
    started = time.perf_counter()
    encoder = load_encoder(settings.model)
    rows = [encoder.encode_texts(["سگ در برف"]), encoder.encode_images([Image.new("RGB", (640, 480), "orange")])]
    took_s = time.perf_counter() - started
    for row in rows:
        if row.shape != (1, encoder.embed_dim) or not np.isfinite(row).all() or abs(np.linalg.norm(row) - 1) > 1e-3:
            return Result("model", "fail", f"{info.name} answers with embeddings that make no sense", REINSTALL)
    detail = f"{info.name} ({info.size_bytes / 1e6:.1f} MB, {info.embed_dim}-d): whole; loads and answers"
    return Result("model", "ok", f"{detail} in {took_s:.2f} s")


def check_formats(_: Settings) -> Result:
    """That every promised image format can be read: writes one in memory and reads it back."""
    readable: list[str] = []
    unreadable: list[str] = []
    untested: list[str] = []
    for name in FORMATS:
        data = _tiny_photo(name)
        if data is None:
            untested.append(name)
        else:
            (readable if _is_readable(data) else unreadable).append(name)
    detail = f"read: {', '.join(readable)}"
    if unreadable:
        fix = "Install the image libraries again: `pip install --force-reinstall pillow pillow-heif`."
        return Result("formats", "fail", f"{detail}; cannot read: {', '.join(unreadable)}", fix)
    if untested:
        fix = "If photographs of that format are skipped, run `pip install --upgrade pillow pillow-heif`."
        return Result("formats", "note", f"{detail}; not tested (cannot be written here): {', '.join(untested)}", fix)
    return Result("formats", "ok", detail)


def _tiny_photo(name: str) -> bytes | None:
    from PIL import Image

    if name == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    buffer = io.BytesIO()
    try:
        Image.new("RGB", (64, 64), (30, 120, 200)).save(buffer, name)
    except (KeyError, OSError, ValueError, RuntimeError):  # no encoder for it: says nothing about the decoder
        return None
    return buffer.getvalue()


def _is_readable(data: bytes) -> bool:
    from peyda.images import decode_bytes

    try:
        return decode_bytes(data, target_px=64).image.size == (64, 64)
    except PeydaError:
        return False


def check_raw(_: Settings) -> Result:
    """Whether camera RAW files can be read; an extra."""
    from importlib.util import find_spec

    if find_spec("rawpy") is None:
        return Result("camera raw", "note", "not installed", "For CR2, NEF, ARW, DNG, …: `pip install rawpy`.")
    return Result("camera raw", "ok", "read")


def check_gallery(settings: Settings) -> Result:
    """That the gallery can be opened and belongs to a model that is here."""
    from peyda.encoders import model_info
    from peyda.gallery.directory import GalleryDirectory
    from peyda.gallery.locks import ServerPresence

    try:
        directory = GalleryDirectory.open(settings.gallery)
    except GalleryNotFound:
        return Result("gallery", "note", f"none yet in {settings.gallery}", "Make one: `peyda index ~/Pictures`.")
    directory.check(model_info(directory.manifest.model))
    with directory.catalog(readonly=True) as catalog:
        photos, skipped = catalog.count(), sum(catalog.skipped_reasons().values())
    server = ServerPresence.find(directory.path)
    served = f"; served at {server.url}" if server else ""
    detail = f"{settings.gallery}: {photos} photographs, {skipped} skipped, model {directory.manifest.model}{served}"
    return Result("gallery", "ok", detail)


def check_directories(settings: Settings) -> list[Result]:
    """That Peyda may write where it keeps things."""
    results = []
    for name, path in (("home", settings.home), ("gallery directory", settings.gallery)):
        place = _existing(path)
        if os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK):
            results.append(Result(name, "ok", f"{path} can be written"))
        else:
            fix = f"Make {place} writable, or name another place: PEYDA_HOME=DIR, --gallery DIR."
            results.append(Result(name, "fail", f"{path} cannot be written", fix))
    return results


def check_disk(settings: Settings) -> Result:
    """That there is room for a gallery."""
    free = shutil.disk_usage(_existing(settings.gallery)).free
    detail = f"{free / 1e9:.1f} GB free for the gallery"
    fix = "Free some space; a gallery of 100,000 photographs takes some 500 MB."
    status: Status = "fail" if free < _NO_DISK_BYTES else "note" if free < _LITTLE_DISK_BYTES else "ok"
    return Result("disk", status, detail, "" if status == "ok" else fix)


def check_memory(_: Settings) -> Result:
    """That there is memory for indexing."""
    available = _available_memory_bytes()
    if available is None:
        return Result("memory", "ok", "unknown on this system")
    detail = f"{available / 1e9:.1f} GB available"
    if available < _LITTLE_MEMORY_BYTES:
        return Result("memory", "note", detail, "Close other programs before indexing; it takes up to 600 MB.")
    return Result("memory", "ok", detail)


def check_port(settings: Settings) -> Result:
    """That `peyda serve` would find its port free."""
    address = f"{settings.host}:{settings.port}"
    if is_port_free(settings.host, settings.port):
        return Result("port", "ok", f"{address} is free for `peyda serve`")
    fix = "Stop the other program, or use another port: `peyda serve --port 8001` (0 takes any free one)."
    return Result("port", "note", f"{address} is taken or not of this machine", fix)


def is_port_free(host: str, port: int) -> bool:
    """True when a server could listen there now."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        with socket.socket(found[0][0]) as probe:
            if os.name == "posix":  # as servers do: connections that have just ended do not count
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[0][4])
    except (OSError, UnicodeError):
        return False
    return True


def _existing(path: str) -> str:
    """The nearest ancestor of `path` that is there."""
    while not os.path.exists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def _available_memory_bytes() -> int | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None
