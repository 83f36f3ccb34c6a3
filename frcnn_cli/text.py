"""Text that people have chosen, such as names of files and classes, made fit for a terminal."""

from __future__ import annotations

import re

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys and does not show: control characters but the tab and the end of a line, marks that turn the
direction of writing; and surrogates, which stand for bytes of a file's name that are no text."""


def visible(text: str) -> str:
    r"""Write what a terminal would obey as an escape, such as ``\x1b``; everything else stays."""
    return _UNSEEN.sub(_escaped, text)


def one_line(text: str) -> str:
    r"""Write the ends of lines in it as ``\n``: what is one name, or one fault, stays one line."""
    return text.replace("\n", "\\n")


def visible_line(text: str) -> str:
    """Write a name, or a line with names in it, as a terminal gets it: `visible`, and one line."""
    return visible(one_line(text))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # the byte that Python could not decode
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
