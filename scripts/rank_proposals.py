"""The ablations behind the proposals: ways to rank them, and what a mode is made of.

    python scripts/rank_proposals.py VOC_ROOT [--images 120]

The images are training images with three or more objects, evenly over the list: choices are not made on what is used
to measure them. Boxes of a row are cut at 100, 500 and 2,000.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import click
import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.images import load_image
from frcnn_cli.data.samples import ImageRecord
from frcnn_cli.metrics.proposal_recall import ProposalRecall
from proposals import MODES, ranking, search, selective_search
from proposals.modes import ALL, FILL, NO_COLOUR, SIZE, Mode
from proposals.search import MIN_SIDE, WORKING_AREA

COUNTS = (100, 500, 2000)
FAST = MODES["fast"]

Order = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""What to sort by, of boxes [N, 4], their places and groupings [N], and the working image."""


def by_place(boxes: np.ndarray, places: np.ndarray, sources: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    return places


def by_chance(boxes: np.ndarray, places: np.ndarray, sources: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """The authors'."""
    return places * np.random.default_rng(0).random(len(places))


def by_area(boxes: np.ndarray, places: np.ndarray, sources: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    return -(boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def by_agreement(boxes: np.ndarray, places: np.ndarray, sources: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    return -ranking.agreement(boxes, sources)


def by_edges(boxes: np.ndarray, places: np.ndarray, sources: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """Strength of the edges just inside the box's border, over that of all within."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    sums = cv2.integral(np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)))

    def mean(part: np.ndarray) -> np.ndarray:
        x1, y1, x2, y2 = part.T
        return (sums[y2, x2] - sums[y1, x2] - sums[y2, x1] + sums[y1, x1]) / np.maximum((x2 - x1) * (y2 - y1), 1)

    return -(mean(boxes) - mean(boxes + np.array((4, 4, -4, -4))))


def by_place_and_agreement(boxes: np.ndarray, places: np.ndarray, sources: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """The package's, but for the random order of equals."""
    return places / np.sqrt(1 + ranking.agreement(boxes, sources))


ORDERS: dict[str, tuple[Order, bool]] = {
    "place x chance (the authors')": (by_chance, False),
    "place": (by_place, False),
    "area": (by_area, False),
    "agreement": (by_agreement, False),
    "edges": (by_edges, False),
    "place / root of agreement": (by_place_and_agreement, False),
    "place x chance, varied": (by_chance, True),
    "place, varied": (by_place, True),
    "edges, varied": (by_edges, True),
    "place / root of agreement, varied (ours)": (by_place_and_agreement, True),
}

MADE_OF: dict[str, tuple[Mode, int, int]] = {
    "fast": (FAST, WORKING_AREA, MIN_SIDE),
    "all similarities alone": (replace(FAST, similarities=(ALL,)), WORKING_AREA, MIN_SIDE),
    "all; without colour (the authors')": (replace(FAST, similarities=(ALL, NO_COLOUR)), WORKING_AREA, MIN_SIDE),
    "and size": (replace(FAST, similarities=(ALL, NO_COLOUR, FILL, SIZE)), WORKING_AREA, MIN_SIDE),
    "rgI and Lab": (replace(FAST, colour_spaces=("rgi", "lab")), WORKING_AREA, MIN_SIDE),
    "HSV, Lab and rgI": (replace(FAST, colour_spaces=("hsv", "lab", "rgi")), WORKING_AREA, MIN_SIDE),
    "k = 50": (replace(FAST, ks=(50,)), WORKING_AREA, MIN_SIDE),
    "k = 100": (replace(FAST, ks=(100,)), WORKING_AREA, MIN_SIDE),
    "k = 30, 60": (replace(FAST, ks=(30, 60)), WORKING_AREA, MIN_SIDE),
    "187,500 pixels": (FAST, 187_500, 20),
    "80,000 pixels": (FAST, 80_000, 13),
    "sides from 10": (FAST, WORKING_AREA, 10),
}


@click.command()
@click.argument("root", metavar="VOC_ROOT", type=click.Path(path_type=Path))
@click.option("--split", default="train", show_default=True)
@click.option("--images", type=click.IntRange(1), default=120, show_default=True)
def main(root: Path, split: str, images: int) -> None:
    """Print recall with other ways to rank, and with other modes."""
    crowded = [r for r in load_voc(root, split).records if np.count_nonzero(~r.objects.difficult) >= 3]
    images = min(images, len(crowded))
    records = [crowded[i * len(crowded) // images] for i in range(images)]
    console = Console(highlight=False, soft_wrap=True, width=160)

    table = recall_table("order of fast's boxes")
    gathered = {name: ProposalRecall(COUNTS) for name in ORDERS}
    for record in tqdm(records, desc="orders"):
        for name, boxes in ordered(load_image(record.path)).items():
            add(gathered[name], record, boxes)
    for name, recall in gathered.items():
        table.add_row(name, "", "", *cells(recall))
    console.print(table)

    table = recall_table("made of")
    reference = 0.0
    for name, (search.MODES["trial"], area, smallest) in MADE_OF.items():
        recall, numbers, seconds = ProposalRecall(COUNTS), [], []
        for record in tqdm(records, desc=name):
            image = load_image(record.path)
            start = time.perf_counter()
            boxes = selective_search(image, "trial", search_size=(area * 4 / 3) ** 0.5, smallest=smallest, threads=1)
            seconds.append(time.perf_counter() - start)
            numbers.append(len(boxes))
            add(recall, record, boxes)
        reference = reference or statistics.median(seconds)
        time_of_fast = f"{statistics.median(seconds) / reference:.2f}"
        table.add_row(name, time_of_fast, f"{statistics.mean(numbers):.0f}", *cells(recall))
    console.print(table)
    console.print(f"{images} images of {split} with three objects or more, {recall.result().num_objects} objects")


def ordered(image: np.ndarray) -> dict[str, np.ndarray]:
    """The boxes of mode fast in every order of `ORDERS`."""
    rgb = search.working_image(image)
    found = search.hierarchies(rgb, FAST)
    boxes = np.concatenate(found)
    places = np.concatenate([np.arange(len(part), 0, -1) for part in found])
    sources = np.repeat(np.arange(len(found)), [len(part) for part in found])
    large = ((boxes[:, 2:] - boxes[:, :2]) >= MIN_SIDE).all(axis=1)
    back = np.array([image.shape[1] / rgb.shape[1], image.shape[0] / rgb.shape[0]] * 2)
    orders = {}
    for name, (order, varied) in ORDERS.items():
        first = np.argsort(order(boxes[large], places[large], sources[large], rgb), kind="stable")
        ranked = ranking.each_once(boxes[large][first])
        orders[name] = (ranking.varied(ranked) if varied else ranked) * back
    return orders


def add(recall: ProposalRecall, record: ImageRecord, boxes: np.ndarray) -> None:
    objects = record.objects.without_difficult()
    recall.add(boxes, objects.boxes, objects.labels)


def recall_table(name: str) -> Table:
    table = Table(
        name, "time", "boxes", *(f"{figure}, %\n100  500 2000" for figure in ("recall 0.5", "recall 0.7", "MABO"))
    )
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def cells(gathered: ProposalRecall) -> Sequence[str]:
    coverage = gathered.result()
    figures = (coverage.recall(0.5), coverage.recall(0.7), coverage.mabo)
    return [" ".join(f"{100 * value:.1f}" for value in values) for values in figures]


if __name__ == "__main__":
    main()
