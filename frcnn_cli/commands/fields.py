"""Options of the command line, made of the settings that dataclasses hold (`frcnn_cli.settings`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, Union

import click
from click.core import ParameterSource

from frcnn_cli.engine.training_config import save_interval
from frcnn_cli.settings import Leaf, build, leaves
from frcnn_cli.tables import Table

F = TypeVar("F", bound=Callable)
T = TypeVar("T")

PATH = click.Path(path_type=Path)


LARGEST = 2**63 - 1
"""The largest whole number that TOML holds."""


class Whole(click.IntRange):
    """A whole number of a range, no larger than TOML can hold."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = super().convert(value, param, ctx)
        if abs(number) > LARGEST:
            self.fail(f"{value} is more than {LARGEST}", param, ctx)
        return number


class Real(click.FloatRange):
    """A finite number of a range. No comparison finds nan outside of one, so it is refused by itself."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


class Numbers(click.ParamType):
    """``480,576``: whole numbers from 1 on, as a tuple; of a configuration file, one or a list."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        try:
            parts = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
            numbers = tuple(int(part) for part in ([parts] if isinstance(parts, int) else parts))
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers such as 480,576", param, ctx)
        if any(number < 1 for number in numbers):
            self.fail("numbers start at 1", param, ctx)
        if any(number > LARGEST for number in numbers):
            self.fail(f"numbers end at {LARGEST}", param, ctx)
        return numbers


class Interval(click.ParamType):
    """``250`` iterations, as a number, or ``10min``, as it is."""

    name = "interval"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        try:
            iterations, _ = save_interval(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a number of iterations, 1 or more, or of minutes, as 10min", param, ctx)
        if iterations > LARGEST:
            self.fail(f"{value} is more than {LARGEST}", param, ctx)
        return iterations or value


class Member(click.Choice):
    """The name of a member of a table, which may be added to at any time."""

    def __init__(self, table: Table) -> None:
        super().__init__(())
        self.choices = table  # not a copy


class SettingOption(click.Option):
    """An option that knows its field.

    Attributes:
        leaf: the field.
    """

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf
        about = leaf.about
        off = f"/--{about.off}" if about.off else ""
        super().__init__(
            [f"--{leaf.key}{off}", *([f"-{about.letter}"] if about.letter else ()), leaf.name],
            type=None if leaf.type is bool else _type(leaf),
            is_flag=leaf.type is bool,
            default=leaf.default,
            show_default=True,
            metavar=about.metavar,
            help=about.help,
            callback=_checked if about.check else None,
        )

    def get_help_extra(self, ctx: click.Context) -> dict[str, Any]:
        """Say a default as it is typed, and where there is none, what takes its place; a recipe's value before it."""
        extra = super().get_help_extra(ctx)
        default = self.leaf.default
        if self.leaf.about.shown_default:
            extra["default"] = self.leaf.about.shown_default
        elif isinstance(default, tuple):
            extra["default"] = self.typed(default)
        recipe = ctx.meta.get("recipe auto", {})
        if self.name in recipe:
            extra["default"] = f"{extra.get('default', 'none')}; auto: {self.typed(recipe[self.name])}"
        return extra

    def typed(self, value: Any) -> str:
        """A value as a person would type it."""
        if self.is_flag:
            return self.leaf.key if value else self.leaf.about.off or "no"
        if isinstance(value, tuple):
            return (" " if self.nargs > 1 else ",").join(map(str, value))
        return str(value)


def _type(leaf: Leaf) -> Any:
    about = leaf.about
    if isinstance(about.choices, Table):
        return Member(about.choices)
    if about.choices is not None:
        return click.Choice(list(about.choices))
    if leaf.type == Union[int, str]:  # noqa: UP007 - what `leaves` gives
        return Interval()
    if leaf.type == tuple[int, ...]:
        return Numbers()
    if leaf.type == tuple[float, float]:
        return (_range(Real, leaf), _range(Real, leaf))
    if leaf.type in (int, float):
        return _range(Whole if leaf.type is int else Real, leaf)
    return {Path: PATH, str: str}[leaf.type]


def _range(kind: type[T], leaf: Leaf) -> T:
    about = leaf.about
    low, high = (about.least, about.above), (about.most, about.below)
    return kind(
        *(next((bound for bound in pair if bound is not None), None) for pair in (low, high)),
        min_open=about.above is not None,
        max_open=about.below is not None,
    )


def _checked(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    fault = param.leaf.about.check(value) if value is not None else None
    if fault:
        raise click.BadParameter(fault)
    return value


def is_typed(ctx: click.Context, name: str) -> bool:
    """Whether an option is on the command line, rather than from a file or its default."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def setting_options(*groups: type) -> list[click.Option]:
    """The options of dataclasses, in the order of their fields."""
    return [SettingOption(leaf) for group in groups for leaf in leaves(group)]


def add_options(command: F, options: Sequence[click.Option]) -> F:
    """Put options on a function that is to become a command, before those it has already."""
    own = getattr(command, "__click_params__", [])
    command.__click_params__ = [*own, *reversed(options)]  # type: ignore[attr-defined]  # click reverses the list
    return command


def option_group(group: type, name: str) -> Callable[[F], F]:
    """Give a command all options of a dataclass, and its function an instance of it as the argument `name`."""

    def decorate(command: F) -> F:
        @wraps(command)
        def gathered(**values: Any) -> Any:
            own = {leaf.name: values.pop(leaf.name) for leaf in leaves(group)}
            return command(**{name: build(group, own)}, **values)

        return add_options(gathered, setting_options(group))

    return decorate
