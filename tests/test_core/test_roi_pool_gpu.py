"""The Triton kernels: on CUDA where there is one, else interpreted on the CPU (`conftest.py` asks Triton to)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision import ops

from frcnn_cli.core.roi_pool import cpu, operator, roi_pool
from frcnn_cli.core.roi_pool.geometry import bin_edges, bin_edges_on_cpu

gpu = pytest.importorskip("frcnn_cli.core.roi_pool.gpu", reason="needs Triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HEIGHT, WIDTH = 7, 9


def random_rois(generator: torch.Generator, count: int, images: int = 2) -> Tensor:
    """Inside, across the border, outside, inverted; corners at exact halves of cells among them."""
    corners = (torch.rand(count, 4, generator=generator) * 1.8 - 0.4) * torch.tensor((WIDTH, HEIGHT) * 2) * 16
    corners[::3] = (corners[::3] / 8).round() * 8
    return torch.cat((torch.randint(images, (count, 1), generator=generator), corners), dim=1)


def pooled(maps: Tensor, rois: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    return operator._pool_argmax(gpu, maps.to(DEVICE), rois.to(DEVICE), rows, columns, 1 / 16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 2)])
def test_forward_is_the_cpus_to_the_bit(dtype, rows, columns):
    generator = torch.Generator().manual_seed(rows)
    for layout in (torch.contiguous_format, torch.channels_last):
        maps = torch.randn(2, 5, HEIGHT, WIDTH, generator=generator).to(dtype).to(memory_format=layout)
        rois = random_rois(generator, 12)
        output, argmax = pooled(maps, rois, rows, columns)
        expected, places = operator._pool_argmax(cpu, maps, rois, rows, columns, 1 / 16)
        assert output.dtype == dtype
        assert output.stride() == expected.stride()
        assert torch.equal(output.cpu(), expected)
        assert torch.equal(argmax.cpu(), places)
        assert torch.equal(operator._pool(gpu, maps.to(DEVICE), rois.to(DEVICE), rows, columns, 1 / 16).cpu(), expected)


def test_forward_equals_torchvision():
    generator = torch.Generator().manual_seed(4)
    maps, rois = torch.randn(1, 3, HEIGHT, WIDTH, generator=generator), random_rois(generator, 25, images=1)
    assert torch.equal(pooled(maps, rois, 2, 3)[0].cpu(), ops.roi_pool(maps, rois, (2, 3), 1 / 16))


def test_more_channels_than_a_program_works_on():
    maps = torch.randn(1, 300, 3, 3, generator=torch.Generator().manual_seed(5))
    rois = torch.tensor([[0, 0.0, 0, 40, 40], [0, 16.0, 16, 16, 16]])
    output, argmax = pooled(maps, rois, 2, 2)
    assert torch.equal(output.cpu(), ops.roi_pool(maps, rois, 2, 1 / 16))
    result = operator._backward(gpu, torch.ones_like(output), argmax, rois.to(DEVICE), 1, 3, 3, 1 / 16)
    assert torch.equal(
        result.cpu(), operator._backward(cpu, torch.ones(2, 300, 2, 2), argmax.cpu(), rois, 1, 3, 3, 1 / 16)
    )


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), -0.0])
def test_special_values(value):
    maps = torch.full((1, 2, 3, 3), value)
    maps[0, 1, 1, 1] = 1
    rois = torch.tensor([[0, 0.0, 0, 40, 40]])
    assert torch.equal(pooled(maps, rois, 2, 2)[0].cpu(), ops.roi_pool(maps, rois, 2, 1 / 16))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("ties", [False, True])
def test_backward_is_the_cpus_to_the_bit(dtype, ties):
    """Both add in the order of the RoIs and bins; on a GPU that means without atomic additions."""
    generator = torch.Generator().manual_seed(6)
    maps = torch.randn(2, 5, HEIGHT, WIDTH, generator=generator)
    maps = (maps.round() if ties else maps).to(dtype)
    rois = random_rois(generator, 14)
    output, argmax = pooled(maps, rois, 3, 2)
    grad = torch.randn(output.shape, generator=generator).to(dtype)
    result = operator._backward(gpu, grad.to(DEVICE), argmax, rois.to(DEVICE), 2, HEIGHT, WIDTH, 1 / 16)
    expected = operator._backward(cpu, grad, argmax.cpu(), rois, 2, HEIGHT, WIDTH, 1 / 16)
    assert result.dtype == dtype
    assert torch.equal(result.cpu(), expected)
    assert expected.abs().sum() > 0


def test_no_rois_and_an_image_without():
    maps = torch.ones(2, 3, HEIGHT, WIDTH)
    output, argmax = pooled(maps, torch.zeros(0, 5), 2, 2)
    assert output.shape == (0, 3, 2, 2)
    result = operator._backward(gpu, output, argmax, torch.zeros(0, 5, device=DEVICE), 2, HEIGHT, WIDTH, 1 / 16)
    assert torch.equal(result.cpu(), torch.zeros_like(maps))
    rois = torch.tensor([[1, 0.0, 0, 40, 40]])
    output, argmax = pooled(maps, rois, 2, 2)
    result = operator._backward(gpu, torch.ones_like(output), argmax, rois.to(DEVICE), 2, HEIGHT, WIDTH, 1 / 16)
    assert result[0].sum() == 0
    assert result[1].sum() == 12


# --- the bins' edges as a GPU computes them: torch's operators, here on the CPU


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_edges_are_those_of_the_cpu(dtype):
    generator = torch.Generator().manual_seed(7)
    for bins in range(1, 26):
        rois = random_rois(generator, 400).to(dtype)
        rois[::7, 1:] *= 1e5
        arguments = (bins, 26 - bins, 2, HEIGHT, WIDTH, 1 / 16)
        for own, other in zip(bin_edges(rois.to(DEVICE), *arguments), bin_edges_on_cpu(rois, *arguments), strict=True):
            assert torch.equal(own.cpu(), torch.from_numpy(other))


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 2.0, 0.5])
def test_faults_are_those_of_the_cpu(place, value):
    rois = torch.tensor([[0, 0.0, 0, 16, 16]] * 3)
    rois[1, place] = value
    messages = []
    for edges in (bin_edges, bin_edges_on_cpu):
        try:
            edges(rois, 2, 2, 2, HEIGHT, WIDTH, 1 / 16)
        except ValueError as fault:
            messages.append(str(fault))
    assert len(messages) == (2 if place == 0 or not abs(value) < 10 else 0)
    assert len(set(messages)) <= 1


@pytest.mark.skipif(DEVICE == "cpu", reason="needs CUDA")
def test_on_cuda_through_the_public_function():
    generator = torch.Generator().manual_seed(8)
    maps, rois = torch.randn(2, 256, 38, 63, generator=generator), random_rois(generator, 128)
    own, theirs = (maps.clone().requires_grad_() for _ in range(2))
    result, expected = roi_pool(own.cuda(), rois.cuda(), 7, 1 / 16), roi_pool(theirs, rois, 7, 1 / 16)
    assert torch.equal(result.cpu(), expected)
    result.square().sum().backward()
    expected.square().sum().backward()
    assert torch.equal(own.grad, theirs.grad)
