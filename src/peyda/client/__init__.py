"""The public face of a gallery: goes through a running server, or searches on its own. Owns no search logic."""

from peyda.client.gallery import Gallery

__all__ = ["Gallery"]
