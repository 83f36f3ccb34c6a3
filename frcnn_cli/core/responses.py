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

UNSEEN = 1e-6
"""The variance that is expected where none was seen, as a share of the mean square of the responses."""


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

    def decomposition(self, weight: Tensor) -> Decomposition:
        """The directions, and the standard deviation along each.

        Directions in which nothing was seen to vary, of which there are many where there were few responses, go by what
        the weight alone says: it is given a small say, as if all inputs were alike.

        Args:
            weight: Tensor[u, v], of the layer.

        Raises:
            ValueError: no response, or one that is not finite.
        """
        if not self.count:
            raise ValueError("no region of interest to look at")
        mean = self._sum / self.count
        covariance = self._products / self.count - torch.outer(mean, mean)
        if not covariance.isfinite().all():
            raise ValueError("what the model answers is not finite")
        w = weight.detach().double().cpu()
        unseen = w @ w.T
        square = self._products.trace() / self.count
        covariance += UNSEEN * square / unseen.trace().clamp(min=1e-30) * unseen
        variances, directions = torch.linalg.eigh(covariance)
        return Decomposition(directions.flip(1), variances.flip(0).clamp(min=0).sqrt(), mean)
