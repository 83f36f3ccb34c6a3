"""A moving average of the weights: steadier than the weights themselves, which every mini-batch pushes about."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of the parameters that learn.

    Args:
        model: where it starts.
        decay: share that is kept at each update. Early on, less is: (1 + i) / (10 + i) after i updates, so that the
            first weights are soon forgotten.

    Attributes:
        weights: by the names of the model's state dict.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in model.named_parameters()
        }

    def state_dict(self) -> dict[str, Tensor]:
        """The weights, by name."""
        return self.weights

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        """Go on from weights that were saved, where the model is."""
        self.weights = {name: weight.to(self.weights[name].device) for name, weight in weights.items()}

    @torch.no_grad()
    def update(self, model: nn.Module, iteration: int) -> None:
        """Move towards the model's weights after its update number `iteration`, counted from 1."""
        learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
        decay = min(self.decay, (1 + iteration) / (10 + iteration))
        torch._foreach_lerp_([self.weights[name] for name in learning], list(learning.values()), 1 - decay)
