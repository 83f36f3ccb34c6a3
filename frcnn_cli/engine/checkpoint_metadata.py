"""What a checkpoint says of itself, held against types, ranges and reason before anything is built of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from frcnn_cli.core.normalisation import Normalisation
from frcnn_cli.engine.detectors import Architecture, Kind

LONGEST = 2**22
"""Characters of JSON: 4 MB, for names of classes above all."""

MOST_PIXELS = 2**24
"""Of an image at the size it is looked at, 16.8 million; VGG16 takes 0.5 GB for each million of them."""

MOST_UNITS = 2**20
"""Of a layer, and the most of whatever else is counted."""

MOST_PARTS = 100
"""Of a list in an architecture, such as the sizes of its anchors."""


def read_classes(names: Any) -> tuple[str, ...]:
    """The names of the labels 1, 2, ...

    Raises:
        TypeError, ValueError: they are no names, or none, or one is there twice.
    """
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise TypeError("classes are not a list of names")
    if not names or len(set(names)) < len(names):
        raise ValueError("no class, or one that is there twice")
    return tuple(names)


def read_normalisation(about: Any) -> Normalisation:
    """How pixels become the input.

    Raises:
        KeyError, TypeError, ValueError: it is no normalisation.
    """
    if about["order"] not in ("RGB", "BGR"):
        raise ValueError("normalisation: neither RGB nor BGR")
    mean, std = (tuple(map(read_number, about[name])) for name in ("mean", "std"))
    scale = read_number(about["scale"])
    if len(mean) != 3 or len(std) != 3 or min(*std, scale) <= 0:
        raise ValueError("normalisation: not three means and spreads")
    return Normalisation(about["order"], scale, mean, std)


def read_sides(short_side: Any, long_side: Any) -> tuple[int, int]:
    """The size that images are brought to.

    Raises:
        TypeError, ValueError: they are no numbers of pixels, or of an image that no memory holds.
    """
    sides = read_count(short_side), read_count(long_side)
    if min(sides) ** 2 > MOST_PIXELS or math.prod(sides) > 4 * MOST_PIXELS:
        raise ValueError(f"images of {sides[0]} x {sides[1]} pixels")
    return sides


def read_training(about: Any) -> dict[str, Any]:
    """How it was made, which is not needed to use it.

    Raises:
        TypeError, ValueError: it is no dictionary, or counts less than no iterations.
    """
    if not isinstance(about, dict):
        raise TypeError("training is not a dictionary")
    if "iteration" in about:
        read_count(about["iteration"], least=0, most=2**63 - 1)
    return about


def read_architecture(about: Any, kind: Kind) -> Architecture:
    """What to build, each field of the type that its class says.

    Raises:
        TypeError, ValueError: a field is unknown, missing, or of another type or size.
    """
    if not isinstance(about, Mapping):
        raise TypeError("the architecture is not a dictionary")
    made_of = kind.architecture
    hints = get_type_hints(made_of) if is_dataclass(made_of) else {}
    for entry in fields(made_of) if is_dataclass(made_of) else ():
        if entry.name in about:
            _check_field(entry.name, about[entry.name], hints[entry.name])
    return made_of(**about)


def _check_field(name: str, value: Any, hint: Any) -> None:
    if get_origin(hint) is tuple:
        if type(value) is not list or len(value) > MOST_PARTS:
            raise TypeError(f"architecture: {name} is no list, or one of more than {MOST_PARTS}")
        for part in value:
            _check_field(name, part, get_args(hint)[0])
        return
    kinds = get_args(hint) or (hint,)
    if type(value) not in kinds and not (type(value) is int and float in kinds):
        raise TypeError(f"architecture: {name} is {type(value).__name__}")
    if float in kinds and value is not None:
        read_number(value)
    elif type(value) is int:
        read_count(value, least=0)


def read_count(value: Any, least: int = 1, most: int = MOST_UNITS) -> int:
    """A whole number.

    Raises:
        TypeError, ValueError: it is none, or out of range.
    """
    if type(value) is not int:
        raise TypeError(f"{type(value).__name__} in the place of a whole number")
    if not least <= value <= most:
        raise ValueError(f"a number that is not from {least} to {most}")
    return value


def read_number(value: Any) -> float:
    """A finite number.

    Raises:
        TypeError, ValueError: it is none.
    """
    if type(value) not in (int, float):
        raise TypeError(f"{type(value).__name__} in the place of a number")
    if not math.isfinite(value) or abs(value) > 1e30:
        raise ValueError("a number that is not finite")
    return value
