"""Proposals of many images: several processes, and a run that can be interrupted and taken up again."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from frcnn_cli.data.images import load_image
from frcnn_cli.data.items import Item, coco_ids
from frcnn_cli.data.proposals.partial import PartialProposals
from frcnn_cli.engine.children import begin_child, starting_children
from frcnn_cli.engine.distributed import ALONE, Processes
from frcnn_cli.engine.interrupts import delayed_interrupt
from frcnn_cli.engine.sources.search import ProposalConfig
from frcnn_cli.errors import DataError, Interrupted, signal_of
from frcnn_cli.files import fingerprint, writing_alone
from frcnn_cli.progress import Track, silent


def propose_images(
    items: Sequence[Item],
    output: str | Path,
    config: ProposalConfig,
    workers: int = 1,
    track: Track = silent,
    processes: Processes = ALONE,
) -> int:
    """Make proposals of every image and write them to one file.

    Each image's boxes are stored as soon as they are known, in a folder beside the file; a later call with the same
    arguments goes on from there.

    Args:
        items: images with ids.
        output: the proposal file, of any format that can be written.
        config: how.
        workers: processes that this one starts; without, the work on an image is shared among threads instead.
        track: progress.
        processes: those that divide the images among themselves. They see the same folder; process 0 makes the file.

    Returns:
        The number of boxes in the file.

    Raises:
        UsageError: no such mode, or it knows no other size than its own.
        DataError: two images share an id, an image cannot be read (the others are done first, and every fault is
            named), a file cannot be written or another process writes it, or a worker process was killed.
        Interrupted: on Ctrl-C, SIGTERM or SIGHUP.
    """
    _check_ids(items)
    with writing_alone(output) if processes.rank == 0 else nullcontext():
        return _propose(items, output, config, workers, track, processes)


def _propose(
    items: Sequence[Item], output: str | Path, config: ProposalConfig, workers: int, track: Track, processes: Processes
) -> int:
    search = config.search()
    partial_file = PartialProposals(output, config.settings())
    processes.wait()  # all have seen whose the folder is before one adds to it
    share, done = processes.share(items), partial_file.done_ids()
    todo = [item for item in share if item.id not in done or partial_file.is_stale(item)]
    several = workers > 1 and len(todo) > 1
    # A process of several has a core to itself, a single one has them all.
    threads = 1 if several or processes.world_size > 1 else None
    work = partial(_propose_one, search=search, output=partial_file, threads=threads)
    outcomes = _in_processes(work, todo, workers) if several else (work(item) for item in todo)
    faults: list[str] = []
    why = ""
    # Between two images: raised in a compiled kernel, KeyboardInterrupt would come out as another exception.
    with delayed_interrupt() as interrupted:
        try:
            with closing(outcomes):
                for _ in track(_collect(outcomes, faults), total=len(share), initial=len(share) - len(todo)):
                    if interrupted.is_set():
                        break
        except KeyboardInterrupt as stop:  # a second one, or another process has ended
            interrupted.signal, why = signal_of(stop), getattr(stop, "why", "")
            interrupted.set()
        except DataError:
            if not interrupted.is_set():  # by which the workers may have ended too
                raise
    if interrupted.is_set():
        finished = len(partial_file.done_ids())
        where = f"interrupted with {finished} of {len(items)} images done; the same command goes on from there"
        raise Interrupted("; ".join(filter(None, (why, where))), interrupted.signal)
    faults = processes.gather(faults) or []
    if faults:
        raise DataError(f"{len(faults)} of {len(items)} images could not be read:", *sorted(faults))
    count = partial_file.finish([item.id for item in items], coco_ids(items)) if processes.rank == 0 else 0
    return processes.sum(count)[0]  # the others wait here for the file


def _in_processes(work: Callable[[Item], int | str], items: Sequence[Item], workers: int) -> Iterator[int | str]:
    """What `work` makes of the items, as it is done. When the iterator is closed, those not yet begun are left."""
    # Fresh processes: a fork would copy the threads' locks of whatever the caller has imported.
    context = multiprocessing.get_context("spawn")
    with starting_children():
        pool = ProcessPoolExecutor(min(workers, len(items)), context, initializer=_start_worker)
        begun = [pool.submit(work, item) for item in items]
    try:
        for done in as_completed(begun):
            yield done.result()
    except BrokenProcessPool:
        raise DataError(
            "a worker process was killed, perhaps for want of memory; the same command goes on where it was, "
            "and needs less with fewer --workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _collect(outcomes: Iterable[int | str], faults: list[str]) -> Iterable[int]:
    for outcome in outcomes:
        if isinstance(outcome, str):
            faults.append(outcome)
            yield 0
        else:
            yield outcome


def _propose_one(
    item: Item, search: Callable[..., np.ndarray], output: PartialProposals, threads: int | None
) -> int | str:
    """The number of boxes made of one image, or its fault."""
    try:
        picture = fingerprint(item.path)
        image = load_image(item.path)
    except DataError as error:
        return str(error)
    boxes = search(image, threads=threads)
    output.add(item.id, boxes, width=image.shape[1], height=image.shape[0], picture=picture)
    return len(boxes)


def _start_worker() -> None:
    begin_child()
    import cv2

    cv2.setNumThreads(1)


def _check_ids(items: Sequence[Item]) -> None:
    paths: dict[str, Path] = {}
    for item in items:
        if item.id in paths:
            raise DataError(f"{item.path}: its proposals would replace those of {paths[item.id]} (same name)")
        paths[item.id] = item.path
