"""HTML and SVG as text that cannot be broken out of: whatever is not `Markup` is escaped.

Characters that turn the direction of writing, and bytes of names that are no text, are shown as escapes, as on a
terminal.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

from frcnn_cli.text import visible

VOID = frozenset(("meta", "link", "br", "hr", "img", "input", "col"))


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(element: str, *children: Any, **attributes: Any) -> Markup:
    """An element.

    Args:
        element: its name.
        children: texts and elements, lists of them included; None is left out.
        attributes: with ``_`` for ``-``, and a trailing one where Python has the word for itself; None and False are
            left out, True is an attribute without a value.
    """
    words = [element]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        name = key.rstrip("_").replace("_", "-")
        words.append(name if value is True else f'{name}="{escape(visible(str(value)))}"')
    opening = f"<{' '.join(words)}>"
    return Markup(opening if element in VOID else f"{opening}{join(children)}</{element}>")


def join(parts: Any) -> Markup:
    """Elements and texts one after another."""
    if isinstance(parts, (list, tuple)):
        return Markup("".join(join(part) for part in parts))
    if parts is None:
        return Markup("")
    return parts if isinstance(parts, Markup) else Markup(escape(visible(str(parts))))


def json_script(name: str, value: Any) -> Markup:
    """Data for the page's script, under an id; nothing in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(f'<script type="application/json" id="{escape(name)}">{text}</script>')
