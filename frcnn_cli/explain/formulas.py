"""Formulas, from LaTeX to what browsers draw by themselves."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import tomlkit
from latex2mathml.converter import convert

from frcnn_cli.explain.words import large


@lru_cache(maxsize=1)
def formulas() -> dict[str, str]:
    """The formulas of the page, in LaTeX, by name."""
    return tomlkit.parse((files("frcnn_cli.explain") / "formulas.toml").read_text(encoding="utf-8")).unwrap()


@lru_cache(maxsize=512)
def mathml(latex: str) -> str:
    """A formula as MathML."""
    return convert(latex, display="block")


def latex_number(value: float, digits: int = 3) -> str:
    """A number in a formula; a whole one has commas, any other so many decimals."""
    if isinstance(value, int):
        return rf"\text{{{value:,}}}"
    if abs(value) >= 1e5:
        mantissa, exponent = f"{value:.2e}".split("e")
        return rf"{mantissa}\times 10^{{{int(exponent)}}}"
    return f"{value:.{digits}f}"


def latex_large(value: float) -> str:
    """A large number in a formula, in three digits and with its unit."""
    digits, _, unit = large(value).partition(" ")
    return rf"{digits}\,\text{{{unit}}}" if unit else digits


def latex_sum(values: list[float], digits: int = 3) -> str:
    """Numbers with a plus between them, those below 0 in brackets."""
    return "+".join(f"({text})" if text.startswith("-") else text for text in (f"{v:.{digits}f}" for v in values))
