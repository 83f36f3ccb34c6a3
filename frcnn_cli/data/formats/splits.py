"""What splits are called: on the command line, and by the folders and files of data sets."""

from __future__ import annotations

_ALIKE = (("val", "valid", "validation"), ("train", "training"), ("test", "testing"))

WHOLE = frozenset({"train", "trainval", "test"})
"""Names, the defaults of the commands, that mean all of a data set that is not divided. Any other was asked for."""

ALL_NAMES = frozenset(name for names in _ALIKE for name in names)
"""What a folder is called, in lower case, that holds a split."""


def names_of(split: str) -> tuple[str, ...]:
    """The names that mean the same split or, of ``trainval``, its parts, in lower case; its own comes first."""
    own = split.casefold()
    if own == "trainval":
        return (own, *names_of("train"), *names_of("val"))
    return (own, *(name for names in _ALIKE if own in names for name in names if name != own))
