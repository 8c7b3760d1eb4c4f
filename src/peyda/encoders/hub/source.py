"""Where a model is brought from, as the installer sees it; and the hub as such a source.

The hub is asked for one revision's list of files, lengths and checksums, and everything is then fetched from that very
commit, so that a model that changes meanwhile is never half of one and half of another. Source: the hub's HTTP API,
`GET /api/models/OWNER/NAME/revision/REVISION?blobs=true` and `GET /OWNER/NAME/resolve/COMMIT/PATH`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from peyda.captions.web.failures import WEB_REASONS, WebFailure
from peyda.encoders.hub.fetch import Patience, fetch, patiently
from peyda.encoders.hub.layout import SourceFile, chosen
from peyda.encoders.hub.licences import stated_licence
from peyda.encoders.hub.transport import HubFailure, Transport
from peyda.errors import ConfigError, ModelError

DEFAULT_ENDPOINT = "https://huggingface.co"
ENDPOINT_VARIABLE = "HF_ENDPOINT"
TOKEN_VARIABLE = "HF_TOKEN"
OFFLINE_VARIABLE = "HF_HUB_OFFLINE"

_AT_A_TIME = 4
"""Large exports have hundreds of small files; more at a time is no way to treat a hub."""

_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,199}", re.ASCII)
_SHA1, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to bring, and where its content goes; `part` may hold the beginning of it."""

    file: SourceFile
    part: Path


Report = Callable[[SourceFile, int], None]
"""Called with a file and how many bytes of it are there; from any thread."""

Done = Callable[[Wanted], None]
"""Called with a file that is whole, and as its source announced it; from the thread that called `bring`."""


class Source(Protocol):
    """A model somewhere else."""

    label: str
    """What it is called in messages."""

    files: tuple[SourceFile, ...]
    """What belongs to the model, by path."""

    licence: str
    """As stated there; "" where it is not."""

    is_resumable: bool
    """Whether `bring` goes on from what a part holds."""

    @property
    def record(self) -> dict[str, str]:
        """Where it came from, for the manifest."""

    def bring(self, wanted: Sequence[Wanted], report: Report, done: Done) -> None:
        """Write the content of files.

        Raises:
            ModelError: One cannot be had, or is not what was announced.
            OSError: The disk is full, or gone.
        """

    def stop(self) -> None:
        """End what is under way."""


class HubSource:
    """A repository of models on a hub, at one commit. Asks the hub for its list of files at once.

    Args:
        repository: "OWNER/NAME".
        revision: A branch, a tag or a commit.
        environ: `HF_ENDPOINT` names a mirror, `HF_TOKEN` is said to it, `HF_HUB_OFFLINE` forbids to ask.
        patience: How long it is asked.
        timeout_s: Longest silence.

    Raises:
        ModelError: There is no such model there, it is not in our layout, or the hub cannot be reached.
        ConfigError: A name or an address is malformed, or the environment forbids to ask.
    """

    is_resumable = True

    def __init__(
        self,
        repository: str,
        revision: str = "main",
        *,
        environ: Mapping[str, str] | None = None,
        patience: Patience | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        environ = os.environ if environ is None else environ
        _check_names(repository, revision, environ)
        self.repository = repository
        self._patience = patience or Patience()
        endpoint = environ.get(ENDPOINT_VARIABLE, "").strip() or DEFAULT_ENDPOINT
        try:
            self._transport = Transport(endpoint, token=environ.get(TOKEN_VARIABLE, "").strip(), timeout_s=timeout_s)
        except WebFailure as failure:
            raise ConfigError(
                f"{ENDPOINT_VARIABLE} is no address of a hub: {endpoint!r} ({failure.detail})",
                hint=f"set it to one like {DEFAULT_ENDPOINT}, or unset it",
            ) from failure
        self.label = f"{repository} on {self._transport.endpoint}"
        info = self._listing(revision)
        self.revision = str(info["sha"])
        self.licence = stated_licence(info)
        self.files = chosen(_files(info["siblings"], self.label), self.label)
        for file in self.files:
            if file.size_bytes < 0:
                raise ModelError(
                    f"{self.label} gives no length or checksum of {file.origin}, so nothing from there can be trusted",
                    hint="ask another hub or mirror, or pull a folder that you trust",
                )

    @property
    def record(self) -> dict[str, str]:
        """Hub, repository and commit."""
        return {"hub": self._transport.endpoint, "repository": self.repository, "revision": self.revision}

    def stop(self) -> None:
        """End the requests that are under way."""
        self._transport.stop()

    def bring(self, wanted: Sequence[Wanted], report: Report, done: Done) -> None:
        """Fetch files, a few at a time, going on from what is there; see `Source`.

        Raises:
            ModelError: One cannot be had.
            OSError: The disk is full, or gone.
        """
        pool = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="peyda-pull")
        try:
            waiting = {pool.submit(self._fetch, one, report): one for one in wanted}
            for future in as_completed(waiting):
                future.result()
                done(waiting[future])
        except BaseException:  # Ctrl-C, a full disk, a failure for good: ask for nothing more, keep what has come
            self.stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _fetch(self, one: Wanted, report: Report) -> None:
        file = one.file
        url = f"{self._transport.endpoint}/{self.repository}/resolve/{self.revision}/{quote(file.origin)}"
        try:
            fetch(self._transport, url, file, one.part, self._patience, lambda size: report(file, size))
        except WebFailure as failure:
            raise self._error(failure, file.origin) from failure

    def _listing(self, revision: str) -> dict[str, Any]:
        found: list[Any] = []
        url = f"{self._transport.endpoint}/api/models/{self.repository}/revision/{quote(revision, safe='')}?blobs=true"

        def ask() -> bool:
            found.append(self._transport.get_json(url))
            return True

        try:
            patiently(self._transport, self._patience, ask)
        except WebFailure as failure:
            raise self._error(failure, f"revision {revision}") from failure
        info = found[-1]
        is_well = isinstance(info, dict) and isinstance(info.get("siblings"), list)
        if not is_well or not _SHA1.fullmatch(str(info.get("sha"))):
            raise self._error(HubFailure("bad_json", "no list of files"), f"revision {revision}")
        return dict(info)

    def _error(self, failure: WebFailure, what: str) -> ModelError:
        code = failure.code if isinstance(failure, HubFailure) else ""
        told = f" ({failure.detail})" if failure.detail else ""
        if code == "RevisionNotFound":
            return ModelError(f"{self.label} has no {what}", hint="--revision takes a branch, a tag or a commit of it")
        if code == "GatedRepo" or failure.reason == "http_403":
            return ModelError(
                f"{self.label} is not given to everybody: the hub refuses{told}",
                hint=f"agree to its terms on its page there, and set {TOKEN_VARIABLE} to a token of your account;"
                " some networks are refused as a whole: see the other ways in docs/models.md",
            )
        if code == "RepoNotFound" or failure.reason in ("http_401", "http_404"):
            return ModelError(
                f"there is no {self.label}, or it is private{told}"
                if what.startswith("revision")
                else f"{self.label} has no {what} any more{told}",
                hint=f"check its name; for a private model, set {TOKEN_VARIABLE}; peyda models list shows good ones",
            )
        sentence = _SENTENCES.get(failure.reason) or WEB_REASONS.get(failure.reason, f"it answers {failure.reason}")
        return ModelError(
            f"cannot fetch {what} of {self.label}: {sentence[0].lower()}{sentence[1:].rstrip('.')}{told}",
            hint="run the same command again to go on where it stopped. Where the hub is blocked or there is no"
            f" network: set {ENDPOINT_VARIABLE} to a mirror, HTTPS_PROXY to a proxy, or pull a folder or an archive"
            " (.zip, .tar.gz) that somebody else downloaded (docs/models.md)",
        )


_SENTENCES: Mapping[str, str] = {
    "bad_checksum": "what comes is not the file that the hub announces",
    "http_429": "it has been asked too often",
    "http_451": "it is not given out where you are",
    "stopped": "it was stopped",
}


def _check_names(repository: str, revision: str, environ: Mapping[str, str]) -> None:
    if not _ID.fullmatch(repository) or ".." in repository:
        raise ConfigError(f"{repository!r} is no name of a model on a hub", hint="write OWNER/NAME")
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise ConfigError(f"{revision!r} is no revision", hint="a branch, a tag or a commit, such as main")
    if environ.get(OFFLINE_VARIABLE, "").strip().lower() in ("1", "true", "yes", "on"):
        raise ConfigError(
            f"{OFFLINE_VARIABLE} is set, so the hub is not asked",
            hint="unset it, or pull a folder or an archive: peyda models pull ./DIR",
        )


def _files(siblings: list[Any], label: str) -> list[SourceFile]:
    """The list of a hub, which may say anything; a file that it does not describe well has length -1."""
    files = []
    for entry in siblings:
        entry = entry if isinstance(entry, dict) else {}
        name, lfs = entry.get("rfilename"), entry.get("lfs")
        if not isinstance(name, str):
            raise ModelError(f"{label}: its list of files cannot be read", hint="ask another hub or mirror")
        sha256, git_sha1, size = "", str(entry.get("blobId", "")), entry.get("size")
        if isinstance(lfs, dict):  # the git blob is then a pointer to the file, not the file
            sha256, git_sha1, size = str(lfs.get("sha256", lfs.get("oid", ""))), "", lfs.get("size", size)
        is_checked = _SHA256.fullmatch(sha256) or _SHA1.fullmatch(git_sha1)
        if not is_checked or type(size) is not int or size < 0:
            size = -1
        files.append(SourceFile(name, name, size, sha256, git_sha1))
    return files
