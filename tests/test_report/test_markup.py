"""Markup: nothing that is not markup gets through as such."""

from __future__ import annotations

import json

from frcnn_cli.report.markup import Markup, json_script, tag

NASTY = "</script><script>alert('x')</script> & \"[bold]\" 猫 \U0001f431\u2028"


def test_texts_and_attributes_are_escaped_and_elements_are_not():
    made = tag("p", NASTY, tag("b", 3), [tag("i"), None, "<"], title=NASTY, hidden=True, id=None, disabled=False)
    assert isinstance(made, Markup)
    assert "<script" not in made
    assert "猫 \U0001f431" in made
    assert made.endswith("<b>3</b><i></i>&lt;</p>")
    assert " hidden>" in made
    assert "id=" not in made
    assert "disabled" not in made
    assert made.count('"') == 2  # those of the title


def test_what_would_turn_the_text_around_or_is_none_is_an_escape():
    """A byte that is no text, ESC, and the mark that writes from right to left."""
    assert tag("p", "a\udcff\x1b\u202eb", title="\udcff") == r'<p title="\xff">a\xff\x1b\u202eb</p>'
    assert json_script("data", ["\udcff"]).encode("utf-8")


def test_names_of_attributes():
    assert tag("path", class_="a", stroke_width=2, viewBox="0 0 1 1", for_="b") == (
        '<path class="a" stroke-width="2" viewBox="0 0 1 1" for="b"></path>'
    )
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'


def test_data_of_a_script_ends_nothing_and_is_whole():
    text = json_script("data", {"name": NASTY, "<": [1, None]})
    inside = text.removeprefix('<script type="application/json" id="data">').removesuffix("</script>")
    assert not set("<>&\u2028") & set(inside)
    assert json.loads(inside) == {"name": NASTY, "<": [1, None]}
