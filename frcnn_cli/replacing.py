"""Whose a file is that is about to be replaced: what this program did not write, it does not replace unasked."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from frcnn_cli.errors import UsageError

FORCE_HELP = "Replace files that are there already and were not written by this program."
"""Of the option --force, wherever a command has it."""

_LOOK = 2**16
"""Bytes at a file's beginning and at its end in which the program's name is looked for."""

_BEGINNINGS = {
    ".json": rb'\[\s*(\]|\{\s*"image":)|\{"annotations": \[',
    ".jsonl": rb'\{"image":',
    ".csv": rb"image,width,height,class,score,|iteration,",
    ".md": rb"\| \| R-CNN \|",
    ".txt": rb"\S+ [01]\.\d{6}( -?\d+\.\d){4}\n",
    ".pkl": rb"(?s).*objectness_logits",
}
"""By suffix, what a file begins with that is written here, and in whose format the program's name has no place."""


def is_ours(path: Path) -> bool:
    """Whether this program wrote a file, or nothing is in it.

    Most of what is written names the program; the rest is known by how it begins.
    """
    if path.suffix in (".npz", ".mat"):
        return path.stat().st_size == 0 or (_is_ours_npz if path.suffix == ".npz" else _is_ours_mat)(path)
    with path.open("rb") as file:
        head = file.read(_LOOK)
        file.seek(max(path.stat().st_size - _LOOK, 0))
        tail = file.read(_LOOK)
    beginning = _BEGINNINGS.get(path.suffix)
    return not head or b"frcnn" in head or b"frcnn" in tail or bool(beginning and re.match(beginning, head))


def _is_ours_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "__meta__.npy" in archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return False


def _is_ours_mat(path: Path) -> bool:
    from scipy.io import whosmat  # which no other format waits for

    try:
        return {name for name, _, _ in whosmat(path)} == {"boxes", "images"}
    except Exception:  # whatever the bytes of another program lead it to
        return False


def check_replaced(paths: Iterable[Path | None], force: bool = False) -> None:
    """Refuse to replace what this program did not write.

    Args:
        paths: to be written; those that are None, not there or no files are no matter here.
        force: replace it.

    Raises:
        UsageError: one of them holds something else.
    """
    if force:
        return
    others = []
    for path in paths:
        try:
            if path is not None and path.is_file() and not is_ours(path):
                others.append(path)
        except OSError:  # what cannot be read is told when it cannot be written
            continue
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise UsageError(f"{others[0]}{more}: there already, and not written by this program; --force replaces it")


def check_apart(outputs: Iterable[Path | None], inputs: Iterable[Path | None]) -> None:
    """Refuse to write over what is read, which nobody means; ``--force`` does not ask for it.

    Args:
        outputs: to be written; None for none.
        inputs: to be read, under whatever name; likewise.

    Raises:
        UsageError: one is the other.
    """
    read = {os.path.realpath(path) for path in inputs if path is not None}
    for path in outputs:
        if path is not None and os.path.realpath(path) in read:
            raise UsageError(f"{path}: is read, and would be written over; choose another name for what is written")
