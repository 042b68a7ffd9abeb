"""What a file must offer so that its pages can be mapped. VFS nodes give one with `page_source()`."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol


class PageSource(Protocol):
    @property
    def identity(self) -> Hashable:
        """Two sources of equal identity hold the same bytes: the page cache is keyed by it."""

    @property
    def size(self) -> int:
        """Bytes. A page that begins beyond it is not there: SIGBUS."""

    def load(self, index: int) -> bytes:
        """Page `index`, at most 4096 bytes; the rest reads as zero."""

    def shared_frame(self, index: int) -> int | None:
        """The file's own frame, retained for the caller, for shared mappings; None when it has none to share."""
