"""Tables of named members: where the package is added to.

Each kind of thing that there are several of (formats, backbones, kinds of detector, ...) has one table. To add a member
takes a file that defines it and a line in the table.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Generic, TypeVar

from frcnn_cli.errors import UsageError

T = TypeVar("T")


class Table(MutableMapping[str, T], Generic[T]):
    """Members by name, in the order of their lines. A member is imported when it is first asked for.

    So the names, which are all that help texts need, wait for nothing that the members import.

    Args:
        what: what the members are, in the singular, for messages.
        members: the member itself, or where it is, as ``"package.module:attribute"``.

    Examples:
        >>> shapes = Table("shape", {"pi": "math:pi"})
        >>> shapes["pi"]
        3.141592653589793
        >>> shapes.find("tau")
        Traceback (most recent call last):
        frcnn_cli.errors.UsageError: unknown shape 'tau'; there are pi
    """

    def __init__(self, what: str, members: Mapping[str, T | str]) -> None:
        self.what = what
        self._members: dict[str, T | str] = dict(members)

    def __getitem__(self, name: str) -> T:
        member = self._members[name]
        if isinstance(member, str):
            module, attribute = member.split(":")
            member = self._members[name] = getattr(importlib.import_module(module), attribute)
        return member

    def __setitem__(self, name: str, member: T | str) -> None:
        self._members[name] = member

    def __delitem__(self, name: str) -> None:
        del self._members[name]

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def find(self, name: str) -> T:
        """The member of a name that a user gave.

        Raises:
            UsageError: there is none; the message names those there are.
        """
        if name not in self:
            raise UsageError(f"unknown {self.what} {name!r}; there are {', '.join(self)}")
        return self[name]
