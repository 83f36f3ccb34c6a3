"""Proposals that are made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.distributed import own_cores
from frcnn_cli.engine.sources import SEARCHES
from frcnn_cli.errors import UsageError
from frcnn_cli.settings import setting
from proposals import SEARCH_SIZE, SMALLEST

SEARCH_SIZE_HELP = (
    "Search images with the pixels of one of this width and 3/4 of it in height, where they have as many; twice the "
    "size takes some five times as long."
)
SMALLEST_HELP = "The shortest side of a proposal, in pixels of an image of --search-size."
SIZES = {"least": 50, "most": 4000, "metavar": "PIXELS"}
"""Of --search-size, wherever it is an option."""

SIDES = {"least": 1, "most": 1000, "metavar": "PIXELS"}
"""Of --smallest."""


def smallest_at(search_size: int) -> int:
    """The shortest side of a proposal at another size of the search that is as large a share of the image."""
    return max(round(SMALLEST * search_size / SEARCH_SIZE), 1)


@dataclass(frozen=True)
class ProposalConfig:
    """How proposals are made: options of `frcnn propose`, and stored in its files.

    Attributes:
        mode: a name of `SEARCHES`.
        max_proposals: of an image.
        seed: of the random part of the ranks.
        search_size: the width of a photograph of 4:3 that has as many pixels as images are searched with.
        smallest: the shortest side of a proposal, in pixels of such a photograph.
    """

    mode: str = setting("fast", "How closely selective search looks.", choices=SEARCHES)
    max_proposals: int = setting(2000, "The most proposals of an image.", least=1)
    seed: int = setting(0, "What the random part of the proposals' ranks follows from.", least=0)
    search_size: int = setting(SEARCH_SIZE, SEARCH_SIZE_HELP, **SIZES)
    smallest: int = setting(SMALLEST, SMALLEST_HELP, **SIDES)

    @property
    def summary(self) -> str:
        """For messages."""
        return f"{self.mode}, seed {self.seed}"

    def settings(self) -> dict[str, Any]:
        """What a proposal file says of how its boxes were made.

        Raises:
            UsageError: no such mode.
        """
        version = SEARCHES.find(self.mode).version
        own = {"mode": self.mode, "max_proposals": self.max_proposals, "seed": self.seed, "search": version}
        return {**own, "search_size": self.search_size, "smallest": self.smallest}

    def search(self) -> Callable[..., np.ndarray]:
        """A function of an image (uint8 RGB [H, W, 3]) and ``threads`` (see `Search`) that returns its boxes.

        Raises:
            UsageError: no such mode, or it knows no other size than its own.
        """
        search = SEARCHES.find(self.mode)
        sizes = {"search_size": self.search_size, "smallest": self.smallest}
        if not getattr(search, "sizes", False):
            for name, value in sizes.items():
                if value != getattr(type(self), name):
                    option = f"--{name.replace('_', '-')} {value}"
                    raise UsageError(f"{option}: not for --mode {self.mode}, which has its own")
            sizes = {}
        return partial(search, max_proposals=self.max_proposals, seed=self.seed, **sizes)


@dataclass(frozen=True)
class DetectionSearch(ProposalConfig):
    """How an image is searched that objects are detected in at once.

    Of the first 1,000 proposals, those of a smaller image cover as many objects as those of one at the size of
    `ProposalConfig`, in 0.6 of the time (`scripts/bench_search_size.py`).
    """

    max_proposals: int = DetectionConfig.max_proposals
    search_size: int = 320
    smallest: int = smallest_at(320)


class SearchSource:
    """Searches each image; a `ProposalSource`.

    Args:
        config: how; None as detectors do.
        threads: to use; None for one a core.

    Raises:
        UsageError: no such mode, or it knows no other size than its own.
    """

    made = True

    def __init__(self, config: ProposalConfig | None = None, threads: int | None = None) -> None:
        self.config = config or DetectionSearch()
        self.threads = threads
        self.search = self.config.search()

    def sharing(self, images: int) -> SearchSource:
        """The same for one of so many images that are searched together: it uses its share of the cores."""
        return SearchSource(self.config, max(own_cores() // images, 1))

    def boxes(self, image: np.ndarray, image_id: str = "") -> np.ndarray:
        """See `ProposalSource.boxes`."""
        return self.search(image, threads=self.threads)


def search_for(config: DetectionConfig) -> SearchSource:
    """The search of images that are looked at as closely as this: it makes as many proposals as are looked at."""
    return SearchSource(DetectionSearch(max_proposals=config.max_proposals))
