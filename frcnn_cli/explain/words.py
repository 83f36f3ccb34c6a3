"""The page's words: a file a language in `words/`, each with the same keys; {names} in them stand for numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

ENGLISH = "en"


def languages() -> tuple[str, ...]:
    """Those there are files of, English first."""
    names = sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))
    return (ENGLISH, *(name for name in names if name != ENGLISH))


def _folder():
    return files("frcnn_cli.explain") / "words"


@dataclass(frozen=True)
class Words:
    """The words of a language, by section and key.

    Attributes:
        language: such as ``en``.
        tables: of the file.
    """

    language: str
    tables: Mapping[str, Mapping[str, str]]

    @classmethod
    def load(cls, language: str) -> Words:
        """Read a language's file."""
        import tomlkit

        text = (_folder() / f"{language}.toml").read_text(encoding="utf-8")
        return cls(language, tomlkit.parse(text).unwrap())

    def say(self, section: str, key: str, **values: Any) -> str:
        """A text with its values put in, as HTML: what a file says is markup, what is put in is text.

        Raises:
            KeyError: there is no such text, or it asks for a value that is not given.
        """
        return self.tables[section][key].format_map({name: escape(shown(value)) for name, value in values.items()})


def shown(value: Any) -> str:
    """A value as readers see it: 1,234 and 0.123 and -0.5, with a real minus sign."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    text = f"{value:,}" if isinstance(value, int) else _decimal(value)
    return text.replace("-", "\N{MINUS SIGN}")


def _decimal(value: float) -> str:
    if value != 0 and abs(value) < 0.001:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 1 else f"{value:.3f}"


def large(value: float) -> str:
    """A count in three digits: 1.23 k, 45.6 M, 7.89 G, 1.2 T."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"
