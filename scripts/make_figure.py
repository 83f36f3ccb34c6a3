"""Draw the README's picture: what the bundled model finds in the bundled photographs.

python scripts/make_figure.py scripts/figures/detections.jpg
"""

from __future__ import annotations

from pathlib import Path

import click
import cv2
import numpy as np

from frcnn_cli.data.images import load_image, save_image
from frcnn_cli.drawing.boxes import draw_detections
from frcnn_cli.engine.detector import Detector

PHOTOGRAPHS = Path(__file__).parent.parent / "tests" / "data" / "JPEGImages"
ROWS = (("dog_bicycle", "horses", "kitten"), ("person_dog_horse", "sheep", "wine"))
ROW_HEIGHT, ROW_WIDTH, GAP = 300, 1260, 6


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
def main(output: Path) -> None:
    """Detect, draw, and paste the pictures together in two rows of equal width."""
    detector = Detector.load()
    rows = []
    for names in ROWS:
        drawn = []
        for name in names:
            image = load_image(PHOTOGRAPHS / f"{name}.jpg")
            found = detector.detect(image)
            picture = draw_detections(image, found, detector.classes)
            width = round(picture.shape[1] * ROW_HEIGHT / picture.shape[0])
            drawn.append(cv2.resize(picture, (width, ROW_HEIGHT), interpolation=cv2.INTER_AREA))
        rows.append(fit(drawn))
    save_image(output, np.concatenate([rows[0], np.full((GAP, ROW_WIDTH, 3), 255, np.uint8), rows[1]]))


def fit(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures of one height side by side, scaled so that the row is ROW_WIDTH wide."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    row = pictures[0]
    for picture in pictures[1:]:
        row = np.concatenate((row, gap, picture), axis=1)
    height = round(row.shape[0] * ROW_WIDTH / row.shape[1])
    return cv2.resize(row, (ROW_WIDTH, height), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    main()
