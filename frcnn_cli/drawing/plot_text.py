"""Names that people have chosen, in plots: as they are, never as formulas. Imports matplotlib, which takes its time."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.text import Text

from frcnn_cli.drawing.fonts import DEFAULT_FONTS
from frcnn_cli.text import visible_line


def set_title(axes: Axes, title: str, pad: float) -> None:
    """Write a title with names in it above a plot, at the left, `pad` points away."""
    _write_plainly(axes.set_title("", loc="left", pad=pad), title)


def add_legend(axes: Axes, **style: object) -> None:
    """Add a legend whose labels have names in them; `style` is matplotlib's."""
    for text in axes.legend(**style).get_texts():
        _write_plainly(text, text.get_text())


def _write_plainly(text: Text, words: str) -> None:
    """Set what is written, in a font that has its characters; those that no font has become U+FFFD."""
    words = visible_line(words)
    missing = str.maketrans(dict.fromkeys(DEFAULT_FONTS.missing([words]), "\N{REPLACEMENT CHARACTER}"))
    words = words.translate(missing)
    path = DEFAULT_FONTS.path(words)
    if path is not None:
        text.set_font(path)
    text.set_parse_math(False)
    text.set_text(words)
