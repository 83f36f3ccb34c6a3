"""Progress on stderr, tables on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from rich.console import Console
from tqdm import tqdm

from frcnn_cli.engine.distributed import current

T = TypeVar("T")

_quiet = current().rank > 0  # of several processes, the first is heard
out = Console(highlight=False, soft_wrap=True, quiet=_quiet)
err = Console(stderr=True, highlight=False, soft_wrap=True, quiet=_quiet)


def progress_bar(description: str, unit: str = "image") -> Callable[..., Iterable[T]]:
    """A function that passes items through and draws a bar with the rate and the time left; in a log file, seldom."""
    seconds = 0.1 if err.is_terminal else 30.0

    def track(items: Iterable[T], total: int | None = None, initial: int = 0) -> Iterable[T]:
        return tqdm(
            items,
            desc=description,
            total=total,
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
