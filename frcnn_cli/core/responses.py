"""In which directions a layer's responses vary: where to cut a layer that is seen at work.

The singular vectors of a weight W tell how to cut W so that the least of *W* is lost, as if all inputs were alike. What
counts is how little of *W x* is lost for the inputs x that there are. The best cut for these is along the principal
directions of the responses (Zhang, Zou, He, Sun: Accelerating Very Deep Convolutional Networks for Classification and
Detection, PAMI 2016, section 3.1). The layers that come of it have the form of a truncated SVD.
"""

from __future__ import annotations

import torch
from torch import Tensor

from frcnn_cli.core.svd import Decomposition


class Responses:
    """The mean and the covariance of a layer's responses, gathered part by part in float64.

    Args:
        units: u, of the layer.
    """

    def __init__(self, units: int) -> None:
        self.count = 0
        self._sum = torch.zeros(units, dtype=torch.float64)
        self._products = torch.zeros(units, units, dtype=torch.float64)

    def add(self, responses: Tensor) -> None:
        """Count Tensor[N, u], what the layer answered, before its activation."""
        y = responses.detach().double().cpu()
        self.count += len(y)
        self._sum += y.sum(0)
        self._products += y.T @ y

    def decomposition(self) -> Decomposition:
        """The directions, and the standard deviation along each.

        Raises:
            ValueError: fewer than two responses.
        """
        if self.count < 2:
            raise ValueError(f"{self.count} responses, at least 2 are needed")
        mean = self._sum / self.count
        variances, directions = torch.linalg.eigh(self._products / self.count - torch.outer(mean, mean))
        return Decomposition(directions.flip(1), variances.flip(0).clamp(min=0).sqrt(), mean)
