"""Proposals in a file an image, as EdgeBoxes, MCG, selective search and others leave them, in a layout that is told.

A .mat holds ``boxes``, ``bbs`` or ``bboxes``, numbers [N, 4]; text (.txt, .csv) has a box a line, its numbers apart by
blanks or commas. A fifth number is a score, as are the ``scores`` of a .mat; boxes are then put in the order of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from frcnn_cli.data.formats.finder import FileIndex
from frcnn_cli.data.proposals.layouts import Layout
from frcnn_cli.data.proposals.matlab import read_mat
from frcnn_cli.data.proposals.sizeless import SizelessProposals, as_boxes
from frcnn_cli.errors import DataError
from frcnn_cli.files import read_text

SINGLE_SUFFIXES = (".mat", ".txt", ".csv")

VARIABLES = ("boxes", "bbs", "bboxes")

ENDINGS = ("", *(f"_{name}" for name in (*VARIABLES, "proposals")))
"""What may stand behind an image's name in that of its file."""


class SingleImageProposals(SizelessProposals):
    """A file an image, opened for reading: a folder of them, or one.

    Args:
        path: the folder or the file.
        layout: how they write a box.
        ids: of the images that are known; where there is one file and one image, the file is that image's.

    Raises:
        DataError: the folder holds no such file, or cannot be read.
    """

    def __init__(self, path: Path, layout: Layout, ids: Sequence[str] = ()) -> None:
        self.layout = layout
        self.convention = str(layout)
        self._index = FileIndex(path, SINGLE_SUFFIXES) if path.is_dir() else None
        if self._index is None:
            self._files = {ids[0] if len(ids) == 1 else _name_of(path): path}
        else:
            self._files = {_name_of(Path(name)): path / name for name in self._index.paths}
            if not self._files:
                raise DataError(f"{path}: no file of proposals ({', '.join(SINGLE_SUFFIXES)}) in this folder")
        super().__init__(path, self._files)

    def _place(self, image_id: object) -> int | None:
        place = super()._place(image_id)
        if place is None and self._index is not None:
            found = next(filter(None, (self._index.find(f"{image_id}{ending}") for ending in ENDINGS)), None)
            place = super()._place(_name_of(Path(found[0]))) if found else None
        return place

    def _xyxy(self, place: int) -> np.ndarray:
        values, scores = _read(self._files[self.ids[place]])
        if scores is not None:
            values = values[np.argsort(-scores, kind="stable")]
        return self.layout.to_xyxy(values)


def _name_of(path: Path) -> str:
    """The image that a file is of, by the file's name."""
    name = path.with_suffix("").as_posix() if not path.is_absolute() else path.stem
    ending = next((ending for ending in ENDINGS[1:] if name.endswith(ending) and name != ending), "")
    return name.removesuffix(ending)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The boxes of a file as its numbers float64 [N, 4], and their scores [N] if it has any.

    Raises:
        ValueError: one line saying what is wrong with them.
    """
    content = read_mat(path, (*VARIABLES, "scores")) if path.suffix.lower() == ".mat" else {"boxes": _text(path)}
    name = next((name for name in VARIABLES if content.get(name) is not None), None)
    if name is None:
        raise ValueError(f"{path}: no array {', '.join(VARIABLES[:-1])} or {VARIABLES[-1]} in it")
    values, scores = content[name], content.get("scores")
    if values.dtype.kind in "iuf" and values.ndim == 2 and values.shape[1] == 5:
        values, scores = values[:, :4], values[:, 4]
    boxes = as_boxes(values)
    if scores is None:
        return boxes, None
    if scores.dtype.kind not in "iuf" or scores.size != len(boxes):
        raise ValueError(f"{path}: {len(boxes)} boxes without as many numbers for their scores")
    return boxes, scores.ravel().astype(np.float64)


def _text(path: Path) -> np.ndarray:
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        fields = line.replace(",", " ").replace(";", " ").split()
        try:
            row = [float(field) for field in fields]
        except ValueError:
            raise ValueError(f"{path}: line {number}: not numbers: {line.strip()[:80]!r}") from None
        if len(row) not in (0, 4, 5) or (rows and row and len(row) != len(rows[0])):
            raise ValueError(f"{path}: line {number}: {len(row)} numbers, not the 4 of a box and perhaps a score")
        if row:
            rows.append(row)
    return np.array(rows, np.float64).reshape(len(rows), len(rows[0]) if rows else 4)
