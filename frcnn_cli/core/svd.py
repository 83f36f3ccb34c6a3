"""Truncated SVD of fully connected layers (paper, section 3.1): one large layer becomes two small ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LowRankLinear(nn.Module):
    """A linear layer u x v of rank t as two: t x v without a bias, then u x t with the bias.

    t (u + v) parameters instead of u v.
    """

    def __init__(self, in_features: int, out_features: int, rank: int) -> None:
        super().__init__()
        self.first = nn.Linear(in_features, rank, bias=False)
        self.second = nn.Linear(rank, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Tensor[N, v] -> Tensor[N, u]."""
        return self.second(self.first(x))


def compress(layer: nn.Linear, rank: int) -> LowRankLinear:
    """The best approximation of a layer by two of the given rank: W ~ U_t S_t V_t^T (paper, equation 5).

    Args:
        layer: weight [u, v] and a bias [u].
        rank: t, 1 <= t <= min(u, v).

    Returns:
        first = S_t V_t^T, second = U_t with the layer's bias.

    Raises:
        ValueError: the rank is out of range.
    """
    out_features, in_features = layer.weight.shape
    if not 1 <= rank <= min(out_features, in_features):
        raise ValueError(
            f"rank must be 1 to {min(out_features, in_features)} for a {out_features} x {in_features} layer, got {rank}"
        )
    u, s, vt = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    compressed = LowRankLinear(in_features, out_features, rank)
    with torch.no_grad():
        compressed.first.weight.copy_(s[:rank, None] * vt[:rank])
        compressed.second.weight.copy_(u[:, :rank])
        compressed.second.bias.copy_(layer.bias)
    return compressed


def energy(singular_values: Tensor) -> Tensor:
    """Share of a matrix's squared Frobenius norm that its first 1, 2, ... singular values keep: Tensor[min(u, v)]."""
    squares = singular_values.double().square()
    return squares.cumsum(0) / squares.sum()


def rank_for_energy(singular_values: Tensor, fraction: float) -> int:
    """The smallest rank that keeps at least a fraction (0 to 1] of the energy."""
    short = energy(singular_values) < fraction - 1e-12
    return min(int(short.sum()) + 1, len(singular_values))
