"""Several processes that work on one task: one a GPU, on one machine or more, as ``torchrun`` starts them.

Images are divided among them, a few numbers and the gradients are summed, detections are gathered; process 0 alone
writes. Gradients are summed after the backward pass. DistributedDataParallel would hide a part of that under it, but
takes means, where a loss that is divided by the RoIs of all processes needs sums, and puts its own module around the
model.

A process that meets a fault tells it and ends. The others, which find their connection to it closed or are ended by
torchrun, end without a word; of one that was killed, the first of them tells that it has ended.

torch is imported where there are several processes, and not before: one that proposes by itself has no use for it.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

from frcnn_cli import stopping
from frcnn_cli.errors import LostProcess, UsageError
from proposals.cores import cores

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")

BUCKET = 6_000_000
"""Gradients that are summed at a time, in numbers: few enough to need little memory, enough to make few messages."""

PATIENCE = timedelta(days=1)
"""How long a process may wait for the others: theirs may be the images that take hours."""

GRACE = 5.0
"""Seconds that process 0 stays at most when it has met a fault, for the others to ask whether it was told."""

NOTICE = 2.0
"""Seconds in which a process that was killed is sure to be gone for the system too."""

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_store: Any = None
_places: list[tuple[str, int]] = []
"""The machine and the process id of each of the processes."""


@dataclass(frozen=True)
class Processes:
    """This process among those that work together. One by itself is number 0 of 1, and sums and gathers its own.

    Attributes:
        rank: its number, from 0.
        world_size: how many there are.
    """

    rank: int = 0
    world_size: int = 1

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of the items: every `world_size`-th."""
        return items[self.rank :: self.world_size]

    def gather(self, share: list[T]) -> list[T] | None:
        """What all processes made of their shares, in the order of the items, on process 0; None on the others."""
        if self.world_size == 1:
            return share
        from torch import distributed

        shares: list[list[T]] | None = [[]] * self.world_size if self.rank == 0 else None
        with _others():
            distributed.gather_object(share, shares, dst=0)
        if shares is None:
            return None
        nothing = object()
        return [item for row in zip_longest(*shares, fillvalue=nothing) for item in row if item is not nothing]

    def sum(self, *numbers: int) -> list[int]:
        """Each number's sum over the processes, which wait for one another here."""
        if self.world_size == 1:
            return list(numbers)
        import torch

        return self.sum_tensor(torch.tensor(numbers)).tolist()  # on the CPU, wherever the model is

    def wait(self) -> None:
        """Go on when all processes have come this far."""
        self.sum(0)

    def any(self, flag: bool) -> bool:
        """Whether it is true of one of the processes."""
        return self.sum(int(flag))[0] > 0

    def sum_tensor(self, tensor: Tensor) -> Tensor:
        """Its sum over the processes, in place."""
        if self.world_size > 1:
            from torch import distributed

            with _others():
                distributed.all_reduce(tensor)
        return tensor

    def sum_gradients(self, model: nn.Module) -> None:
        """Each gradient's sum over the processes, in place; one that has none adds zeros."""
        if self.world_size == 1:
            return
        import torch

        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in learning:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets([parameter.grad for parameter in learning]):
            total = self.sum_tensor(torch.cat([gradient.flatten() for gradient in bucket]))
            parts = total.split([gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view(gradient.shape))

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with those of process 0."""
        if self.world_size == 1:
            return
        from torch import distributed

        with _others():
            for tensor in tensors:
                whole = tensor.contiguous()  # Gloo knows no channels-last
                distributed.broadcast(whole, src=0)
                tensor.copy_(whole)


ALONE = Processes()


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for gradient in gradients:
        if bucket and sum(g.numel() for g in bucket) + gradient.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(gradient)
    yield bucket


@contextmanager
def _others() -> Iterator[None]:
    """Where the others are waited for, which may not come."""
    try:
        yield
    except RuntimeError as error:
        until = time.monotonic() + NOTICE
        while not ended() and time.monotonic() < until:
            time.sleep(0.05)
        raise LostProcess(_others_ended()) from error


def current() -> Processes:
    """What torchrun's variables say of this process; none, and it is one by itself."""
    if all(name in os.environ for name in _VARIABLES):
        return Processes(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    return ALONE


def join() -> None:
    """Meet the other processes, if there are any.

    Raises:
        UsageError: they cannot be met.
    """
    global _store
    if current().world_size == 1:
        return
    import torch
    from torch import distributed

    try:
        store, rank, world_size = next(distributed.rendezvous("env://"))
        # Tensors on a CPU go by Gloo even where gradients go by NCCL: it notices at once when a process has ended.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and distributed.is_nccl_available() else "gloo"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=PATIENCE)
        store.set(f"place {rank}", f"{os.getpid()} {socket.gethostname()}")
        places = [store.get(f"place {other}").decode().split(" ", 1) for other in range(world_size)]
    except (RuntimeError, ValueError) as error:
        where = ":".join(os.environ[name] for name in _VARIABLES[2:])
        raise UsageError(f"the other processes cannot be met at {where} ({str(error).splitlines()[0]})") from error
    _store = store
    _places[:] = [(host, int(pid)) for pid, host in places]
    signal.signal(signal.SIGTERM, _end)


def leave() -> None:
    """Part from the others, if there are any."""
    global _store
    if _store is None:
        return
    from torch import distributed

    distributed.destroy_process_group()
    me = current()
    with suppress(RuntimeError):  # process 0 has gone, and with it where it is told
        _store.set(f"left {me.rank}", "")
        if me.rank == 0:
            until = time.monotonic() + GRACE
            while time.monotonic() < until and not all(_has_left(r) or r in ended() for r in range(me.world_size)):
                time.sleep(0.02)
    _store = None


def ended() -> list[int]:
    """The numbers of the other processes on this machine that are there no more; of other machines, none are known."""
    here = socket.gethostname()
    return [rank for rank, (host, pid) in enumerate(_places) if host == here and not _is_there(pid)]


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", "rb") as file:  # one that nobody has asked after yet is a name without a process
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except ProcessLookupError:
        return False
    except OSError:  # another user's, or no Linux
        return True


def _has_left(rank: int) -> bool:
    """Whether a process has come to the end of the command."""
    return _store.check([f"left {rank}"])


def _others_ended() -> str:
    gone = ended()
    which = f"process {' and '.join(map(str, gone))}" if gone else "on another machine"
    return f"process {current().rank}: another process of this run has ended ({which}; killed, or was the memory full?)"


def first_to_tell() -> bool:
    """Whether no other process has told of a fault; one that has the same, or one in consequence, need not tell it."""
    if _store is None:
        return True
    try:
        return _store.add("faults told", 1) == 1
    except RuntimeError:  # kept by process 0 where torchrun does not, and that has gone
        return True


def end_with_others(number: int) -> None:
    """End now if another process of this run has ended, which is why torchrun sends SIGTERM.

    Raises:
        Terminated: it has.
    """
    if _store is None or number != signal.SIGTERM:
        return
    try:
        lost = [rank for rank in ended() if not _has_left(rank)]
    except RuntimeError:  # process 0 has gone
        lost = [0]
    if lost:
        signal.signal(number, signal.SIG_IGN)
        stopping.stop(number, _others_ended())


def _end(number: int, frame: object) -> None:
    """Tidy up and end: torchrun or a person wants it."""
    end_with_others(number)
    signal.signal(number, signal.SIG_IGN)
    stopping.stop(number)


def own_cores() -> int:
    """The cores this process may run on, or its share of them under torchrun."""
    return max(cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)), 1)
