"""RoI pooling of NumPy's arrays against torchvision, in float32 and eight bits, on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision import ops

from frcnn_cli.core.roi_pool.arrays import pool_array


def expected(cells: np.ndarray, boxes: np.ndarray, size: int, scale: float) -> np.ndarray:
    maps = torch.from_numpy(cells.astype(np.float32)).permute(2, 0, 1)[None]
    return ops.roi_pool(maps, [torch.from_numpy(boxes)], size, scale).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("kind", ["any sign", "from 0 on", "uint8"])
@pytest.mark.parametrize("channels", [1, 20, 64, 130, 512])
@pytest.mark.parametrize("count", [0, 1, 300])
def test_equals_torchvision(kind, channels, count):
    generator = np.random.default_rng(0)
    cells = generator.standard_normal((11, 14, channels)).astype(np.float32)
    if kind == "from 0 on":
        cells = np.maximum(cells, 0)
    if kind == "uint8":
        cells = generator.integers(0, 256, cells.shape, dtype=np.uint8)
    boxes = (generator.random((count, 4)) * 150 - 20).astype(np.float32)  # some inverted, some outside
    for threads in (1, 3):
        pooled = pool_array(cells, boxes, 3, 1 / 8, threads)
        assert pooled.dtype == cells.dtype
        np.testing.assert_array_equal(pooled, expected(cells, boxes, 3, 1 / 8))


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="float32 or uint8, not float64"):
        pool_array(np.zeros((2, 2, 1)), np.zeros((1, 4), np.float32), 2, 1.0)


def test_coordinates_must_be_finite():
    with pytest.raises(ValueError, match="not finite"):
        pool_array(np.zeros((2, 2, 1), np.float32), np.full((1, 4), np.nan, np.float32), 2, 1.0)
