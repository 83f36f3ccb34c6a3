"""Tasks on torch's own threads."""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

_Callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def run(task: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> None:
    """Call ``task(worker, *a)`` for every a of `arguments`, on as many threads as torch uses; worker is 0, 1, ...

    torch's threads stay awake for some milliseconds after an operator and keep their cores busy: threads of our own
    would run at half speed beside them. So the tasks run on those, through OpenMP's entry for compiled programs, where
    torch was built with it. Where not, or in a process forked from one whose threads it does not have, threads are
    made for the call.

    Raises:
        Exception: what a task raised, after all threads have ended.
    """
    pending, workers = itertools.count(), itertools.count()
    faults: list[BaseException] = []

    def work(_: object = None) -> None:
        worker = next(workers)
        try:
            while not faults and (i := next(pending)) < len(arguments):
                task(worker, *arguments[i])
        except BaseException as fault:
            faults.append(fault)

    count = min(torch.get_num_threads(), len(arguments))
    if count <= 1:
        work()
    elif _parallel is not None and os.getpid() == _process:
        _parallel(_Callback(work), None, count, 0)
    else:
        with ThreadPoolExecutor(count) as pool:
            for _ in range(count):
                pool.submit(work)
    if faults:
        raise faults[0]


def _openmp() -> Any:
    """GOMP_parallel(function, data, threads, flags) of the OpenMP library that torch has loaded, or None."""
    try:
        function = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):  # no such function; Windows has no global table to ask
        return None
    function.argtypes = (_Callback, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    function.restype = None
    return function


_parallel = _openmp()
_process = os.getpid()
