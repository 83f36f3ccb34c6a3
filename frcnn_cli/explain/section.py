"""What a section says: paragraphs, formulas, figures, controls and the functions that computed them, in order."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import frcnn_cli
from frcnn_cli.explain.formulas import formulas, mathml
from frcnn_cli.explain.subject import Subject
from frcnn_cli.explain.svg import Svg, state
from frcnn_cli.explain.words import Words, shown

_ROOT = Path(frcnn_cli.__file__).resolve().parent.parent


def place_of(function: Callable) -> tuple[str, str]:
    """The name of a function of the package, and its file as the repository has it; of another package, its name."""
    plain = inspect.unwrap(getattr(function, "py_func", function))
    file = Path(inspect.getfile(plain)).resolve()
    inside = file.is_relative_to(_ROOT)
    return plain.__qualname__, file.relative_to(_ROOT).as_posix() if inside else plain.__module__


class Section:
    """A section that is being written.

    Args:
        name: its table in the files of words.
        words: of the page's language.
    """

    def __init__(self, name: str, words: Words) -> None:
        self.name = name
        self.words = words
        self.blocks: list[str] = []

    @property
    def title(self) -> str:
        return self.text("title")

    def text(self, key: str, **values: Any) -> str:
        """A text of this section as HTML."""
        return self.words.say(self.name, key, **values)

    def class_name(self, subject: Subject, label: int) -> str:
        """The name of a label; 0 is the background, in the page's language."""
        return subject.checkpoint.classes[label - 1] if label else self.words.say("page", "background")

    def say(self, key: str, **values: Any) -> None:
        """A paragraph."""
        self.blocks.append(f"<p>{self.text(key, **values)}</p>")

    def formula(self, name: str, numbers: str | Sequence[str] = ()) -> None:
        """A formula of the table, and below it the same with the numbers of this photograph, as LaTeX."""
        put_in = [numbers] if isinstance(numbers, str) else numbers
        self.blocks.append(numbers_only(formulas()[name], *put_in))

    def figure(self, panels: Sequence[Svg | str], caption: str, **values: Any) -> None:
        """Panels side by side, where there is room, over a caption."""
        drawn = "".join(f'<div class="panel">{panel}</div>' for panel in panels)
        text = self.text(caption, **values)
        self.blocks.append(f'<figure><div class="panels">{drawn}</div><figcaption>{text}</figcaption></figure>')

    def states(self, group: str, contents: Sequence[str], start: int = 0) -> str:
        """One of several contents, whichever the reader chooses."""
        return "".join(f"<div {state(group, i, start)}>{content}</div>" for i, content in enumerate(contents))

    def add(self, html: str) -> None:
        """A block of its own."""
        self.blocks.append(html)

    def slider(self, group: str, key: str, labels: Sequence[str], start: int = 0) -> None:
        """A control that chooses among the states of a group.

        Args:
            group: its name.
            key: of the text that says what is chosen.
            labels: a short text for each state.
            start: the state that is seen first.
        """
        if len(labels) < 2:
            return  # nothing to choose
        texts = "".join(f"<span {state(group, i, start)}>{escape(label)}</span>" for i, label in enumerate(labels))
        number = sum("<input" in block for block in self.blocks)
        at = f"{self.name}-{group}-{number}"
        self.blocks.append(
            f'<div class="control"><label for="{at}">{self.text(key)}</label>'
            f'<input type="range" id="{at}" min="0" max="{len(labels) - 1}" value="{start}" data-controls="{group}" '
            f'aria-valuetext="{escape(labels[start])}"><output for="{at}">{texts}</output></div>'
        )

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
        """A table as HTML: the first column names the row; words begin at the left, numbers end at the right."""
        top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
        body = "".join(f'<tr><th scope="row">{_inside(row[0])}</th>{"".join(map(_cell, row[1:]))}</tr>' for row in rows)
        inside = f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
        return f'<div class="wide" tabindex="0"><table>{inside}</table></div>'

    def computed_by(self, *functions: Callable) -> None:
        """Which functions of this package computed what is above."""
        items = "".join(
            f"<li><code>{escape(name)}</code> <span>{escape(file)}</span></li>"
            for name, file in map(place_of, functions)
        )
        title = self.words.say("page", "computed_by")
        self.blocks.append(f'<div class="by"><span>{title}</span><ul>{items}</ul></div>')


def numbers_only(*latex: str) -> str:
    """Formulas with numbers put in, without the general one above them."""
    return f'<div class="formula" tabindex="0">{"".join(f"<div>{mathml(line)}</div>" for line in latex)}</div>'


class Html(str):
    """Markup, not to be escaped."""


def _cell(value: Any) -> str:
    kind = ' class="text"' if isinstance(value, str) and value[:1].isalpha() and not isinstance(value, Html) else ""
    return f"<td{kind}>{_inside(value)}</td>"


def _inside(value: Any) -> str:
    return value if isinstance(value, Html) else escape(shown(value))


def number(value: float, key: str | None = None, digits: int | None = None) -> Html:
    """A number as readers see it, with so many decimals; all its digits are beside it for whoever checks it."""
    name = f' data-name="{key}"' if key else ""
    text = shown(value) if digits is None else shown(f"{value:.{digits}f}").replace("-", "\N{MINUS SIGN}")
    return Html(f'<data value="{value:.9g}"{name}>{escape(text)}</data>')
