"""The neck: where a cell of the coarsest map comes out, and that every map counts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from frcnn_cli.core.necks import LayerNorm2d, TopDownNeck


def random_maps(height: int, width: int, channels: tuple[int, ...] = (3, 5, 7), seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = []
    for count in channels:
        maps.append(torch.randn(2, count, height, width, generator=generator))
        height, width = -(-height // 2), -(-width // 2)
    return maps


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 20), channels=st.integers(1, 4))
def test_the_map_has_the_size_of_the_finest(height, width, channels):
    with torch.no_grad():
        merged = TopDownNeck((3, 5, 7), channels)(random_maps(height, width))
    assert merged.shape == (2, channels, height, width)
    assert (merged >= 0).all()


def test_a_cell_of_the_coarsest_map_covers_four_by_four():
    """2 x 2 cells in four channels of their own, and nothing in the finer maps: doubled, cropped to 3 x 4, again, to
    5 x 7. A one among four channels is normalised to 3 / sqrt(3) above the mean, the zeros below it."""
    neck = TopDownNeck((4, 4, 4), 4)
    for conv in (neck.lateral[2], neck.mix):
        conv.weight.data = torch.eye(4)[:, :, None, None]
    coarse = torch.eye(4).view(1, 4, 2, 2)
    with torch.no_grad():
        merged = neck([torch.zeros(1, 4, 5, 7), torch.zeros(1, 4, 3, 4), coarse])
    rows, columns = torch.arange(5) // 4, torch.arange(7) // 4
    expected = coarse[:, :, rows][:, :, :, columns] * 3**0.5
    torch.testing.assert_close(merged, expected, rtol=1e-4, atol=0)


def test_maps_are_added_after_they_are_normalised_each_for_itself():
    """A map a hundred times as large counts no more."""
    torch.manual_seed(0)
    neck, maps = TopDownNeck((3, 5, 7), 16), random_maps(6, 9)
    with torch.no_grad():
        merged = neck(maps)
        for level in range(3):
            scaled = [m * 100 if i == level else m for i, m in enumerate(maps)]
            torch.testing.assert_close(neck(scaled), merged, rtol=0.01, atol=0.01)
            other = [m.flip(1) if i == level else m for i, m in enumerate(maps)]
            assert (neck(other) - merged).abs().max() > 0.3


@pytest.mark.parametrize("level", range(3))
def test_gradient_reaches_every_map_and_every_layer(level):
    torch.manual_seed(0)
    neck, maps = TopDownNeck((3, 5, 7), 8), random_maps(7, 9)
    maps[level].requires_grad_()
    neck(maps).square().mean().backward()
    assert maps[level].grad.abs().amin(dim=(0, 1)).min() > 0  # no cell is without
    for name, parameter in neck.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_padding_at_the_right_and_the_bottom_changes_nothing_inside():
    """As the neck begins; later its 3 x 3 convolution sees one cell further, no more."""
    torch.manual_seed(0)
    neck, maps = TopDownNeck((3, 5, 7), 8), random_maps(8, 12)
    padded = [nn.functional.pad(m, (0, 8 // 2**i, 0, 4 // 2**i)) for i, m in enumerate(maps)]
    with torch.no_grad():
        torch.testing.assert_close(neck(padded)[..., :8, :12], neck(maps), rtol=1e-5, atol=1e-6)
        neck.spatial.weight.normal_()
        torch.testing.assert_close(neck(padded)[..., :7, :11], neck(maps)[..., :7, :11], rtol=1e-4, atol=1e-5)


def test_layer_norm_of_each_cell():
    norm = LayerNorm2d(6)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2, generator=torch.Generator().manual_seed(0))
        norm.bias.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
        x = torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(2)) * 3 + 1
        mean, var = x.mean(dim=1, keepdim=True), x.var(dim=1, keepdim=True, correction=0)
        expected = (x - mean) / (var + 1e-5).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
        torch.testing.assert_close(norm(x), expected, rtol=1e-4, atol=1e-5)
