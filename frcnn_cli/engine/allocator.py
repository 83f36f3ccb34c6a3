"""Memory that a training step frees is kept for the next, which wants the same again."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Numbers of mallopt(3)."""


def keep_freed_memory() -> bool:
    """Have glibc hand nothing back to the system in this process; without glibc nothing happens.

    By itself it maps every large tensor anew, and the system clears its pages: about a tenth of a step on a CPU.
    The most memory that training takes does not change by more than a hundredth. A program that frees and allocates one
    size again and again may come to hold some copies of it: an aligned block is cut from one a little larger.

    Returns:
        Whether it does.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**26))
    return all([mallopt(name, value) for name, value in settings])
