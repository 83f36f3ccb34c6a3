"""Draw RoI max pooling and its gradient: a map, a RoI, its bins, their maxima, and where the gradient goes.

python scripts/draw_roi_pool.py scripts/figures/roi_pool.png

The upper row is the forward pass, left to right, the lower row the backward pass, right to left. Bins, maxima, values
and gradient are what `frcnn_cli.core.roi_pool` computes.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import click
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from frcnn_cli.core.roi_pool import operator, roi_pool
from frcnn_cli.core.roi_pool.geometry import bin_edges

HEIGHT, WIDTH, P, SCALE = 9, 10, 3, 1 / 16
ROI = torch.tensor([[0.0, 39, 22, 106, 106]])
UPSTREAM = torch.tensor([[2.0, -1, 4], [-2, 1, 3], [1, -3, 2]])
SEED = 265  # one cell of this map is the maximum of two bins

# One a bin: Paul Tol's "muted", which colour-blind readers can tell apart.
COLOURS = ("#88CCEE", "#DDCC77", "#CC6677", "#332288", "#882255", "#117733", "#44AA99", "#999933", "#AA4499")
INK, GREY, PALE, ORANGE = "#222222", "#606060", "#B0B0B0", "#D55E00"

# The unit is a cell. Cell (x, y) of the map is centred at (x, y), so a corner of the RoI lies in the cell it rounds to.
RIGHT, DOWN = 9.9, 12.2  # how far from the map its window is drawn again, and the backward from the forward pass
OUTPUT_X, OUTPUT_Y, SQUARE = 19.2, 2.6, 1.4  # where the output's first number is, and the size of its squares
WORDS = (  # true of this ROI, SEED and UPSTREAM
    (-0.5, -1.85, "A map x, a RoI and its window", "corners (2.4, 1.4), (6.6, 6.6) round to cells (2, 1), (7, 7)"),
    (-0.5, 8.55, "", "dashed: the RoI; solid: its window, 7 rows, 6 columns"),
    (11.4, -0.65, "3 \N{MULTIPLICATION SIGN} 3 bins", "neighbours share cells: rows 3 and 5"),
    (11.4, 7.55, "", "circle: a bin's maximum"),
    (18.5, 0.75, "Forward: y", "the largest value of each bin"),
    (20.9, 8.4, "", "the layers above\nand their loss L"),
    (18.5, DOWN + 0.75, "∂L/∂y", "what comes back"),
    (11.4, DOWN - 0.65, "Backward", "a bin's gradient goes to its maximum"),
    (-0.5, DOWN - 1.85, "∂L/∂x", "zero but at the maxima"),
    (1.6, DOWN + 8.7, "", "3 + 2: this cell is the maximum of two bins"),
)
ARROWS = ((9.7, 4, 10.8, 4), (17.7, 4, 18.35, 4), (20.6, 6.3, 20.6, DOWN - 0.1))
ARROWS += ((18.35, DOWN + 4, 17.7, DOWN + 4), (10.8, DOWN + 4, 9.7, DOWN + 4))


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
def main(output: Path) -> None:
    """Pool, go back, and draw both. Bins are numbered row by row, cells are (column, row)."""
    x = smooth_map().requires_grad_()
    y = roi_pool(x, ROI, P, SCALE)
    y.backward(UPSTREAM[None, None])
    _, argmax = operator.pool_argmax(x.detach(), ROI, P, P, SCALE)
    sums = torch.zeros(HEIGHT * WIDTH).scatter_add(0, argmax.flatten().long(), UPSTREAM.flatten())
    assert torch.equal(sums, x.grad.flatten()), "what the maxima receive is not autograd's gradient"

    _, ys, xs = bin_edges(ROI, P, P, 1, HEIGHT, WIDTH, SCALE)
    bins = [(range(*xs[0, j].tolist()), range(*ys[0, i].tolist())) for i, j in product(range(P), repeat=2)]
    maxima = [(cell % WIDTH, cell // WIDTH) for cell in argmax.flatten().tolist()]
    window = tuple(range(first.start, last.stop) for first, last in zip(bins[0], bins[-1], strict=True))
    cells = list(product(range(WIDTH), range(HEIGHT)))
    bins_of = {(c, r): [j for j, (columns, rows) in enumerate(bins) if c in columns and r in rows] for c, r in cells}
    won_by = {cell: [j for j, maximum in enumerate(maxima) if maximum == cell] for cell in cells}
    output_bins = {(j % P, j // P): [j] for j in range(P * P)}
    upstream = texts(UPSTREAM)
    received = {cell: "+".join(upstream[j % P, j // P] for j in js) for cell, js in won_by.items()}

    figure = Figure(figsize=(15, 14.2), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(x.detach()[0, 0].numpy(), cmap="Greys", vmin=0, vmax=300)
    draw_cells(axes, texts(x), {}, 0, 0)
    draw_cells(axes, texts(x.grad), won_by, 0, DOWN)
    draw_cells(axes, texts(y), output_bins, OUTPUT_X, OUTPUT_Y, SQUARE)
    draw_cells(axes, upstream, output_bins, OUTPUT_X, OUTPUT_Y + DOWN, SQUARE)
    for down, written in ((0, texts(x)), (DOWN, received)):
        draw_cells(axes, {cell: written[cell] for cell in cells if bins_of[cell]}, bins_of, RIGHT, down)
        draw_bins(axes, bins, maxima, down)
        draw_window(axes, *window, down)
    draw_roi(axes)
    draw_words(axes, next(cell for cell in cells if len(won_by[cell]) == 2))
    axes.set(xlim=(-1.3, 23.7), ylim=(22, -2.65))
    axes.axis("off")
    figure.savefig(output)
    Image.open(output).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(output, optimize=True)


def smooth_map() -> Tensor:
    """Tensor[1, 1, HEIGHT, WIDTH] of whole numbers from 1 to 99."""
    field = gaussian_filter(np.random.default_rng(SEED).normal(size=(HEIGHT, WIDTH)), 0.7)
    return torch.from_numpy(np.round(1 + 98 * (field - field.min()) / np.ptp(field)).astype(np.float32))[None, None]


def texts(plane: Tensor) -> dict[tuple[int, int], str]:
    """The number in each cell of a map of one channel."""
    values = plane.detach().reshape(plane.shape[-2:]).numpy().T
    return {cell: f"{value:g}".replace("-", "\N{MINUS SIGN}") for cell, value in np.ndenumerate(values)}


def draw_cells(axes: Axes, written: dict, bins_of: dict, right: float, down: float, size: float = 1) -> None:
    """Squares with their texts, in the colour of their bin, or cut along the diagonal in those of two."""
    for (column, row), text in written.items():
        x, y, h = right + size * column, down + size * row, size / 2
        a, b, c, d = (x - h, y - h), (x + h, y - h), (x + h, y + h), (x - h, y + h)
        js = bins_of.get((column, row), [])
        for j, corners in zip(js, [(a, b, d), (b, c, d)] if len(js) == 2 else [(a, b, c, d)], strict=False):
            axes.add_patch(Polygon(corners, fc=to_rgba(COLOURS[j], 0.35), lw=0))
        axes.add_patch(Polygon((a, b, c, d), fill=False, ec=PALE))
        style = {"size": 16 if len(text) < 3 else 11.5, "color": PALE if text == "0" else INK}
        axes.text(x, y, text, ha="center", va="center_baseline", **style)


def draw_bins(axes: Axes, bins: list[tuple[range, range]], maxima: list[tuple[int, int]], down: float) -> None:
    """Outlines, every other row's a little smaller so that both are seen around a shared cell; maxima circled."""
    for j, (columns, rows) in enumerate(bins):
        draw_outline(axes, columns, rows, RIGHT, down, inset=0.05 + 0.06 * (j // P % 2), lw=2.5, ec=COLOURS[j])
    for column, row in set(maxima):
        axes.add_patch(Circle((RIGHT + column, down + row), 0.37, fill=False, lw=2.2, ec=INK))


def draw_window(axes: Axes, columns: range, rows: range, down: float) -> None:
    """The rounded RoI on the map, and the numbers of columns and rows."""
    draw_outline(axes, columns, rows, 0, down, lw=3.5, ec=INK)
    places = [(column, -0.75, column) for column in range(WIDTH)] + [(-0.75, row, row) for row in range(HEIGHT)]
    for x, y, index in places + [(RIGHT + columns.start - 0.75, row, row) for row in rows]:
        axes.text(x, down + y, index, ha="center", va="center", size=11, color=GREY)


def draw_outline(axes: Axes, columns: range, rows: range, right: float, down: float, inset: float = 0, **style) -> None:
    """A frame around some cells, or a little inside."""
    corner = right + columns.start - 0.5 + inset, down + rows.start - 0.5 + inset
    axes.add_patch(Rectangle(corner, len(columns) - 2 * inset, len(rows) - 2 * inset, fill=False, **style))


def draw_roi(axes: Axes) -> None:
    """The RoI before it is rounded, with its two corners."""
    x1, y1, x2, y2 = (ROI[0, 1:] * SCALE).tolist()
    style = {"ls": (0, (5, 3)), "lw": 2.2, "color": ORANGE, "marker": "o", "ms": 8, "markevery": [0, 2]}
    axes.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], **style)


def draw_words(axes: Axes, shared: tuple[int, int]) -> None:
    """Titles, captions, arrows, and a line to the cell that is the maximum of two bins."""
    for x, y, title, caption in WORDS:
        axes.text(x, y, title, size=17, weight="bold", color=INK)
        axes.text(x, y + 0.55, caption, size=13, color=GREY)
    style = {"arrowstyle": "-|>", "lw": 2.5, "color": GREY, "mutation_scale": 20}
    for x1, y1, x2, y2 in ARROWS:
        axes.annotate("", (x2, y2), (x1, y1), arrowprops=style)
    axes.plot([shared[0] + 0.5] * 2, [DOWN + shared[1] + 0.5, DOWN + 8.8], lw=1.5, color=INK)


if __name__ == "__main__":
    main()
