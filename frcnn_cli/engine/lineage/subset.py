"""Some images of a data set, among which every class is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from frcnn_cli.data.samples import Dataset


def draw_images(dataset: Dataset, count: int, seed: int) -> Dataset:
    """Draw so many images at random, in the data set's order.

    An image of each class comes first, the rarest classes before the others, and chance decides on the rest.

    Args:
        dataset: to draw from; all of it where it has no more.
        count: images.
        seed: the same draws the same.
    """
    if count >= len(dataset):
        return dataset
    order = np.random.default_rng(seed).permutation(len(dataset)).tolist()
    shown = [set(record.objects.without_crowds().labels.tolist()) for record in dataset.records]
    labels = sorted(
        {label for found in shown for label in found}, key=lambda label: sum(label in found for found in shown)
    )
    chosen = _one_a_class(order, shown, labels)[:count]
    rest = [place for place in order if place not in set(chosen)]
    chosen = sorted(chosen + rest[: count - len(chosen)])
    records = tuple(dataset.records[place] for place in chosen)
    return replace(dataset, name=f"{count} images of {dataset.name}", records=records, skipped=(), notes=())


def _one_a_class(order: Sequence[int], shown: Sequence[set[int]], labels: Sequence[int]) -> list[int]:
    """For each class that no image so far shows, the first that does."""
    chosen: list[int] = []
    for label in labels:
        if not any(label in shown[place] for place in chosen):
            chosen.append(next(place for place in order if label in shown[place]))
    return chosen
