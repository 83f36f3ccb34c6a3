"""Layers cut by their responses: no other cut of the same rank loses as little of what the layer answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from torch import nn

from frcnn_cli.core.responses import Responses
from frcnn_cli.core.svd import compress, energy


def random_layer(units: int, features: int, seed: int) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(features, units)


def uneven_inputs(count: int, features: int, seed: int) -> torch.Tensor:
    """Most of what varies lies in a few directions, and the mean is not 0: as what is pooled of photographs is."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(features, features, generator=generator) * 0.6 ** torch.arange(features)[:, None]
    return torch.randn(count, features, generator=generator) @ mixing + 2


def gathered(layer: nn.Linear, inputs: torch.Tensor, parts: int = 3) -> Responses:
    responses = Responses(layer.out_features)
    for part in inputs.chunk(parts):
        responses.add(layer(part))
    return responses


def lost(layer: nn.Linear, smaller: nn.Module, inputs: torch.Tensor) -> float:
    with torch.no_grad():
        return (smaller(inputs) - layer(inputs)).double().square().sum(1).mean().item()


@given(
    units=st.integers(2, 12), features=st.integers(2, 16), rank=st.integers(1, 12),
    parts=st.integers(1, 7), seed=st.integers(0, 9),
)  # fmt: skip
def test_what_is_lost_is_what_scikit_learn_s_components_leave_out(units, features, rank, parts, seed):
    rank = min(rank, units, features)
    layer, inputs = random_layer(units, features, seed), uneven_inputs(60, features, seed)
    with torch.no_grad():
        answers = layer(inputs).double().numpy()
    oracle = PCA(rank, svd_solver="full").fit(answers)
    rest = answers - oracle.inverse_transform(oracle.transform(answers))
    found = gathered(layer, inputs, parts).decomposition(layer.weight)
    smallest = np.square(rest).sum(1).mean()
    scale = np.square(answers).sum(1).mean()
    assert lost(layer, compress(layer, rank, found), inputs) == pytest.approx(smallest, rel=1e-3, abs=1e-6 * scale)
    kept = oracle.explained_variance_ratio_.sum()
    assert energy(found.s)[rank - 1].item() == pytest.approx(kept, abs=1e-4)


@pytest.mark.parametrize("rank", [1, 2, 4, 7])
def test_less_is_lost_than_by_the_weight_s_singular_values(rank):
    layer, inputs = random_layer(10, 20, 0), uneven_inputs(500, 20, 1)
    by_responses = compress(layer, rank, gathered(layer, inputs).decomposition(layer.weight))
    assert lost(layer, by_responses, inputs) < 0.7 * lost(layer, compress(layer, rank), inputs)
    unseen = uneven_inputs(2500, 20, 1)[500:]
    assert lost(layer, by_responses, unseen) < 0.8 * lost(layer, compress(layer, rank), unseen)


def test_inputs_of_few_directions_lose_nothing_at_their_number():
    """Their mean takes no rank."""
    torch.manual_seed(0)
    layer, directions = nn.Linear(30, 12), torch.randn(3, 30)
    inputs = torch.randn(100, 3) @ directions + torch.randn(30)
    found = gathered(layer, inputs).decomposition(layer.weight)
    assert lost(layer, compress(layer, 3, found), inputs) < 1e-8
    assert lost(layer, compress(layer, 2, found), inputs) > 1e-3
    assert lost(layer, compress(layer, 3), inputs) > 1e-3


def test_directions_that_nothing_was_seen_of_go_by_the_weight():
    """Of one answer, or of equal ones, nothing is known: the layer is cut as the paper cuts it."""
    layer, inputs = random_layer(10, 20, 0), uneven_inputs(1, 20, 1).expand(5, 20)
    others = torch.randn(400, 20)
    for rank in (1, 4, 9):
        by_weight = compress(layer, rank)
        for count in (1, 5):
            smaller = compress(layer, rank, gathered(layer, inputs[:count], 1).decomposition(layer.weight))
            with torch.no_grad():
                moved = smaller(others) - smaller(inputs[:1])
                expected = by_weight(others) - by_weight(inputs[:1])
            torch.testing.assert_close(moved, expected, rtol=1e-3, atol=1e-3)


def test_no_answers():
    layer = random_layer(3, 4, 0)
    with pytest.raises(ValueError, match="no region of interest"):
        Responses(3).decomposition(layer.weight)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_answers_that_are_not_finite(value):
    layer, responses = random_layer(3, 4, 0), Responses(3)
    responses.add(torch.tensor([[1.0, value, 0.0], [0.0, 1.0, 2.0]]))
    with pytest.raises(ValueError, match="not finite"):
        responses.decomposition(layer.weight)
