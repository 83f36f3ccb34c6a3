"""Depthwise convolution: torch in float64 is the oracle, in what it computes and in what it learns."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from frcnn_cli.core.depthwise import depthwise_conv2d, weight_gradient

SIDES = st.integers(1, 9)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def results(function, input: Tensor, weight: Tensor, bias: Tensor, *geometry) -> list[Tensor]:
    """The output, and the gradients of one loss of all of it: of the input, the weight and the bias."""
    tensors = [tensor.detach().clone().requires_grad_() for tensor in (input, weight, bias)]
    output = function(*tensors, *geometry)
    (output * torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)).sum().backward()
    return [output.detach(), *(tensor.grad for tensor in tensors)]


def in_float64(input: Tensor, weight: Tensor, bias: Tensor, *geometry) -> list[Tensor]:
    def conv(x, w, b, stride, padding):
        return F.conv2d(x, w, b, stride, padding, groups=len(w))

    return results(conv, input.double(), weight.double(), bias.double(), *geometry)


@given(
    st.integers(1, 3), st.integers(2, 40), SIDES, SIDES,  # of one channel, channels-last, oneDNN computes wrong values
    st.tuples(st.integers(1, 7), st.integers(1, 7)), st.tuples(st.integers(1, 3), st.integers(1, 3)), st.booleans(),
)  # fmt: skip
def test_output_and_gradients_of_any_geometry(images, channels, height, width, size, stride, channels_last):
    padding = (size[0] // 2, size[1] // 2)
    input, weight = randn(images, channels, height, width), randn(channels, 1, *size, seed=1)
    if channels_last:
        input = input.to(memory_format=torch.channels_last)
    arguments = (input, weight, randn(channels, seed=2), stride, padding)
    for found, expected in zip(results(depthwise_conv2d, *arguments), in_float64(*arguments), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [3, 5])
def test_under_autocast_what_it_computes_is_float32(size):
    arguments = (randn(2, 24, 16, 16), randn(24, 1, size, size, seed=1), randn(24, seed=2), (1, 1), (size // 2,) * 2)
    with torch.autocast("cpu", torch.bfloat16):
        found = results(depthwise_conv2d, *arguments)
    for tensor, expected in zip(found, in_float64(*arguments), strict=True):
        torch.testing.assert_close(tensor.double(), expected, rtol=1e-4, atol=1e-4)


def test_the_bits_do_not_depend_on_the_threads():
    input, grad = randn(2, 100, 12, 14), randn(2, 100, 12, 14, seed=1)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            found.append(weight_gradient(input, grad, (5, 5), (1, 1), (2, 2)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_by_hand():
    """A window of 1 x 2 over 1 2 3: the outputs are 1 w0 + 2 w1 and 2 w0 + 3 w1; their gradients 10 and 100."""
    gradient = weight_gradient(
        torch.tensor([[[[1.0, 2.0, 3.0]]]]), torch.tensor([[[[10.0, 100.0]]]]), (1, 2), (1, 1), (0, 0)
    )
    assert gradient.tolist() == [[[[1 * 10 + 2 * 100, 2 * 10 + 3 * 100]]]]
