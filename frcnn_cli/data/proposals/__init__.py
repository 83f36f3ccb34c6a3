"""Proposal files of every format, opened and written by their suffix: .npz (ours), .mat (fast-rcnn), .pkl (detectron2).

Files of single images, and folders of these, are opened in a layout that the user tells.

All of them are read as continuous xyxy; each format's own convention is stated, and ends, in its module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from frcnn_cli.data.items import Item, coco_ids
from frcnn_cli.data.proposals.detectron2 import Detectron2Proposals, write_detectron2
from frcnn_cli.data.proposals.fast_rcnn import FastRCNNProposals, is_split, write_fast_rcnn
from frcnn_cli.data.proposals.layouts import LAYOUTS
from frcnn_cli.data.proposals.npz import ImageProposals, ProposalFile, write_npz
from frcnn_cli.data.proposals.shards import ShardedProposals, find_shards
from frcnn_cli.data.proposals.single import SINGLE_SUFFIXES, SingleImageProposals
from frcnn_cli.errors import UsageError

_READERS = {".npz": ProposalFile, ".mat": FastRCNNProposals, ".pkl": Detectron2Proposals}
_WRITERS = {".npz": write_npz, ".mat": write_fast_rcnn, ".pkl": write_detectron2}
SUFFIXES = tuple(_READERS)


class Proposals(Protocol):
    """What a proposal file of any format offers; it is a source of proposals, as in `frcnn_cli.engine.sources`.

    Attributes:
        made: False: they were made before.
        path: the file.
        meta: the settings the proposals were made with and ``sizes``; empty where the format holds none.
        ids: the image ids.
    """

    made: bool
    path: Path
    meta: dict[str, Any]
    ids: tuple[str, ...]

    def __contains__(self, image_id: object) -> bool: ...

    def __len__(self) -> int: ...

    def get(self, image_id: str, width: int, height: int) -> np.ndarray:
        """Return the boxes of one image of width x height pixels: float32 [N, 4], xyxy, best first.

        Raises:
            DataError: there are none for this image, or they are no valid boxes of such an image.
        """

    def boxes(self, image: np.ndarray, image_id: str) -> np.ndarray:
        """The same, of an image [H, W, 3]."""


def open_proposals(path: str | Path, images: Iterable[Item] = (), layout: str | None = None) -> Proposals:
    """Open a proposal file; where a .npz is not there but its shards are, those, as one file.

    Args:
        path: the file.
        images: those of a data set, whose ids in a COCO file detectron2's proposals go by.
        layout: how a box is written in a .mat, or in a folder of files of single images: a name of `LAYOUTS`; None for
            a file that tells.

    Raises:
        UsageError: an unknown suffix.
        DataError: the file is missing, damaged or not of the format its suffix says, or shards do not fit together.
    """
    path = Path(path)
    suffix = known_suffix(path, layout)
    if layout is not None:
        return _open_laid_out(path, images, layout)
    reader = _READERS[suffix]
    if reader is Detectron2Proposals:
        return Detectron2Proposals(path, coco_ids(images))
    return ShardedProposals(path) if not path.exists() and find_shards(path) else reader(path)


def _open_laid_out(path: Path, images: Iterable[Item], layout: str) -> Proposals:
    if path.suffix.lower() == ".mat" and is_split(path):
        return FastRCNNProposals(path, LAYOUTS[layout])
    return SingleImageProposals(path, LAYOUTS[layout], [image.id for image in images])


def has_proposals(path: Path) -> bool:
    """Whether there is a proposal file of this name, or a shard of it."""
    return path.exists() or bool(find_shards(path))


def write_images(path: Path, images: Iterable[ImageProposals], settings: Mapping[str, Any]) -> None:
    """Write a proposal file of the format that the suffix says.

    Raises:
        UsageError: an unknown suffix.
        DataError: boxes are not valid, or the file cannot be written.
    """
    _WRITERS[known_suffix(path)](path, images, settings)


def known_suffix(path: Path, layout: str | None = None) -> str:
    """Return the suffix.

    Args:
        path: a proposal file; with a layout, perhaps a folder.
        layout: see `open_proposals`.

    Raises:
        UsageError: it is none of a proposal file, or of one that has a layout.
    """
    if layout is not None:
        if path.suffix.lower() not in SINGLE_SUFFIXES and not path.is_dir():
            raise UsageError(f"{path}: --proposal-layout is for {', '.join(SINGLE_SUFFIXES)} and folders of such files")
    elif path.suffix not in _READERS:
        hint = (
            "; for a file an image, name --proposal-layout" if path.is_dir() or path.suffix in SINGLE_SUFFIXES else ""
        )
        raise UsageError(f"{path}: proposals are in .npz, .mat or .pkl files{hint}")
    return path.suffix
