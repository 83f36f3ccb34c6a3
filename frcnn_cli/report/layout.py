"""What the sections of a page are made of."""

from __future__ import annotations

from frcnn_cli.report.markup import Markup, tag


def section(name: str, title: str, lead: str, *content: object) -> Markup:
    """A part of the page, under an id, with one sentence on what it shows."""
    heading = tag("h2", title, id=f"{name}-title")
    return tag("section", heading, tag("p", lead, class_="lead"), content, id=name, aria_labelledby=f"{name}-title")


def legend(entries: list[tuple[str, str, str]]) -> Markup:
    """Names beside their colours; what they mean is said when they are pointed at, and to readers of the screen."""
    items = [
        tag("li", tag("span", class_=f"key {name}", aria_hidden="true"), title, tag("small", f" {meaning}"))
        for title, name, meaning in entries
    ]
    return tag("ul", items, class_="legend")


def table(head: list[object], rows: list[Markup], caption: str, **attributes: object) -> Markup:
    """A table in a box of its own that scrolls where the page is narrower, also by the keyboard."""
    header = tag(
        "thead", tag("tr", [cell if isinstance(cell, Markup) else tag("th", cell, scope="col") for cell in head])
    )
    body = tag("table", tag("caption", caption), header, tag("tbody", rows), **attributes)
    return tag("div", body, class_="scroll", tabindex=0, role="region", aria_label=caption)
