"""The plot of recall: written as PNG, also where there is nothing to draw."""

from __future__ import annotations

import numpy as np
import pytest

from frcnn_cli.data.images import load_image
from frcnn_cli.drawing.proposal_plot import plot_coverage
from frcnn_cli.errors import DataError
from frcnn_cli.metrics.proposal_recall import Coverage

RECALL_50, RECALL_70 = (0, 114, 178), (86, 180, 233)


def coverage(*overlaps: float) -> Coverage:
    """Objects whose best overlap is the same at 10 and at 100 proposals."""
    return Coverage((10, 100), np.array([10, 100]), np.tile(overlaps, (2, 1)), np.ones(len(overlaps), np.int64))


def height_of(picture: np.ndarray, color) -> float:
    """The mean row of a line, in the left three quarters, where no legend is."""
    return np.flatnonzero((picture[:, : 3 * picture.shape[1] // 5] == color).all(axis=-1).any(axis=1)).mean()


def test_more_recall_lies_higher(tmp_path):
    plot_coverage(coverage(0.6, 0.6, 0.9, 0.1), "three of four, one of four", tmp_path / "a.png")
    picture = load_image(tmp_path / "a.png")
    assert picture.shape == (600, 960, 3)
    above, below = height_of(picture, RECALL_50), height_of(picture, RECALL_70)
    assert below - above == pytest.approx(0.5 * 510, rel=0.08)  # half of the axis


def test_without_objects(tmp_path):
    plot_coverage(coverage(), "nothing", tmp_path / "a.png")
    assert load_image(tmp_path / "a.png").std() > 5


def test_where_it_cannot_be_written(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(DataError, match=r"a\.png: cannot be written"):
        plot_coverage(coverage(0.5), "no", tmp_path / "a.png")
