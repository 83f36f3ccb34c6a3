"""Batches that processes of their own prepare, ahead of the updates that use them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from multiprocessing import active_children
from multiprocessing.connection import wait
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data import Dataset as TorchDataset

from frcnn_cli.engine.batches import Batch
from frcnn_cli.engine.children import begin_child, starting_children
from frcnn_cli.errors import DataError
from frcnn_cli.files import reason


def prepared_batches(batches: TorchDataset[Batch], start: int, stop: int, workers: int) -> Iterator[Batch | DataError]:
    """Batches `start`, ..., `stop` - 1, in order.

    Args:
        batches: to take them from.
        start: number of the first.
        stop: ... and that after the last.
        workers: processes that prepare them; 0 for none beside this one.

    Yields:
        Each batch, or in its place the DataError met in making it; a DataError, as the last, where a worker process has
        died, which happens when memory runs out.
    """
    loader = DataLoader(
        _FaultsAsItems(batches),
        sampler=range(start, stop),
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_begin_worker,
        generator=torch.Generator(),  # or it would draw a number from those of dropout, once more in a resumed run
    )
    return _watched(loader)


class _FaultsAsItems(TorchDataset):
    """Batches, or the DataError met in making one: raised in a worker process, it would come as a traceback."""

    def __init__(self, batches: TorchDataset[Batch]) -> None:
        self.batches = batches

    def __getitem__(self, number: int) -> Batch | DataError:
        try:
            batch = self.batches[number]
            if get_worker_info() is not None:
                _share(vars(batch).values())
            return batch
        except DataError as error:
            return error


def _share(parts: Iterable[Any]) -> None:
    """Put the tensors where the parent can read them, which a thread would do later, and fail unheard.

    Raises:
        DataError: there is no room for them.
    """
    for part in parts:
        if isinstance(part, (list, tuple)):
            _share(part)
        elif isinstance(part, Tensor):
            try:
                part.share_memory_()
            except RuntimeError as error:
                raise DataError(
                    f"a batch finds no room in shared memory ({reason(error)}); is /dev/shm full? "
                    "--loaders 0 does without"
                ) from error


def _begin_worker(worker: int) -> None:
    begin_child()


def _watched(loader: DataLoader) -> Iterator[Batch | DataError]:
    """The loader's items; a DataError where a worker process has died, which happens when memory runs out."""
    others = set(active_children())
    with starting_children() if loader.num_workers else nullcontext():
        batches = iter(loader)
    workers = set(active_children()) - others
    # PyTorch would report a dead worker by a signal, anywhere in an update. Without, it is noticed between two.
    heard = workers and hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL) if heard else None
    fault = None
    try:
        try:
            yield from batches
        except Exception:
            if workers:
                wait([worker.sentinel for worker in workers], timeout=1)  # one that is dying may not be dead yet
            dead = [worker.exitcode for worker in workers if not worker.is_alive()]
            if not dead:
                raise
            how = f"by signal {-dead[0]}" if dead[0] < 0 else f"with exit code {dead[0]}"
            fault = DataError(f"a process that prepares batches has ended {how} (was the memory full?)")
        if fault:
            yield fault
    finally:
        del batches  # ends the other workers
        if handler is not None:
            signal.signal(signal.SIGCHLD, handler)
