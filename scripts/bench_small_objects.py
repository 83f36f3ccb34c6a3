"""How many small objects are proposed at larger sizes of the search, and what that costs.

    python scripts/bench_small_objects.py [--images 12] [--threads 2]

The images are made up: mosaics of four bundled photographs, 1280 x 960, on which objects cut out of the bundled
photographs are laid, shrunk to longer sides of 12 to 64 pixels, apart from one another. Every image is searched in
every way in turn, and the time is divided by that of the default on the same image; medians of these ratios are
printed.
"""

from __future__ import annotations

import statistics
import time
from itertools import pairwise
from pathlib import Path

import click
import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.images import load_image
from frcnn_cli.metrics.proposal_recall import ProposalRecall
from proposals import SEARCH_SIZE, SMALLEST, selective_search

PHOTOGRAPHS = Path(__file__).parent.parent / "tests" / "data"
WIDTH, HEIGHT = 1280, 960
SIDES = (12, 16, 24, 32, 48, 64)
"""The longer sides of objects, in pixels of the image, from one to the next."""

WAYS = ((SEARCH_SIZE, SMALLEST), (SEARCH_SIZE, 8), (800, SMALLEST), (800, 8), (1280, SMALLEST), (1280, 8))
"""--search-size and --smallest; the first are the defaults."""

OBJECTS = 40
"""That are laid on an image, as far as there is room."""


@click.command()
@click.option("--images", type=click.IntRange(1), default=12, show_default=True, help="To make up.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Of the search.")
def main(images: int, threads: int) -> None:
    """Print recall of objects by their size, and the time, for each way to search."""
    generator = np.random.default_rng(0)
    photographs, objects = cut_out()
    selective_search(photographs[0], threads=threads)  # compiles
    recalls = {way: [ProposalRecall([2000]) for _ in SIDES[1:]] for way in WAYS}
    ratios: dict[tuple[int, int], list[float]] = {way: [] for way in WAYS}
    for _ in range(images):
        image, boxes = make_up(photographs, objects, generator)
        longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
        bins = np.digitize(longer, SIDES[1:-1])
        first = None
        for way in WAYS:
            start = time.perf_counter()
            found = selective_search(image, search_size=way[0], smallest=way[1], threads=threads)
            seconds = time.perf_counter() - start
            first = first or seconds
            ratios[way].append(seconds / first)
            for place, recall in enumerate(recalls[way]):
                mine = boxes[bins == place]
                recall.add(found, mine, np.ones(len(mine), np.int64))
    report(recalls, ratios)


def cut_out() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The bundled photographs that are wide enough, and the objects on all of them."""
    photographs, objects = [], []
    for record in load_voc(PHOTOGRAPHS, "test").records:
        image = load_image(record.path)
        if image.shape[1] >= image.shape[0]:
            photographs.append(cv2.resize(image, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA))
        for x1, y1, x2, y2 in record.objects.without_difficult().boxes.round().astype(int):
            if min(x2 - x1, y2 - y1) >= max(SIDES):
                objects.append(image[y1:y2, x1:x2])
    return photographs, objects


def make_up(
    photographs: list[np.ndarray], objects: list[np.ndarray], generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """An image, uint8 [H, W, 3], and the boxes of the objects that were laid on it, float32 [N, 4]."""
    first, second, third, fourth = generator.choice(len(photographs), 4, replace=False)
    rows = [np.hstack([photographs[a], photographs[b]]) for a, b in ((first, second), (third, fourth))]
    image = np.vstack(rows)
    boxes: list[tuple[int, int, int, int]] = []
    for _ in range(OBJECTS):
        cut = objects[generator.integers(len(objects))]
        # As many of each doubling.
        side = SIDES[0] * (SIDES[-1] / SIDES[0]) ** generator.random()
        scale = side / max(cut.shape[:2])
        height, width = (max(round(length * scale), 4) for length in cut.shape[:2])
        x, y = int(generator.integers(WIDTH - width)), int(generator.integers(HEIGHT - height))
        box = (x, y, x + width, y + height)
        if any(box[0] < b[2] + 8 and b[0] < box[2] + 8 and box[1] < b[3] + 8 and b[1] < box[3] + 8 for b in boxes):
            continue
        image[y : y + height, x : x + width] = cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA)
        boxes.append(box)
    return image, np.array(boxes, np.float32)


def report(recalls: dict[tuple[int, int], list[ProposalRecall]], ratios: dict[tuple[int, int], list[float]]) -> None:
    ranges = [f"{low} to {high}" for low, high in pairwise(SIDES)]
    table = Table("--search-size", "--smallest", "time", *(f"{text}\n0.5   0.7" for text in ranges))
    for way, parts in recalls.items():
        found = [part.result() for part in parts]
        cells = [f"{part.recall(0.5)[-1]:.2f}  {part.recall(0.7)[-1]:.2f}" for part in found]
        table.add_row(*map(str, way), f"{statistics.median(ratios[way]):.2f}", *cells)
    counts = ", ".join(str(part.result().num_objects) for part in recalls[WAYS[0]])
    console = Console(highlight=False, soft_wrap=True, width=150)
    console.print(table)
    console.print(f"{len(ratios[WAYS[0]])} images; objects of these sizes: {counts}; recall by up to 2000 proposals")


if __name__ == "__main__":
    main()
