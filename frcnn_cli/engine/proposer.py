"""Selective search over many images: several processes, and a run that can be interrupted and taken up again."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import cv2

from frcnn_cli.data.images import load_image
from frcnn_cli.data.proposal_files import PartialProposals
from frcnn_cli.errors import DataError, Interrupted
from proposals import selective_search


@dataclass(frozen=True)
class ProposalConfig:
    """How proposals are made; it is stored in the file."""

    mode: str = "fast"
    max_proposals: int = 2000
    seed: int = 0


class Item(Protocol):
    """An image to propose boxes for, such as an ImageRecord."""

    @property
    def id(self) -> str: ...

    @property
    def path(self) -> Path: ...


@dataclass(frozen=True)
class ImageFile:
    """An image that belongs to no data set; its id is the file's name without the suffix."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.stem


class Track(Protocol):
    """Passes results through one by one, for a progress display; `initial` of `total` were there before."""

    def __call__(self, results: Iterable[int], total: int, initial: int) -> Iterable[int]: ...


def _silent(results: Iterable[int], total: int, initial: int) -> Iterable[int]:
    return results


def propose_images(
    items: Sequence[Item],
    output: str | Path,
    config: ProposalConfig,
    workers: int = 1,
    track: Track = _silent,
) -> int:
    """Make proposals of every image and write them to one file.

    Each image's boxes are stored as soon as they are known, in a folder beside the file; a later call with the same
    arguments goes on from there.

    Args:
        items: images with ids.
        output: the proposal file.
        config: how.
        workers: processes.
        track: progress.

    Returns:
        The number of boxes made now.

    Raises:
        DataError: two images share an id, an image cannot be read (the others are done first, and every fault is
            named), or a file cannot be written.
        Interrupted: on Ctrl-C.
    """
    _check_ids(items)
    partial_file = PartialProposals(
        output, {"mode": config.mode, "max_proposals": config.max_proposals, "seed": config.seed}
    )
    done = partial_file.done_ids()
    todo = [item for item in items if item.id not in done]
    work = partial(_propose_one, config=config, output=partial_file)
    boxes, faults = 0, []

    def results() -> Iterable[int]:
        if workers <= 1 or len(todo) <= 1:
            yield from _collect(map(work, todo), faults)
            return
        # Fresh processes: a fork would copy the threads' locks of whatever the caller has imported.
        context = multiprocessing.get_context("spawn")
        with context.Pool(min(workers, len(todo)), initializer=_start_worker) as pool:
            yield from _collect(pool.imap_unordered(work, todo), faults)

    try:
        for count in track(results(), total=len(items), initial=len(items) - len(todo)):
            boxes += count
    except KeyboardInterrupt:
        finished = len(partial_file.done_ids())
        raise Interrupted(
            f"interrupted with {finished} of {len(items)} images done; the same command goes on from there"
        ) from None
    if faults:
        raise DataError("\n".join((f"{len(faults)} of {len(items)} images could not be read:", *sorted(faults))))
    partial_file.finish(item.id for item in items)
    return boxes


def _collect(outcomes: Iterable[int | str], faults: list[str]) -> Iterable[int]:
    for outcome in outcomes:
        if isinstance(outcome, str):
            faults.append(outcome)
            yield 0
        else:
            yield outcome


def _propose_one(item: Item, config: ProposalConfig, output: PartialProposals) -> int | str:
    """The number of boxes made of one image, or its fault."""
    try:
        image = load_image(item.path)
    except DataError as error:
        return str(error)
    boxes = selective_search(image, config.mode, config.max_proposals, config.seed)
    output.add(item.id, boxes, width=image.shape[1], height=image.shape[0])
    return len(boxes)


def _start_worker() -> None:
    # Ctrl-C is the parent's to handle; workers that die of it would each print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _check_ids(items: Sequence[Item]) -> None:
    paths: dict[str, Path] = {}
    for item in items:
        if item.id in paths:
            raise DataError(f"{item.path}: its proposals would replace those of {paths[item.id]} (same name)")
        paths[item.id] = item.path
