"""Settings: fields of dataclasses that hold all there is to know of an option, in one place.

A field has a name, a type and a default; its `Setting` adds what a person reads and what a value must be. Options of
the command line, keys of config.toml, the checks of ``--resume`` and what a checkpoint says of its training are made
from the fields, by `leaves`, `build` and `flat`.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """What an option is beside its name, type and default.

    Attributes:
        help: a full phrase.
        table: of config.toml; None where the option is not part of a run's settings.
        option: its name on the command line; None for the field's own, with dashes.
        letter: a second, short name there.
        metavar: what stands for the value in a help text.
        least: the smallest number allowed, as are these: the largest; a number to stay above; a number to stay below.
        most: see `least`.
        above: see `least`.
        below: see `least`.
        choices: the texts allowed; a `Table` names its members.
        off: of a flag, the name of the option that says no.
        shown_default: what a help text says where the default is None.
        check: of a value that is right by itself, what is wrong with it all the same, or None.
        words: of a text that is a path otherwise, the words that are none; None for a text that is no path.
        lasting: whether a run that was begun cannot change it.
        building: whether a new model is built by it, so that it means nothing beside a model that is there.
    """

    help: str
    table: str | None = None
    option: str | None = None
    letter: str | None = None
    metavar: str | None = None
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    choices: Iterable[str] | None = None
    off: str | None = None
    shown_default: str | None = None
    check: Callable[[Any], str | None] | None = None
    words: tuple[str, ...] | None = None
    lasting: bool = False
    building: bool = False


def setting(default: T, help: str, **about: Any) -> T:
    """A dataclass field that is an option; `about` are attributes of `Setting`."""
    return field(default=default, metadata={"setting": Setting(help, **about)})


@dataclass(frozen=True)
class Leaf:
    """An option, as found in a dataclass or in one of the dataclasses that it holds.

    Attributes:
        path: names of the attributes that lead to it.
        key: its name on the command line, without the leading dashes, and in config.toml.
        type: such as ``int`` or ``tuple[int, ...]``; None is left out.
        default: the value where nobody says otherwise.
        about: the rest.
    """

    path: tuple[str, ...]
    key: str
    type: Any
    default: Any
    about: Setting

    @property
    def name(self) -> str:
        """The key as the name of a parameter."""
        return self.key.replace("-", "_")


def leaves(group: type) -> Iterator[Leaf]:
    """The options of a dataclass in the order of its fields, those of the dataclasses inside it included."""
    hints = _types(group)
    for entry in fields(group):
        kind = hints[entry.name]
        if is_dataclass(kind):
            for leaf in leaves(kind):
                yield Leaf((entry.name, *leaf.path), leaf.key, leaf.type, leaf.default, leaf.about)
        elif "setting" in entry.metadata:
            about = entry.metadata["setting"]
            key = about.option or entry.name.replace("_", "-")
            yield Leaf((entry.name,), key, _without_none(kind), _default(entry), about)


def build(group: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass of its options' values, by the names of their parameters; what is left out has its default."""
    hints = _types(group)
    arguments: dict[str, Any] = {}
    for entry in fields(group):
        if is_dataclass(hints[entry.name]):
            arguments[entry.name] = build(hints[entry.name], values)
        elif "setting" in entry.metadata:
            name = (entry.metadata["setting"].option or entry.name).replace("-", "_")
            if name in values:
                arguments[entry.name] = values[name]
    return group(**arguments)


def flat(group: Any) -> dict[str, Any]:
    """The inverse of `build`: the options' values by the names of their parameters."""
    return {leaf.name: value_at(group, leaf.path) for leaf in leaves(type(group))}


def value_at(group: Any, path: Iterable[str]) -> Any:
    """The value that a path of attributes leads to; of nested dictionaries, as JSON has them, keys lead there too.

    Raises:
        KeyError: a dictionary lacks a key.
    """
    for name in path:
        group = group[name] if isinstance(group, Mapping) else getattr(group, name)
    return group


@cache
def _types(group: type) -> Mapping[str, Any]:
    """The types of a dataclass's fields, which are texts until they are evaluated."""
    return get_type_hints(group)


def _default(entry: Field) -> Any:
    return entry.default_factory() if entry.default is MISSING else entry.default


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        parts = [part for part in get_args(kind) if part is not type(None)]
        return Union[tuple(parts)]  # noqa: UP007 - of one part, that part
    return kind
