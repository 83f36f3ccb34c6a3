"""Where proposals come from: a search of the image, a file made before (`data.proposals`), ...

A source has one method that detection needs, `boxes`. To add a search takes a module that defines it and a line in
`SEARCHES`; its name is then a value of ``--mode``, wherever proposals are made.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from frcnn_cli.tables import Table


class ProposalSource(Protocol):
    """Gives boxes that may hold objects.

    Attributes:
        made: whether they are made when they are asked for, so that it is worth saying how long that took.
    """

    made: bool

    def boxes(self, image: np.ndarray, image_id: str) -> np.ndarray:
        """The proposals of one image.

        Args:
            image: uint8 RGB [H, W, 3].
            image_id: its name in its data set, or its file's without the suffix.

        Returns:
            float32 [N, 4], xyxy in pixels of the image, best first.

        Raises:
            DataError: there are none for this image, or they are no boxes of such an image.
        """


class Search(Protocol):
    """Makes proposals of an image by itself.

    Attributes:
        version: raised whenever an image's boxes change; proposal files record it.
        sizes: whether it can be told at which size to look; it then takes ``search_size`` and ``smallest``, keywords
            like those of `proposals.selective_search`. One that does not say so cannot.
    """

    version: int
    sizes: bool = False

    def __call__(self, image: np.ndarray, max_proposals: int, seed: int, *, threads: int | None = None) -> np.ndarray:
        """The best boxes of uint8 RGB [H, W, 3]: float32 [N, 4], as `ProposalSource.boxes` returns them.

        Args:
            image: to search.
            max_proposals: the most to return.
            seed: of whatever is random; the same seed gives the same boxes.
            threads: how many to use; None for one a core.
        """


SEARCHES: Table[Search] = Table(
    "mode",
    {
        "single": "frcnn_cli.engine.sources.selective:SINGLE",
        "fast": "frcnn_cli.engine.sources.selective:FAST",
        "quality": "frcnn_cli.engine.sources.selective:QUALITY",
    },
)
"""By the name of the mode."""
