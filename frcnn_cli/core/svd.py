"""Truncated SVD of fully connected layers (paper, section 3.1): one large layer becomes two small ones."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Decomposition:
    """Along what a layer is cut: the part of W = U S V^T that truncation needs, or what takes its place.

    Attributes:
        u: float64 Tensor[u, K], orthonormal columns: the left singular vectors, or see `core.responses`.
        s: float64 Tensor[K], falling: the singular values, or standard deviations.
        centre: float64 Tensor[u], the response that is kept whole; None for the bias, as in the paper.
    """

    u: Tensor
    s: Tensor
    centre: Tensor | None = None


def decompose(weight: Tensor) -> Decomposition:
    """Singular values and left singular vectors of a layer's weight Tensor[u, v].

    They are the eigenvectors of the small matrix W W^T, which are had several times faster than the whole SVD of a wide
    W. Squaring costs half of float64's digits, and leaves as many as float32 weights have.
    """
    w = weight.detach().double()
    eigenvalues, vectors = torch.linalg.eigh(w @ w.T)
    count = min(w.shape)
    return Decomposition(vectors.flip(1)[:, :count].contiguous(), eigenvalues.flip(0)[:count].clamp(min=0).sqrt())


def compress(layer: nn.Linear, rank: int, decomposition: Decomposition | None = None) -> LowRankLinear:
    """The best approximation of a layer by two of the given rank: W ~ U_t S_t V_t^T (paper, equation 5).

    Args:
        layer: weight [u, v] and a bias [u].
        rank: t, 1 <= t <= min(u, v).
        decomposition: along which to cut; None for that of the weight.

    Returns:
        first = S_t V_t^T (which is U_t^T W), second = U_t with the layer's bias b; around another centre c, with
        c + U_t U_t^T (b - c).

    Raises:
        ValueError: the rank is out of range.
    """
    out_features, in_features = layer.weight.shape
    check_rank(rank, out_features, in_features)
    decomposition = decomposition or decompose(layer.weight)
    u, bias, centre = decomposition.u[:, :rank], layer.bias.double(), decomposition.centre
    if centre is not None:
        bias = centre + u @ (u.T @ (bias - centre))
    compressed = LowRankLinear(in_features, out_features, rank)
    with torch.no_grad():
        compressed.first.weight.copy_(u.T @ layer.weight.double())
        compressed.second.weight.copy_(u)
        compressed.second.bias.copy_(bias)
    return compressed


def check_rank(rank: int, out_features: int, in_features: int) -> None:
    """Refuse a rank that no layer of this shape has.

    Raises:
        ValueError: it is out of range.
    """
    most = min(out_features, in_features)
    if not 1 <= rank <= most:
        raise ValueError(f"rank must be 1 to {most} for a {out_features} x {in_features} layer, got {rank}")


def energy(singular_values: Tensor) -> Tensor:
    """Share of a matrix's squared Frobenius norm that its first 1, 2, ... singular values keep: Tensor[min(u, v)]."""
    squares = singular_values.double().square()
    return squares.cumsum(0) / squares.sum()


def rank_for_energy(singular_values: Tensor, fraction: float) -> int:
    """The smallest rank that keeps at least a fraction (0 to 1] of the energy."""
    short = energy(singular_values) < fraction - 1e-12
    return min(int(short.sum()) + 1, len(singular_values))
