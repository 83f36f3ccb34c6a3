"""FORMULAS.md and the page's formulas: what they name is there, and is the same in both."""

from __future__ import annotations

import ast
import re
from functools import cache, reduce
from importlib import import_module
from pathlib import Path

import pytest
from torch import nn

import frcnn_cli
from frcnn_cli.data.transforms import scale_to
from frcnn_cli.explain.counting import multiply_adds
from frcnn_cli.explain.formulas import formulas, latex_large, latex_number, latex_sum, mathml

ROOT = Path(__file__).parent.parent.parent
GUIDE = (Path(frcnn_cli.__file__).parent / "FORMULAS.md").read_text(encoding="utf-8")
ENTRIES = re.findall(
    r"```math\n(.+)\n```\n\n- formula `(\w+)`.*\n- function `([\w.]+):([\w.]+)`\n- test `([\w/.]+)::(\w+)`", GUIDE
)
"""LaTeX, name, module, function, file and test of each."""


@cache
def functions_of(file: str) -> set[str]:
    return {node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)}


def test_the_guide_has_an_entry_a_heading():
    assert len(ENTRIES) == GUIDE.count("\n## ") == GUIDE.count("```math")
    assert len(ENTRIES) >= 20


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry[1] for entry in ENTRIES])
def test_its_function_and_its_test_are_there(entry):
    _, _, module, function, file, test = entry
    assert callable(reduce(getattr, function.split("."), import_module(module)))
    assert test in functions_of(file)


def test_the_page_has_the_same_formulas():
    in_guide = {name: latex for latex, name, *_ in ENTRIES}
    assert formulas().items() <= in_guide.items()
    assert set(in_guide) - set(formulas()) == {"scale", "levels"}


def test_every_formula_is_drawn_by_a_section():
    sources = "".join(path.read_text() for path in (ROOT / "frcnn_cli/explain/sections").glob("*.py"))
    drawn = set(re.findall(r'section\.formula\(\s*"(\w+)"', sources))
    assert drawn == set(formulas())


def test_mathml_of_a_fraction():
    text = mathml(r"\frac{a}{2}")
    assert "<mfrac><mrow><mi>a</mi></mrow><mrow><mn>2</mn></mrow></mfrac>" in text
    assert 'display="block"' in text


def test_numbers_in_formulas():
    assert [latex_number(1234), latex_number(-0.5), latex_number(2.345, 1)] == [r"\text{1,234}", "-0.500", "2.3"]
    assert latex_number(4.2e7) == r"4.20\times 10^{7}"
    assert [latex_large(2_370_000_000), latex_large(12)] == [r"2.37\,\text{G}", "12"]
    assert latex_sum([0.5, -0.25], 2) == "0.50+(-0.25)"


def test_scale_by_hand():
    assert scale_to(800, 600, 600, 1000) == 1
    assert scale_to(400, 300, 600, 1000) == 2
    assert scale_to(2000, 500, 600, 1000) == 0.5  # the longer side decides


def test_multiply_adds_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=4))
    first = 3 * 3 * 3 * 8 * (5 * 10)
    assert multiply_adds(network, 20, 10) == first + 3 * 3 * (8 // 4) * 8 * (5 * 10)
