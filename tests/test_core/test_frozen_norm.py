"""Frozen batch norm in the convolution: timm's own network is the oracle, in what it computes and in what it learns."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import Tensor, nn

from frcnn_cli.core.frozen_norm import AbsorbedNorm, ScaledConv, absorb_frozen_norms


def lived_in(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give every batch norm statistics, weights and biases that differ from channel to channel."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.5, 0.5), (module.running_var, 0.3, 2.0), (module.weight, 0.6, 1.4),
                (module.bias, -0.3, 0.3),
            ):  # fmt: skip
                tensor.data.uniform_(low, high, generator=generator)
    return network.eval()


@pytest.fixture(scope="module")
def networks() -> tuple[nn.Module, nn.Module]:
    """timm's maps at strides 8, 16 and 32, and the same network with its norms absorbed."""
    torch.manual_seed(0)
    own = lived_in(timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(-3, -2, -1)))
    absorbed = copy.deepcopy(own)
    absorb_frozen_norms(absorbed)
    return own, absorbed


def maps_and_gradients(network: nn.Module, image: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The maps, and the gradients of one loss of all of them: of the image and of every parameter."""
    network.zero_grad()
    image = image.clone().requires_grad_()
    maps = network(image)
    sum(
        (level * torch.linspace(-1, 1, level.numel(), dtype=level.dtype).view_as(level)).mean() for level in maps
    ).backward()
    return maps, {"image": image.grad, **{name: p.grad for name, p in network.named_parameters()}}


@pytest.mark.parametrize(
    ("dtype", "digits", "height", "width"),
    [(torch.float32, 1e-5, 75, 101), (torch.float32, 1e-5, 96, 64), (torch.float64, 1e-13, 43, 61)],
)
def test_maps_and_gradients_are_those_of_timms_network(networks, dtype, digits, height, width):
    own, absorbed = (copy.deepcopy(network).to(dtype) for network in networks)
    image = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1)).to(dtype)
    maps, gradients = maps_and_gradients(own, image)
    other_maps, other_gradients = maps_and_gradients(absorbed, image)
    assert [tuple(level.shape[2:]) for level in maps] == [(-(-height // s), -(-width // s)) for s in (8, 16, 32)]
    assert gradients.keys() == other_gradients.keys()
    for expected, found in zip(maps, other_maps, strict=True):
        assert (found - expected).norm() <= digits * expected.norm()
    for name, expected in gradients.items():  # a value that rounding takes across a kink of an activation costs digits
        assert (other_gradients[name] - expected).norm() <= 3000 * digits * expected.norm(), name


def test_every_norm_is_absorbed_and_no_tensor_renamed(networks):
    own, absorbed = networks
    convolutions = [m for m in absorbed.modules() if isinstance(m, ScaledConv)]
    norms = [m for m in absorbed.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(convolutions) == len(norms) == sum(isinstance(m, nn.BatchNorm2d) for m in own.modules()) > 40
    assert all(isinstance(m, AbsorbedNorm) for m in norms)
    before, after = own.state_dict(), absorbed.state_dict()
    assert list(after) == list(before)
    for name, value in before.items():
        assert torch.equal(after[name], value), name
    assert [name for name, _ in absorbed.named_parameters()] == [name for name, _ in own.named_parameters()]


def test_weights_loaded_later_count(networks):
    """A copy, another dtype, and tensors put in the place of others: the convolution reads its norm at every pass."""
    own, absorbed = networks
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    other = lived_in(copy.deepcopy(own), seed=5).double()
    with torch.no_grad():
        before, expected = own.double()(image)[-1], other(image)[-1]
        assert not torch.allclose(before, expected, rtol=0.01)
        for assign in (False, True):
            loaded = copy.deepcopy(absorbed).to(torch.float64)
            loaded.load_state_dict(other.state_dict(), assign=assign)
            torch.testing.assert_close(loaded(image)[-1], expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(absorbed.double()(image)[-1], before, rtol=1e-9, atol=1e-9)
        own.float(), absorbed.float()


def test_by_hand():
    """A convolution by 2, then (y - 3) / sqrt(3.99999 + 0.00001) * 5 + 7; -> 5 x - 0.5."""
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, eps=1e-5))
    with torch.no_grad():
        for tensor, value in (
            (network[0].weight, 2.0), (network[1].running_mean, 3.0), (network[1].running_var, 3.99999),
            (network[1].weight, 5.0), (network[1].bias, 7.0),
        ):  # fmt: skip
            tensor.fill_(value)
    absorb_frozen_norms(network)
    assert isinstance(network[0], ScaledConv)
    torch.testing.assert_close(network(torch.tensor([[[[0.0, 1.0, -2.0]]]])), torch.tensor([[[[-0.5, 4.5, -10.5]]]]))


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.BatchNorm2d(4)),
        nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, bias=False)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)),
    ],
    ids=["between", "before", "with a bias", "no norm"],
)
def test_what_is_no_convolution_with_its_norm_is_left_alone(network):
    before = copy.deepcopy(lived_in(network))
    absorb_frozen_norms(network)
    assert [type(m) for m in network.modules()] == [type(m) for m in before.modules()]
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    assert torch.equal(network(image), before(image))
