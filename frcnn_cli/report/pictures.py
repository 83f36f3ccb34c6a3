"""Photographs for a page: small, as text, and with what was there and what was said."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from frcnn_cli.data.images import load_image
from frcnn_cli.errors import DataError
from frcnn_cli.progress import Track, silent
from frcnn_cli.report.analysis import Analysis
from frcnn_cli.report.cases import Case
from frcnn_cli.text import visible

LONG_SIDE, QUALITY = 440, 78
BUDGET = 12_000_000
"""Bytes of all pictures of a page, as text: the rest of it is small."""


def pictures_of(
    analysis: Analysis, cases: Sequence[Case], track: Track = silent, budget: int = BUDGET
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the page's script shows: the pictures, and the cases that have one, in the order given.

    Args:
        analysis: of the images.
        cases: the worst first; those for whose pictures there is no room are left out.
        track: progress.
        budget: bytes of all pictures.
    """
    places: dict[int, int] = {}
    pictures: list[dict[str, Any]] = []
    shown = []
    for case in track(cases):
        if case.image not in places:
            if budget <= 0:
                continue
            picture = _picture(analysis, case.image)
            if picture is None:
                continue
            budget -= len(picture["src"])
            places[case.image] = len(pictures)
            pictures.append(picture)
        shown.append(_case(case, places[case.image]))
    return pictures, shown


def _picture(analysis: Analysis, index: int) -> dict[str, Any] | None:
    """One image; None where its file has gone since it was looked at."""
    record, image = analysis.dataset.records[index], analysis.judged[index]
    try:
        pixels = load_image(record.path)
    except DataError:
        return None
    found, objects = image.detections, image.objects
    said = found.scores >= analysis.reported[found.labels - 1]
    return {
        "src": encode(pixels),
        "name": visible(record.path.name),
        "w": record.width,
        "h": record.height,
        "there": [
            [*_box(box), int(label), int(difficult)]
            for box, label, difficult in zip(objects.boxes, objects.labels, objects.difficult, strict=True)
        ],
        "said": [
            [*_box(box), int(label), round(float(score), 2), int(kind)]
            for box, label, score, kind in zip(
                found.boxes[said], found.labels[said], found.scores[said], image.kinds[said], strict=True
            )
        ],
    }


def _case(case: Case, picture: int) -> dict[str, Any]:
    score = None if np.isnan(case.score) else round(case.score, 2)
    return {
        "picture": picture,
        "kind": int(case.kind),
        "label": case.label,
        "score": score,
        "box": _box(case.box),
        "target": case.target,
        "why": case.why,
    }


def _box(box: np.ndarray) -> list[float]:
    return [round(float(value), 1) for value in box]


def encode(pixels: np.ndarray) -> str:
    """Uint8 RGB [H, W, 3] as a small JPEG in a data URL."""
    image = Image.fromarray(pixels)
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
