"""Why something was not indexed: the codes of `peyda.images` for photographs, and those that only a walk meets."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from peyda.images import REASONS as IMAGE_REASONS
from peyda.images import RETRY_REASONS

MISSING_FOLDER = "missing_folder"
UNREADABLE_FOLDER = "unreadable_folder"
LINKED_FOLDER = "linked_folder"
NO_VECTOR = "no_vector"
NOT_A_FILE = "not_a_file"
UNREADABLE = "unreadable"
UNDECODABLE = "undecodable"
VANISHED = "vanished"

REASONS: Mapping[str, str] = MappingProxyType(
    {
        **IMAGE_REASONS,
        MISSING_FOLDER: "The folder is not there or is empty; its photographs are kept. Plug in its disk, or run: "
        "peyda gallery verify --repair --forget-missing",
        UNREADABLE_FOLDER: "The folder may not or cannot be listed; its photographs are kept. Check its permissions.",
        LINKED_FOLDER: "Links to folders are not followed. Name the folder itself: peyda index FOLDER",
        NO_VECTOR: "The model gives no usable vector for this photograph. Check the model: peyda doctor",
    }
)
"""Code → what happened and what to do about it, for every code of `Skipped.reason`."""

FLEETING_REASONS = frozenset({*RETRY_REASONS, MISSING_FOLDER, UNREADABLE_FOLDER})
"""Codes that may go away although the file stays as it is: tried again on every run; no reason to forget a photo."""

UNLISTED_REASONS = frozenset({UNREADABLE_FOLDER, MISSING_FOLDER})
"""What lies under such a path was not looked at, so nothing there may be taken for gone."""
