"""What a person asked to pull: a recommended name, a name on the hub, a folder or an archive."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from peyda.encoders.hub.installed import installed_source
from peyda.encoders.hub.local import ARCHIVES, ArchiveSource, FolderSource, is_archive
from peyda.encoders.hub.recommended import Recommended, find_recommended, no_such_model
from peyda.encoders.hub.source import HubSource, Source
from peyda.errors import ConfigError, ModelError

_IMMICH = "immich-app"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._+-]+")


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What is to be pulled, before anything was asked or opened.

    Attributes:
        kind: Where it comes from.
        place: "OWNER/NAME" on the hub, or a path.
        name: What it is to be called here.
        revision: Of the hub's repository; None for its newest.
        recommended: Our entry for it, where there is one.
    """

    kind: Literal["hub", "folder", "archive"]
    place: str
    name: str
    revision: str | None = None
    recommended: Recommended | None = None


def parse_request(text: str, *, name: str | None = None, revision: str | None = None) -> PullRequest:
    """Read what a person wrote; looks at the disk, never at the network.

    A recommended name goes before a folder of that name beside one; "./NAME" names the folder.

    Raises:
        ModelError: It names nothing.
        ConfigError: A revision of something that has none.
    """
    path = os.path.expanduser(text)
    recommended = find_recommended(text)
    if recommended is None and (os.path.exists(path) or is_archive(text) or text.startswith((".", "/", "~"))):
        return _local(path, name, revision)
    if recommended is not None:
        return PullRequest("hub", recommended.repository, name or recommended.name, revision, recommended)
    if "://" in text:
        raise ConfigError(
            f"{text} is an address", hint="write the model's name on the hub, OWNER/NAME; HF_ENDPOINT names the hub"
        )
    if "/" not in text and "__" not in text:
        raise no_such_model(text)
    place = text if "/" in text else f"{_IMMICH}/{text}"  # "ViT-B-16-SigLIP2__webli" is how Immich names them
    return PullRequest("hub", place, name or place.rpartition("/")[2], revision)


def _local(path: str, name: str | None, revision: str | None) -> PullRequest:
    if revision is not None:
        raise ConfigError(f"{path} has no revisions", hint="--revision is for models of a hub")
    if not os.path.exists(path):
        raise ModelError(f"there is no file or folder {path}", hint="check the spelling, and that its disk is there")
    own = _NOT_IN_NAMES.sub("-", Path(os.path.abspath(path)).name).strip("-.")
    if os.path.isdir(path):
        return PullRequest("folder", path, name or own)
    if not is_archive(path):
        raise ModelError(
            f"{path} is neither a folder nor an archive of a known kind", hint=f"archives end in {', '.join(ARCHIVES)}"
        )
    ending = max((one for one in ARCHIVES if own.lower().endswith(one)), key=len)
    return PullRequest("archive", path, name or own[: -len(ending)])


def open_source(request: PullRequest, *, environ: Mapping[str, str] | None = None) -> Source:
    """Open the source: asks the hub for a list of files, or reads the folder's or the archive's.

    Raises:
        ModelError: There is no usable model.
        ConfigError: The environment names no hub, or forbids to ask it.
    """
    try:
        if request.kind == "folder":
            return FolderSource(Path(request.place))
        if request.kind == "archive":
            return ArchiveSource(Path(request.place))
    except OSError as error:
        raise ModelError(
            f"{request.place} cannot be read: {error.strerror or error}", hint="check its rights and its disk"
        ) from error
    return HubSource(request.place, request.revision or "main", environ=environ)


def licence_of(request: PullRequest, source: Source) -> str:
    """The licence to show: of the weights as we know it, and of the export where that says another one."""
    known = request.recommended.licence if request.recommended else ""
    if known and source.licence and source.licence.lower() != known:
        return f"{known} (its source says {source.licence})"
    return known or source.licence


def is_same(request: PullRequest, directory: Path) -> bool:
    """Whether an installed model is what is asked for, as far as its manifest says."""
    try:
        record = installed_source(directory)
    except ModelError:
        return False
    is_that = request.kind == "hub" and record.get("repository") == request.place
    return is_that and request.revision in (None, record.get("revision"))
