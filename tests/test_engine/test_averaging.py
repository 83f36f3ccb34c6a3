"""The moving average of the weights: its closed form, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from frcnn_cli.engine.averaging import WeightAverage


def follow(decay: float, values: list[float]) -> float:
    """The average of a weight that is values[0] at first and each of the others after an update."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, values[0])
    average = WeightAverage(model, decay)
    for iteration, value in enumerate(values[1:], start=1):
        nn.init.constant_(model.weight, value)
        average.update(model, iteration)
    return average.weights["weight"].item()


def test_early_weights_are_soon_forgotten():
    """After i updates (1 + i) / (10 + i) of the average is kept: 2/11, 3/12, 4/13 ..."""
    assert follow(0.999, [1.0, 0.0]) == pytest.approx(2 / 11, rel=1e-6)
    assert follow(0.999, [1.0, 0.0, 0.0]) == pytest.approx(2 / 11 * 3 / 12, rel=1e-6)
    assert follow(0.999, [0.0, 1.0, 0.0, 1.0]) == pytest.approx(9 / 11 * 3 / 12 * 4 / 13 + 9 / 13, rel=1e-6)
    assert follow(0.1, [1.0, 0.0, 0.0]) == pytest.approx(0.1**2, rel=1e-6)  # a decay below 2/11 is kept from the start


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.999])
def test_closed_form(decay):
    """A sum over all weights: each counts by 1 - decay of its update, times the decays of all later ones."""
    values = torch.randn(200, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).float().tolist()
    decays = [min(decay, (1 + i) / (10 + i)) for i in range(1, 200)]
    kept, expected = 1.0, 0.0
    for value, d in zip(reversed(values[1:]), reversed(decays), strict=True):
        expected += kept * (1 - d) * value
        kept *= d
    assert follow(decay, values) == pytest.approx(expected + kept * values[0], abs=1e-6)


def test_weights_that_stay_are_kept_to_the_bit():
    torch.manual_seed(0)
    model = nn.Linear(100, 30)
    average = WeightAverage(model, 0.9998)
    for iteration in range(1, 50):
        average.update(model, iteration)
    for name, value in model.state_dict().items():
        assert torch.equal(average.weights[name], value)


def test_what_does_not_learn_is_left_alone():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    average = WeightAverage(model, 0.5)
    assert average.weights.keys() == model.state_dict().keys()
    before = {name: value.clone() for name, value in average.weights.items()}
    for parameter in model.parameters():
        parameter.data += 1
    average.update(model, 100)
    for name, value in before.items():
        moved = 0.5 if name.startswith("1.") else 0.0
        torch.testing.assert_close(average.weights[name], value + moved)
    model[1].weight.data.zero_()
    assert average.weights["1.weight"].abs().min() > 0  # its own tensors
