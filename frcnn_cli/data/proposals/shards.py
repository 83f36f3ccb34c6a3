"""Shards: the parts of one proposal file, each made by a job of its own, read together as that file.

The second of four shards of ``val.npz`` is ``val-00002-of-00004.npz``, beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from frcnn_cli.data.proposals.npz import ProposalFile
from frcnn_cli.data.proposals.reuse import with_sizes
from frcnn_cli.data.proposals.stored import StoredProposals
from frcnn_cli.errors import DataError
from frcnn_cli.files import reason


class Named(Protocol):
    """Anything with an id, such as an ImageRecord."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Named)


@dataclass(frozen=True)
class Shard:
    """One of `of` parts, counted from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``2/4``.

        Raises:
            ValueError: it is not I/N with 1 <= I <= N.
        """
        match = re.fullmatch("([0-9]{1,5})/([0-9]{1,5})", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError(f"{text!r} is not I/N with 1 <= I <= N, such as 2/4")
        return cls(int(match[1]), int(match[2]))

    def part(self, items: Sequence[T]) -> list[T]:
        """The items of this shard: neighbours in the order of the ids. The parts differ by at most one in length."""
        items = sorted(items, key=lambda item: item.id)
        return items[(self.number - 1) * len(items) // self.of : self.number * len(items) // self.of]

    def path(self, whole: Path) -> Path:
        """The file of this shard, given that of all."""
        return whole.with_name(f"{whole.stem}-{self.number:05d}-of-{self.of:05d}{whole.suffix}")


def find_shards(whole: Path) -> dict[Shard, Path]:
    """The shards of a file that are there, in order.

    Raises:
        DataError: the folder cannot be read.
    """
    pattern = re.compile(rf"{re.escape(whole.stem)}-([0-9]{{5}})-of-([0-9]{{5}})\.npz")
    found: dict[Shard, Path] = {}
    try:
        for path in sorted(whole.parent.iterdir()) if whole.suffix == ".npz" else ():
            match = pattern.fullmatch(path.name)
            if match and 1 <= int(match[1]) <= int(match[2]):
                found[Shard(int(match[1]), int(match[2]))] = path
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise DataError(f"{whole.parent}: cannot be read ({reason(error)})") from error
    return found


class ShardedProposals(StoredProposals):
    """All shards of a file, used as a `ProposalFile` is.

    Attributes:
        path: the file that the shards are parts of; it need not exist.
        meta: the settings, which are the same in all shards, and the sizes of all images.
        ids: the image ids, shard after shard.

    Raises:
        DataError: a shard is missing or damaged, shards are of different runs, or two of them hold the same image.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        shards = find_shards(self.path)
        _check_complete(self.path, shards)
        self._files = [ProposalFile(shard) for shard in shards.values()]
        first = self._files[0]
        self.meta: dict[str, Any] = {**with_sizes(first.meta), "sizes": {}, "pictures": {}}
        self._owners: dict[str, ProposalFile] = {}
        for file in self._files:
            before, own = with_sizes(first.meta), with_sizes(file.meta)
            different = sorted(
                key
                for key in {*before, *own} - {"sizes", "pictures"}
                if (key in before, before.get(key)) != (key in own, own.get(key))
            )
            if different:
                raise DataError(f"{file.path}: made otherwise than {first.path} ({', '.join(different)} differ)")
            for image_id in file.ids:
                other = self._owners.setdefault(image_id, file)
                if other is not file:
                    raise DataError(f"{file.path}: image {image_id} is in {other.path} too")
            self.meta["sizes"].update(file.meta["sizes"])
            self.meta["pictures"].update(file.meta.get("pictures", {}))
        if not self.meta["pictures"]:
            del self.meta["pictures"]
        self.ids = tuple(self._owners)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._owners

    def __len__(self) -> int:
        return len(self.ids)

    def get(self, image_id: str, width: int, height: int) -> np.ndarray:
        """Return the boxes of one image, as `ProposalFile.get` does.

        Raises:
            DataError: there are none for this image, they are another size's, or they are no valid boxes.
        """
        if image_id not in self._owners:
            raise DataError(f"{self.path}: no proposals for image {image_id}")
        return self._owners[image_id].get(image_id, width, height)


def _check_complete(path: Path, shards: dict[Shard, Path]) -> None:
    if not shards:
        raise DataError(f"{path}: no such file")
    counts = sorted({shard.of for shard in shards})
    if len(counts) > 1:
        raise DataError(f"{path}: shards of different runs, of {' and of '.join(map(str, counts))}; delete one's")
    wanted = [Shard(number, count) for count in counts for number in range(1, count + 1)]
    missing = [shard.path(path).name for shard in wanted if shard not in shards]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise DataError(f"{path}: {len(missing)} of {len(wanted)} shards are missing: {shown}")
