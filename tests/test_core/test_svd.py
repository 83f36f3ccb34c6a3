"""Truncated SVD: the best low-rank approximation, and nothing else changes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from frcnn_cli.core.svd import LowRankLinear, compress, energy, rank_for_energy


def layer_of(out_features: int, in_features: int, seed: int = 0) -> nn.Linear:
    layer = nn.Linear(in_features, out_features)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(out_features, in_features, generator=generator))
        layer.bias.copy_(torch.randn(out_features, generator=generator))
    return layer


def product(compressed: LowRankLinear) -> torch.Tensor:
    """The weight that the two layers amount to, in float64."""
    return compressed.second.weight.detach().double() @ compressed.first.weight.detach().double()


SHAPES = [(8, 30), (30, 8), (12, 12), (1, 5), (5, 1)]


@pytest.mark.parametrize(("u", "v"), SHAPES)
def test_error_is_that_of_eckart_and_young(u, v):
    """No matrix of rank t is nearer than the root of the sum of the squares of the singular values left out."""
    layer = layer_of(u, v)
    weight = layer.weight.detach().double()
    values = torch.linalg.svdvals(weight)
    for rank in range(1, min(u, v) + 1):
        low = product(compress(layer, rank))
        error = torch.linalg.matrix_norm(weight - low).item()
        assert error == pytest.approx(values[rank:].square().sum().sqrt().item(), rel=1e-4, abs=1e-5)
        assert torch.linalg.matrix_rank(low, atol=1e-4 * values[0].item()) == rank


@pytest.mark.parametrize(("u", "v"), SHAPES)
def test_full_rank_is_the_layer(u, v):
    layer = layer_of(u, v)
    x = torch.randn(7, v, generator=torch.Generator().manual_seed(1))
    compressed = compress(layer, min(u, v))
    torch.testing.assert_close(compressed(x), layer(x), rtol=1e-5, atol=1e-5)


def test_matrix_of_low_rank_is_exact_at_its_rank():
    """Singular values of 0 among the rest, as training with weight decay comes near to."""
    layer = layer_of(20, 40)
    with torch.no_grad():
        layer.weight.copy_(layer_of(20, 3).weight @ layer_of(3, 40, seed=1).weight)
    for rank in (3, 10, 20):
        torch.testing.assert_close(product(compress(layer, rank)).float(), layer.weight.detach(), rtol=0, atol=1e-4)
    low = product(compress(layer, 2)).float()
    assert (low - layer.weight).abs().max() > 0.1


@pytest.mark.parametrize(("u", "v", "rank"), [(8, 30, 3), (30, 8, 5), (12, 12, 12)])
def test_shapes_and_number_of_parameters(u, v, rank):
    """t (u + v) weights, and the bias once, on the second layer."""
    compressed = compress(layer_of(u, v), rank)
    assert compressed.first.weight.shape == (rank, v)
    assert compressed.first.bias is None
    assert compressed.second.weight.shape == (u, rank)
    assert sum(p.numel() for p in compressed.parameters()) == rank * (u + v) + u


def test_bias_is_kept_and_the_layer_is_not_changed():
    layer = layer_of(6, 10)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    compressed = compress(layer, 2)
    assert torch.equal(compressed.second.bias, layer.bias)
    with torch.no_grad():
        compressed.second.bias.add_(1)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])


def test_layers_are_those_of_equation_5():
    """second = U_t has orthonormal columns; first = S_t V_t^T has rows as long as the singular values."""
    layer = layer_of(9, 25)
    compressed = compress(layer, 4)
    u = compressed.second.weight.detach()
    torch.testing.assert_close(u.T @ u, torch.eye(4), rtol=0, atol=1e-5)
    first = compressed.first.weight.detach()
    torch.testing.assert_close(first.norm(dim=1), torch.linalg.svdvals(layer.weight.detach())[:4], rtol=1e-4, atol=0)


def test_compressed_layer_can_learn():
    compressed = compress(layer_of(4, 6), 2)
    compressed(torch.ones(1, 6)).sum().backward()
    assert all(p.grad is not None and p.requires_grad for p in compressed.parameters())


@pytest.mark.parametrize("rank", [0, -1, 6, 30])
def test_rank_out_of_range(rank):
    with pytest.raises(ValueError, match=f"rank must be 1 to 5 for a 5 x 30 layer, got {rank}"):
        compress(layer_of(5, 30), rank)


def test_energy_by_hand():
    """Squares 16, 4, 4, 1: of 25 in all."""
    values = torch.tensor([4.0, 2, 2, 1])
    assert energy(values).tolist() == pytest.approx([16 / 25, 20 / 25, 24 / 25, 1])
    assert energy(values)[-1].item() == 1


@pytest.mark.parametrize(
    ("fraction", "rank"), [(1e-6, 1), (0.64, 1), (0.6401, 2), (0.8, 2), (0.9, 3), (0.96, 3), (0.97, 4), (1.0, 4)]
)
def test_rank_for_energy_by_hand(fraction, rank):
    assert rank_for_energy(torch.tensor([4.0, 2, 2, 1]), fraction) == rank


def test_energy_is_what_compression_keeps():
    layer = nn.Linear(4, 4)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.tensor([2.0, 4, 1, 2])))
    values = torch.linalg.svdvals(layer.weight.detach())
    for rank in range(1, 5):
        kept = product(compress(layer, rank)).square().sum().item() / 25
        assert kept == pytest.approx(energy(values)[rank - 1].item(), abs=1e-6)
    assert math.isclose(energy(values)[0].item(), 0.64, abs_tol=1e-6)


def test_trailing_zeros_are_not_needed():
    assert rank_for_energy(torch.tensor([3.0, 1, 0, 0]), 1.0) == 2
