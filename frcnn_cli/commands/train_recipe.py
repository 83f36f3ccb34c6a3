"""Recipes: settings that were found to go well together, as files that can be read and quoted.

A recipe is a config.toml of a few options, none of them of the data, with one table more, ``[recipe]``:

    about                what it is, in a phrase
    least-iterations     of a small data set, where the recipe counts epochs
    start-from-bundled   begin with the bundled detector where it knows every class of the data

It stands for the defaults: any option that the command line or a file of --config names wins over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from frcnn_cli.commands.train_config import as_toml, checked_values, read_toml
from frcnn_cli.commands.train_options import RECIPES
from frcnn_cli.core.backbones import BACKBONES
from frcnn_cli.engine.model_config import BUILDING
from frcnn_cli.errors import UsageError

FOLDER = Path(__file__).parent.parent / "recipes"

KEYS = {
    "about": (str, "a text"),
    "least-iterations": (int, "a whole number"),
    "start-from-bundled": (bool, "true or false"),
}
"""Of the table [recipe]: the type of each value, and its name."""

OF_ANY_MODEL = {"class_agnostic"}
"""What a recipe may say of a new model beside `start-from-bundled`: the bundled one is so, too."""


@dataclass(frozen=True)
class Recipe:
    """Settings for the options that nobody has decided.

    Attributes:
        name: ``auto``, ``paper`` or a file; empty for none.
        about: what it is, in a phrase.
        values: by the names of the parameters.
        least_iterations: of a run whose length it gives in epochs.
        start_from_bundled: whether the bundled detector is the start where it knows every class of the data.
        without: the parameters that it has values for and that were decided otherwise.
    """

    name: str = ""
    about: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    least_iterations: int = 1
    start_from_bundled: bool = False
    without: tuple[str, ...] = ()

    def __str__(self) -> str:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in self.without)
        return f"recipe {self.name}{f' but for {flags}' if flags else ''}: {self.about}"


def recipe_for(ctx: click.Context, named: frozenset[str], decided: frozenset[str]) -> Recipe:
    """The recipe of a call, the one it names or the one that suits its backbone, without what is decided.

    A run that is resumed has none, as all its options are decided.

    Args:
        ctx: of the call.
        named: the options on the command line.
        decided: those, and the ones that a file of --config holds.

    Raises:
        UsageError: no such recipe, a key that is none, or a recipe that would have no effect.
        DataError: the file cannot be read.
    """
    if ctx.params["resume"]:
        return Recipe()
    name, backbone = ctx.params["recipe"], ctx.params["backbone"]
    if name is None:
        name = BACKBONES[backbone].config.recipe if backbone in BACKBONES else "auto"
    elif "recipe" not in named and name not in RECIPES and not Path(name).is_file():
        return Recipe()  # a run's config.toml has the values of its recipe, wherever that may have gone
    recipe = read_recipe(name, ctx)
    if decided & {"iterations", "epochs"}:
        decided = decided | {"iterations", "epochs"}
    taken = {name: value for name, value in recipe.values.items() if name not in decided}
    if not taken and "recipe" in named:
        raise UsageError(f"--recipe {name}: has no effect, as all that it has values for is decided already")
    if not taken:
        return Recipe()
    return replace(recipe, values=taken, without=tuple(sorted(recipe.values.keys() - taken.keys())))


def read_recipe(name: str, ctx: click.Context) -> Recipe:
    """Read a recipe of the package by its name, or a file.

    Raises:
        UsageError: no such recipe, or a key that is none.
        DataError: the file cannot be read.
    """
    path = FOLDER / f"{name}.toml" if name in RECIPES else Path(name)
    if name not in RECIPES and path.suffix != ".toml":
        near = get_close_matches(name, RECIPES, n=1)
        meant = f"; was {near[0]} meant?" if near else ""
        raise UsageError(f"--recipe {name}: not one of {', '.join(RECIPES)}, nor a .toml file{meant}")
    tables = read_toml(path)
    own = tables.pop("recipe", {})
    if not isinstance(own, dict):
        raise UsageError(f"{path}: recipe: not a table")
    for key, value in own.items():
        _check_key(path, key, value)
    if "data" in tables:
        raise UsageError(f"{path}: data: a recipe says how to learn, not from what")
    values = checked_values(path, tables, ctx)
    recipe = Recipe(name, values=values, **{key.replace("-", "_"): value for key, value in own.items()})
    _check_recipe(path, recipe)
    return recipe


def _check_key(path: Path, key: str, value: Any) -> None:
    """Check an entry of the table [recipe]."""
    if key not in KEYS:
        near = get_close_matches(key, KEYS, n=1)
        raise UsageError(f"{path}: recipe.{key}: no such key" + (f"; was {near[0]} meant?" if near else ""))
    kind, wanted = KEYS[key]
    if type(value) is not kind:
        raise UsageError(f"{path}: recipe.{key}: {as_toml(value)} is not {wanted}")
    if kind is int and value < 1:
        raise UsageError(f"{path}: recipe.{key}: {value} is less than 1")


def _check_recipe(path: Path, recipe: Recipe) -> None:
    """Refuse what a recipe cannot mean."""
    values = recipe.values
    if "recipe" in values:
        raise UsageError(f"{path}: run.recipe: a recipe does not name another")
    if {"epochs", "iterations"} <= set(values):
        raise UsageError(f"{path}: epochs and iterations both say how long to train; give one of the two")
    other = sorted(values.keys() & {"init", *BUILDING} - OF_ANY_MODEL)
    if recipe.start_from_bundled and other:
        key = other[0].replace("_", "-")
        raise UsageError(
            f"{path}: model.{key}: start-from-bundled takes the bundled model as it is; give one of the two"
        )
