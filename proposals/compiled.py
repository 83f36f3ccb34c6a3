"""How the kernels are compiled.

Kernels are given the arrays that they fill: to make one, in numba, takes longer to compile than most loops.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

NONE = np.int64(0)
"""What a count starts from that goes to another kernel: for a plain 0 numba compiles that kernel once more."""


def compiled(function: Callable) -> Callable:
    """Compile without the GIL, and keep the result for other processes if any folder can be written.

    Sums may be added up in another order (LLVM's ``reassoc``), which vectors need; every other rule of floating
    point holds, so a machine gives the same result on every run. A division by zero gives what it does in NumPy:
    nothing is to be compiled for an exception.
    """
    options = {"nogil": True, "fastmath": {"reassoc"}, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no such folder
        return njit(**options)(function)
