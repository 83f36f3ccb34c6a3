"""RoI max pooling and its gradient (paper, sections 2.1 and 2.3).

Forward. Each RoI, a window of the feature map, is divided into P x P bins, and each bin answers with its largest value,
channel by channel:

    y_rj = x_i*(r, j),   i*(r, j) = argmax over the cells i of bin j of RoI r

The bins cover any window, so RoIs of every size give the same number of features, which is what fully connected layers
need. A window of 21 x 14 cells in 7 x 7 bins has bins of 3 x 2; a window of 3 x 3 has bins that share cells. Where the
bins lie exactly, `geometry` says.

Backward. The derivative of a maximum is 1 for the cell that was the maximum and 0 for all others. So every output's
gradient goes to one cell (the first in row-major order if several are equal), and a cell adds up what it gets from all
RoIs and bins whose maximum it was (equation 4):

    dL/dx_i = sum over r, j of [i = i*(r, j)] dL/dy_rj

The RoIs of an image overlap, and one cell hears from many of them: so the layers below learn from 64 RoIs of an image
for the price of one pass. ``scripts/draw_roi_pool.py`` draws a map, a RoI, its bins, the maxima and the gradient.

Input and output are those of ``torchvision.ops.roi_pool``, equal to the bit. The kernels are ours: `cpu` (numba) and
`gpu` (Triton); `operator` makes them known to torch, `layer` has the function. `arrays` pools arrays of NumPy by the
kernels of the CPU; who needs no more than that does not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frcnn_cli.core.roi_pool.layer import RoIPool, roi_pool

__all__ = ["RoIPool", "roi_pool"]


def __getattr__(name: str) -> Any:
    """Import the layer, and torch with it, when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from frcnn_cli.core.roi_pool import layer

    return getattr(layer, name)
