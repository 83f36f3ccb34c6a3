"""Proposals on their way: every image's boxes in a file of its own, until all are there and become one file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from frcnn_cli.data.items import Item
from frcnn_cli.data.proposals import known_suffix, write_images
from frcnn_cli.data.proposals.npz import ImageProposals, ProposalFile, write_npz
from frcnn_cli.data.proposals.reuse import changed_pictures, with_sizes
from frcnn_cli.errors import DataError, MissingFile
from frcnn_cli.files import atomic_write, read_text, reason

_SETTINGS = "settings.json"

LONGEST_NAME = 240
"""Of a file, with room for its suffix: file systems take 255 bytes, and an id in CJK is three times as long here."""

LONG = "%long-"
"""Begins the name of a file whose image's id does not fit; no other begins so, as % is followed by digits there."""


class PartialProposals:
    """Proposals on their way: each image's boxes are safe on the disk as soon as they are known.

    They lie in the folder ``FILE.partial`` until `finish` makes FILE of them. A later run with the same settings
    finds them there and goes on. Instances can be pickled; several processes may `add`.

    Args:
        path: the proposal file to be made, of any format that can be written.
        settings: ``mode``, ``seed``, ``max_proposals`` ...; they become the meta data of a .npz.

    Raises:
        UsageError: an unknown suffix.
        DataError: the folder holds the results of other settings, or cannot be made.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        known_suffix(self.path)  # found out now, not when all is done
        self.folder = self.path.with_name(f"{self.path.name}.partial")
        self.settings: dict[str, Any] = json.loads(json.dumps(dict(settings)))  # as they will be read back
        begun_with = self._begun_with()
        if begun_with is None:
            with atomic_write(self.folder / _SETTINGS) as temporary:
                temporary.write_text(json.dumps(self.settings, indent=2), encoding="utf-8")
        elif differing := _difference(with_sizes(begun_with), with_sizes(self.settings)):
            raise DataError(
                f"{self.folder}: begun with other settings ({differing}); "
                "use those again to go on, or delete the folder to start anew"
            )

    def done_ids(self) -> frozenset[str]:
        """Return the ids of the images that are done."""
        try:
            names = os.listdir(self.folder)
        except OSError as error:
            raise DataError(f"{self.folder}: cannot be read ({reason(error)})") from error
        return frozenset(self._id(name.removesuffix(".npz")) for name in names if name.endswith(".npz"))

    def is_stale(self, item: Item) -> bool:
        """Whether an image that is done has another file now, or its result cannot be read."""
        try:
            return bool(changed_pictures(ProposalFile(self._file(item.id)), [item]))
        except DataError:
            return True

    def add(
        self, image_id: str, boxes: np.ndarray, width: int, height: int, picture: tuple[int, int] | None = None
    ) -> None:
        """Store the boxes (float [N, 4], xyxy, best first) of one image of width x height pixels.

        Args:
            image_id: of the image.
            boxes: see above.
            width: see above.
            height: see above.
            picture: the `fingerprint` of its file.

        Raises:
            DataError: they are no valid boxes, or cannot be stored.
        """
        write_npz(self._file(image_id), [ImageProposals(image_id, boxes, width, height, picture=picture)], {})

    def finish(self, ids: Iterable[str] | None = None, coco_ids: Mapping[str, int | str] = MappingProxyType({})) -> int:
        """Make the proposal file, in the order of the ids, and remove the folder.

        Args:
            ids: the images it is to hold; None for all that were added, those of an earlier run included.
            coco_ids: what COCO calls them, for detectron2's format.

        Returns:
            The number of boxes in the file.

        Raises:
            DataError: a stored result is missing or damaged, or the file cannot be written.
        """
        count = 0

        def stored() -> Iterator[ImageProposals]:
            nonlocal count
            for image_id in sorted(self.done_ids() if ids is None else ids):
                single = ProposalFile(self._file(image_id))
                width, height = single.meta["sizes"].get(image_id, (0, 0))
                boxes = single.get(image_id, width, height)
                count += len(boxes)
                picture = single.meta.get("pictures", {}).get(image_id)
                yield ImageProposals(image_id, boxes, width, height, coco_ids.get(image_id), picture)

        write_images(self.path, stored(), self.settings)
        shutil.rmtree(self.folder, ignore_errors=True)  # the results are safe; a leftover is found and reused
        return count

    def _file(self, image_id: str) -> Path:
        name = quote(image_id, safe="")
        if len(name) > LONGEST_NAME:
            name = f"{LONG}{hashlib.sha256(image_id.encode(errors='surrogateescape')).hexdigest()}"
        return self.folder / f"{name}.npz"

    def _id(self, name: str) -> str:
        """The inverse; of a long one, the file itself tells."""
        return ProposalFile(self.folder / f"{name}.npz").ids[0] if name.startswith(LONG) else unquote(name)

    def _begun_with(self) -> Any:
        """Read the settings the folder was begun with; None if nothing was."""
        try:
            begun_with = json.loads(read_text(self.folder / _SETTINGS))
        except MissingFile:
            if self.folder.is_dir() and self.done_ids():
                return {}
            return None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.folder / _SETTINGS}: cannot be read ({reason(error)})") from error
        return begun_with if isinstance(begun_with, dict) else {}


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    return ", ".join(f"{key} {before.get(key)}, now {now.get(key)}" for key in changed)
