"""Settings: options from fields of dataclasses, and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from frcnn_cli.commands.fields import Numbers, option_group, setting_options
from frcnn_cli.settings import build, flat, leaves, setting, value_at


@dataclass(frozen=True)
class Inner:
    kind: str = setting("step", "How it falls.", option="schedule", table="optimizer", choices=("step", "cosine"))
    steps: tuple[int, ...] = setting((3, 5), "Where it falls.")
    gamma: float = 0.1  # no option


@dataclass(frozen=True)
class Outer:
    rate: float = setting(0.5, "The rate.", above=0, most=1)
    inner: Inner = field(default_factory=Inner)
    bounds: tuple[float, float] = setting(
        (0.1, 0.5), "Two of them.", least=0, most=1, check=lambda pair: "not rising" if pair[0] >= pair[1] else None
    )
    agnostic: bool = setting(False, "One box.", off="class-boxes")
    width: int | None = setting(None, "How wide.", least=1, shown_default="the backbone's")
    folder: Path | None = setting(None, "Where to.")


@click.command()
@click.argument("image")
@option_group(Outer, "outer")
def command(image: str, outer: Outer) -> None:
    """A command."""
    click.echo(f"{image} {outer!r}")


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, ["a.jpg", *arguments])
    return result.exit_code, result.output


def test_leaves_are_the_options_in_the_order_of_the_fields():
    found = {leaf.key: (leaf.path, leaf.type, leaf.default) for leaf in leaves(Outer)}
    assert found == {
        "rate": (("rate",), float, 0.5),
        "schedule": (("inner", "kind"), str, "step"),
        "steps": (("inner", "steps"), tuple[int, ...], (3, 5)),
        "bounds": (("bounds",), tuple[float, float], (0.1, 0.5)),
        "agnostic": (("agnostic",), bool, False),
        "width": (("width",), int, None),
        "folder": (("folder",), Path, None),
    }
    assert list(found) == ["rate", "schedule", "steps", "bounds", "agnostic", "width", "folder"]


def test_build_and_flat_are_inverses():
    made = build(Outer, {"rate": 0.25, "schedule": "cosine", "steps": (7,), "stranger": 1})
    assert made == Outer(rate=0.25, inner=Inner("cosine", (7,)))
    assert build(Outer, flat(made)) == made
    assert build(Outer, {}) == Outer()


def test_values_at_a_path_of_a_group_and_of_what_json_makes_of_it():
    assert value_at(Outer(), ("inner", "kind")) == "step"
    assert value_at({"inner": {"kind": "cosine"}}, ("inner", "kind")) == "cosine"
    with pytest.raises(KeyError):
        value_at({"inner": {}}, ("inner", "kind"))


def test_options_of_a_command():
    assert call() == (0, f"a.jpg {Outer()!r}\n")
    line = "--rate 1 --schedule cosine --steps 8,9 --bounds 0 0.2 --agnostic --width 3 --folder here"
    expected = Outer(1.0, Inner("cosine", (8, 9)), (0.0, 0.2), True, 3, Path("here"))
    assert call(*line.split()) == (0, f"a.jpg {expected!r}\n")
    assert call("--class-boxes") == call()


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--rate", "0"], "0.0 is not in the range 0<x<=1"),
        (["--rate", "nan"], "nan is not a finite number"),
        (["--rate", "inf"], "inf is not"),
        (["--schedule", "line"], "'line' is not one of 'step', 'cosine'"),
        (["--steps", "a"], "'a' is not a list of whole numbers"),
        (["--bounds", "0.5", "0.1"], "not rising"),
        (["--bounds", "nan", "0.1"], "not a finite number"),
        (["--width", "0"], "0 is not in the range x>=1"),
    ],
)
def test_what_a_value_must_be(arguments, fault):
    code, text = call(*arguments)
    assert code == 2
    assert fault in text


def test_help_says_each_default_as_it_is_typed():
    text = " ".join(call("--help")[1].split())
    for part in (
        "--rate FLOAT RANGE The rate. [default: 0.5; 0<x<=1]",
        "--steps NUMBERS Where it falls. [default: 3,5]",
        "Two of them. [default: 0.1 0.5]",
        "--agnostic / --class-boxes One box. [default: class-boxes]",
        "How wide. [default: the backbone's; x>=1]",
    ):
        assert part in text
    assert text.index("--rate") < text.index("--schedule") < text.index("--folder")


def test_numbers_take_what_a_configuration_file_holds():
    option = next(option for option in setting_options(Outer) if option.name == "steps")
    assert isinstance(option.type, Numbers)
    context = click.Context(command)
    assert [option.process_value(context, value) for value in ("4,5", [4, 5], (4, 5), 4)] == [(4, 5)] * 3 + [(4,)]
