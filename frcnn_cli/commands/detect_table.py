"""The table of detections, printed image by image as results come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len

from frcnn_cli.commands.console import above_bars, out
from frcnn_cli.data.detections import ImageResult
from frcnn_cli.text import visible_line

HEADINGS = ("image", "class", "score", "x1", "y1", "x2", "y2")
NUMBER = 4
"""Cells of a coordinate; a larger one pushes its line out."""
NARROWEST = 24
"""Cells of the image's name, if need be, before it is folded for the terminal's sake."""


class DetectionTable:
    """A table whose columns are as wide as is known before its rows are.

    Args:
        images: names that the first column will hold.
        classes: names that the second will hold.
        threshold: of scores, for images without detections.
    """

    def __init__(self, images: Iterable[str], classes: Sequence[str], threshold: float) -> None:
        self._nothing = f"none >= {threshold:g}"
        numbers = [max(5, len("score")), *[NUMBER] * 4]
        label = min(max(map(_width, (*classes, self._nothing, "class"))), 40)
        room = max(out.width - label - sum(numbers) - 3 * len(HEADINGS) - 1, NARROWEST)
        name = min(max(map(_width, (*images, "image"))), room)
        self._widths = (name, label, *numbers)
        self._begun = False

    def add(self, name: str, result: ImageResult) -> None:
        """Print an image's rows."""
        with above_bars():
            self._line("├┼┤", "─") if self._begun else self._head()
            self._begun = True
            found = result.detections
            for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.names, strict=True):
                self._row((name, label, f"{score:.2f}", *(f"{x:.0f}" for x in box)))
                name = ""
            if len(found) == 0:
                self._row((name, self._nothing, "", "", "", "", ""), "dim")

    def close(self) -> None:
        """Print the last line, if there was any."""
        if self._begun:
            self._line("└┴┘", "─")

    def _head(self) -> None:
        self._line("┏┳┓", "━")
        self._row(HEADINGS, "bold", bar="┃")
        self._line("┡╇┩", "━")

    def _line(self, corners: str, stroke: str) -> None:
        left, between, right = corners
        out.print(left + between.join(stroke * (width + 2) for width in self._widths) + right)

    def _row(self, cells: Sequence[str], style: str | None = None, bar: str = "│") -> None:
        folded = [_fold(cell, width) for cell, width in zip(cells, self._widths, strict=True)]
        for number in range(max(map(len, folded))):
            texts = []
            for column, (lines, width) in enumerate(zip(folded, self._widths, strict=True)):
                text = lines[number] if number < len(lines) else ""
                blanks = " " * (width - cell_len(text))
                texts.append(text + blanks if column < 2 else blanks + text)
            out.print(f"{bar} {f' {bar} '.join(texts)} {bar}", style=style)


def _fold(text: str, width: int) -> list[str]:
    """Lines of a width that hold a text, as it is shown."""
    text = visible_line(text)
    lines, start = [], 0
    for end in range(1, len(text) + 1):
        if cell_len(text[start:end]) > width:
            lines.append(text[start : end - 1])
            start = end - 1
    return [*lines, text[start:]]


def _width(name: str) -> int:
    return cell_len(visible_line(name))
