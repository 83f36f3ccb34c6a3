"""Recipes: settings that were found to go well together, as files that can be read and quoted.

A recipe is a config.toml of a few options, with one table more, ``[recipe]``:

    about                what it is, in a phrase
    least-iterations     of a small data set, where the recipe counts epochs
    start-from-bundled   begin with the bundled detector where it knows every class of the data

It stands for the defaults: any option that the command line or a file of --config names wins over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from frcnn_cli.commands.train_config import checked_values, read_toml
from frcnn_cli.commands.train_options import RECIPES
from frcnn_cli.core.backbones import BACKBONES
from frcnn_cli.errors import UsageError

FOLDER = Path(__file__).parent.parent / "recipes"

KEYS = {
    "about": (str, "a text"),
    "least-iterations": (int, "a whole number"),
    "start-from-bundled": (bool, "true or false"),
}
"""Of the table [recipe]: the type of each value, and its name."""


@dataclass(frozen=True)
class Recipe:
    """Settings for the options that nobody has decided.

    Attributes:
        name: ``auto``, ``paper`` or a file; empty for none.
        about: what it is, in a phrase.
        values: by the names of the parameters.
        least_iterations: of a run whose length it gives in epochs.
        start_from_bundled: whether the bundled detector is the start where it knows every class of the data.
    """

    name: str = ""
    about: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    least_iterations: int = 1
    start_from_bundled: bool = False


def recipe_for(ctx: click.Context) -> Recipe:
    """The recipe of a call: the one it names, or the one that suits its backbone.

    A run that is resumed has none, as all its options are decided.

    Raises:
        UsageError: no such recipe, or a key that is none.
        DataError: the file cannot be read.
    """
    if ctx.params["resume"]:
        return Recipe()
    backbone = ctx.params["backbone"]
    suitable = BACKBONES[backbone].config.recipe if backbone in BACKBONES else "auto"
    return read_recipe(ctx.params["recipe"] or suitable, ctx)


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
    values = checked_values(path, tables, ctx)
    if {"epochs", "iterations"} <= set(values):
        raise UsageError(f"{path}: epochs and iterations both say how long to train; give one of the two")
    return Recipe(name, values=values, **{key.replace("-", "_"): value for key, value in own.items()})


def _check_key(path: Path, key: str, value: Any) -> None:
    """Check an entry of the table [recipe]."""
    if key not in KEYS:
        near = get_close_matches(key, KEYS, n=1)
        raise UsageError(f"{path}: recipe.{key}: no such key" + (f"; was {near[0]} meant?" if near else ""))
    kind, wanted = KEYS[key]
    if type(value) is not kind:
        raise UsageError(f"{path}: recipe.{key}: {value!r} is not {wanted}")
