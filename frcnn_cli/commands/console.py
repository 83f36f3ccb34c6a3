"""Progress on stderr, tables on stdout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.text import Text

from frcnn_cli import stopping
from frcnn_cli.engine.distributed import current
from frcnn_cli.progress import Track
from frcnn_cli.text import visible_line

T = TypeVar("T")

_quiet = current().rank > 0  # of several processes, the first is heard
_AS_IT_IS = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": True, "quiet": _quiet}
"""What is printed holds names that people have chosen: brackets and colons in them are part of the name."""


class PlainConsole(Console):
    """Prints text as it is, a line a call or a cell, but for what a terminal would obey: see `visible_line`."""

    def render_str(self, text: str, **style: Any) -> Text:
        return super().render_str(visible_line(text), **style)


out = PlainConsole(**_AS_IT_IS)
err = PlainConsole(stderr=True, **_AS_IT_IS)


@contextmanager
def above_bars() -> Iterator[None]:
    """Print in the block without disturbing a bar on the same terminal."""
    if not err.is_terminal:
        yield
        return
    from tqdm import tqdm

    with tqdm.external_write_mode():
        yield


def _until_stopped(items: Iterable[T]) -> Iterator[T]:
    for item in items:
        stopping.check()
        yield item


def progress_bar(description: str, unit: str = "image") -> Track:
    """A function that passes items through and draws a bar with the rate and the time left; in a log file, seldom."""
    seconds = 0.1 if err.is_terminal else 30.0

    def track(items: Iterable[T], total: int | None = None, initial: int = 0) -> Iterable[T]:
        from tqdm import tqdm  # takes as long to import as the rest of a help text

        return tqdm(
            _until_stopped(items),
            desc=visible_line(description),
            total=len(items) if total is None and isinstance(items, Sized) else total,
            initial=initial,
            unit=unit,
            disable=_quiet,
            dynamic_ncols=True,
            leave=False,
            delay=seconds,
            mininterval=seconds,
            maxinterval=max(seconds, 10.0),
        )

    return track
