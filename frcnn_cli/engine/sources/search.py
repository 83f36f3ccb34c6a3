"""Proposals that are made when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frcnn_cli.engine.sources import SEARCHES
from frcnn_cli.settings import setting


@dataclass(frozen=True)
class ProposalConfig:
    """How proposals are made: options of `frcnn propose`, and stored in its files.

    Attributes:
        mode: a name of `SEARCHES`.
        max_proposals: of an image.
        seed: of the random part of the ranks.
    """

    mode: str = setting("fast", "How closely selective search looks.", choices=SEARCHES)
    max_proposals: int = setting(2000, "The most proposals of an image.", least=1)
    seed: int = setting(0, "What the random part of the proposals' ranks follows from.", least=0)


class SearchSource:
    """Searches each image; a `ProposalSource`.

    Raises:
        UsageError: no such mode.
    """

    made = True

    def __init__(self, config: ProposalConfig | None = None) -> None:
        self.config = config or ProposalConfig()
        self.search = SEARCHES.find(self.config.mode)

    def boxes(self, image: np.ndarray, image_id: str = "") -> np.ndarray:
        """See `ProposalSource.boxes`."""
        return self.search(image, self.config.max_proposals, self.config.seed)
