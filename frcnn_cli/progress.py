"""How loops let others watch them: whatever shows progress passes a loop's items through."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Track(Protocol):
    """Passes items through one by one, for a progress display."""

    def __call__(self, items: Iterable[T], total: int | None = None, initial: int = 0) -> Iterable[T]:
        """Yield the items.

        Args:
            items: what the loop goes over.
            total: how many there are; None where they know their length.
            initial: how many of these were done before the first of the items.
        """


def silent(items: Iterable[T], total: int | None = None, initial: int = 0) -> Iterable[T]:
    """Pass items through and show nothing."""
    return items
