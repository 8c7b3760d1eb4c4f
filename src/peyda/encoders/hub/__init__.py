"""Models that others published: which are recommended, and how one gets here, from a hub, a folder or an archive.

Owns everything of `encoders` that opens a socket, and only when a person asks for it: importing this package, listing
and loading models never do. What a model directory must hold is `peyda.encoders.directory`'s.
"""

from peyda.encoders.hub.recommended import RECOMMENDED, Recommended, find_recommended

__all__ = ["RECOMMENDED", "Recommended", "find_recommended"]
