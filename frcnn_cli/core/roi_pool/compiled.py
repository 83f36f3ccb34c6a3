"""How the CPU kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit


def compiled(function: Callable) -> Callable:
    """Compile without the GIL, and keep the result for other processes if any folder can be written."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba found no such folder
        return njit(nogil=True)(function)
