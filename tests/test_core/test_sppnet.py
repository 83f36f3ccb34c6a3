"""SPPnet: corners and the pyramid, counted by hand."""

from __future__ import annotations

import pytest
import torch

from frcnn_cli.core.sppnet import SPPArchitecture, SPPNet, project


@pytest.mark.parametrize(
    ("box", "cells"),
    [
        # Centres are at 0, 16, 32, ... Strictly inside (0, 64) are 16, 32 and 48.
        ((0, 0, 64, 64), (1, 1, 3, 3)),
        ((1, 15, 65, 17), (1, 1, 4, 1)),
        ((15.9, 16.0, 48.1, 48.0), (1, 2, 3, 2)),
        # None is strictly inside (17, 31) nor (32, 48): the one nearest to the middle, 24 / 16 and 40 / 16.
        ((17, 33, 31, 47), (2, 3, 2, 3)),
        ((18, 40, 20, 41), (1, 3, 1, 3)),
        # The last cells of a map of 6 x 5.
        ((70, 60, 96, 80), (5, 4, 5, 4)),
        ((94, 78, 96, 80), (5, 4, 5, 4)),
    ],
)
def test_corners_go_to_the_first_and_the_last_centre_inside(box, cells):
    assert project(torch.tensor([box], dtype=torch.float32), 16, (6, 5)).tolist() == [list(map(float, cells))]


@pytest.fixture
def net() -> SPPNet:
    torch.manual_seed(0)
    return SPPNet(SPPArchitecture("alexnet", 2, fc_width=4, pyramid=(3, 2, 1))).eval()


def test_a_window_of_4_by_3_cells_by_hand(net):
    """A map whose cells are numbered row by row: a bin's maximum is its last cell."""
    columns, rows = 7, 6
    numbers = torch.arange(columns * rows, dtype=torch.float32).reshape(1, 1, rows, columns)
    features = numbers.expand(1, net.backbone.channels, rows, columns).contiguous()
    window = torch.tensor([[0, 8.0, 8.0, 72.0, 56.0]])  # centres 16 .. 64 and 16 .. 48: columns 1-4, rows 1-3
    pooled = net.pooled(features, window).unflatten(1, (14, -1))

    def last(column: int, row: int) -> float:
        return float(row * columns + column)

    # Of 4 columns in 3 bins, bin p is floor(4 p / 3) to ceil(4 (p + 1) / 3): 0-1, 1-2, 2-3; in 2: 0-1, 2-3. Of 3 rows
    # in 3: one each; in 2: 0-1 and 1-2.
    level_3 = [last(1 + column, 1 + row) for row in (0, 1, 2) for column in (1, 2, 3)]
    level_2 = [last(1 + column, 1 + row) for row in (1, 2) for column in (1, 3)]
    assert pooled[0, :, 0].tolist() == [*level_3, *level_2, last(4, 3)]
    assert (pooled == pooled[:, :, :1]).all()


def test_bins_of_the_paper_s_pyramid():
    architecture = SPPArchitecture("alexnet", 2, fc_width=4)
    assert (architecture.pyramid, architecture.cells) == ((6, 3, 2, 1), 36 + 9 + 4 + 1)
    assert SPPNet(architecture).head.fc6.in_features == 50 * 256


def test_convolutions_get_no_gradient(net):
    net.train()
    logits = net(torch.randn(1, 3, 96, 96), torch.tensor([[0, 8.0, 8.0, 80.0, 80.0]]))
    logits.sum().backward()
    assert all(parameter.grad is None for parameter in net.backbone.parameters())
    assert net.head.fc6.weight.grad is not None


def test_a_pyramid_of_nothing():
    with pytest.raises(ValueError, match="no pyramid"):
        SPPArchitecture("alexnet", 2, fc_width=4, pyramid=())
