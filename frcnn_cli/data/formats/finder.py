"""Finding files by what lists and annotations call them, which is often not quite what they are called."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from frcnn_cli.errors import DataError
from frcnn_cli.files import reason

Index = dict[str, list[str]]


class FileIndex:
    """The files below a folder that have one of some suffixes, looked up by name. The folder is read once, when needed.

    A file is told by its path below the folder, a text with slashes.

    Args:
        folder: where to look; its sub-folders count, hidden files and folders do not. Links are followed.
        suffixes: in lower case; the files' own may be in any case.
        follow_outside: find files outside of the folder too, where a name leads to one (``../b/a.jpg``).
    """

    def __init__(self, folder: Path, suffixes: Collection[str], follow_outside: bool = False) -> None:
        self.folder = folder
        self._suffixes = suffixes
        self._follow_outside = follow_outside

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The files, in the order of their names."""
        return tuple(sorted(_walk(self.folder, self._suffixes)))

    def find(self, name: str) -> list[str]:
        """The files that a name stands for.

        The first of these rules that finds any decides:

        1. the name is a path below the folder, with the file's suffix or without;
        2. letters in the other case (and accents, which Unicode has two ways to write, always);
        3. the end of the name is such a path, as where it was written on another machine or from another folder;
        4. the name has no folders, and one file of all the sub-folders is called so;
        5. the same with another suffix of those that are looked for;
        6. the same with what addresses write as ``%20`` read.

        Args:
            name: with slashes or backslashes.

        Returns:
            None, one, or several that differ in their suffixes only.

        Raises:
            DataError: the name leads to a file outside of the folder, which is not to be followed.
        """
        name = _plain(name)
        absolute = name.startswith("/")  # a copy below the folder is taken first
        found = [] if absolute else self._outside(name)
        if not found:
            found = self._by_rules(name)
        if not found and os.path.splitext(name)[1].lower() in self._suffixes:
            found = self._by_rules(stem(name))
        if not found and "%" in name:
            found = self._by_rules(_plain(unquote(name)))
        return found or (self._outside(name) if absolute else [])

    def _outside(self, name: str) -> list[str]:
        """The file outside of the folder that a name leads to, if there is one."""
        if not leads_outside(name):
            return []
        endings = ("", *self._suffixes, *(suffix.upper() for suffix in self._suffixes))
        found = next((name + ending for ending in endings if os.path.isfile(self.folder / (name + ending))), None)
        if found is None or os.path.splitext(found)[1].lower() not in self._suffixes:
            return []
        inside = os.path.relpath(os.path.abspath(self.folder / found), os.path.abspath(self.folder))
        if not leads_outside(inside):
            return [inside]
        if not self._follow_outside:
            raise DataError(f"{self.folder / name}: leads outside of {self.folder}; --follow-outside reads it")
        return [found]

    def find_one(self, name: str) -> str | None:
        """As `find`, where there can be one file only.

        Raises:
            DataError: several are called so.
        """
        found = self.find(name)
        if len(found) > 1:
            raise DataError(f"{self.folder / name}: which of {', '.join(found)} is it?")
        return found[0] if found else None

    def _by_rules(self, name: str) -> list[str]:
        if name in self._exact:  # the rule, which needs no thought
            return self._exact[name]
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if not parts:
            return []
        foreign = bool(re.match(r"/|[A-Za-z]:|\.\./", name)) or parts[0].casefold() not in self._top_folders
        for start in range(len(parts) if foreign else 1):
            tail = "/".join(parts[start:])
            for index, key in ((self._exact, tail), (self._folded, tail.casefold())):
                if key in index:
                    return index[key]
        return self._by_name.get(name.casefold(), []) if len(parts) == 1 else []

    @cached_property
    def _exact(self) -> Index:
        return _index(self.paths, _plain)

    @cached_property
    def _folded(self) -> Index:
        return _index(self.paths, lambda path: _plain(path).casefold())

    @cached_property
    def _by_name(self) -> Index:
        """By the name without folders, where all that have it are one file but for the suffix."""
        index = _index(self.paths, lambda path: _plain(path).rpartition("/")[2].casefold())
        return {name: paths for name, paths in index.items() if len(set(map(stem, paths))) == 1}

    @cached_property
    def _top_folders(self) -> set[str]:
        return {path.partition("/")[0].casefold() for path in self.paths if "/" in path}


def stem(path: str) -> str:
    """A path without its suffix."""
    return os.path.splitext(path)[0]


def leads_outside(name: str) -> bool:
    """Whether a path, with slashes, is none below the folder that it is relative to."""
    return os.path.isabs(name) or (".." in name and os.path.normpath(name).split(os.sep)[0] == "..")


def _index(paths: Collection[str], key: Callable[[str], str]) -> Index:
    """Files by a name with suffix and, where no file is called so, without."""
    whole: Index = {}
    without: Index = {}
    for path in paths:
        name = key(path)
        whole.setdefault(name, []).append(path)
        without.setdefault(stem(name), []).append(path)
    return without | whole


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _walk(folder: Path, suffixes: Collection[str]) -> Iterator[str]:
    def stop(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({reason(error)})") from error

    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, onerror=stop, followlinks=True) if folder.is_dir() else ():
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        within = Path(place).relative_to(folder).as_posix()
        prefix = "" if within == "." else f"{within}/"
        for name in files:
            if os.path.splitext(name)[1].lower() in suffixes and not name.startswith("."):
                yield prefix + name
