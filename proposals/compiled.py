"""How the kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit


def compiled(function: Callable) -> Callable:
    """Compile without the GIL, and keep the result for other processes if any folder can be written.

    Sums may be added up in another order (LLVM's ``reassoc``), which vectors need; every other rule of floating
    point holds, so a machine gives the same result on every run.
    """
    options = {"nogil": True, "fastmath": {"reassoc"}}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no such folder
        return njit(**options)(function)
