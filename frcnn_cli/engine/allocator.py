"""Freed memory: a training step's is kept for the next, which wants the same again; that of detections is given back,
as images of other sizes want other blocks."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Numbers of mallopt(3)."""


EVERY = 20
"""Images after which freed memory is given back."""


def give_back_freed_memory() -> None:
    """Have glibc hand the freed pages between its blocks back to the system; without glibc nothing happens.

    Blocks of one size leave gaps that those of another do not fill, and a small one at the end keeps all below it. Over
    80 photographs of 37 sizes, 160 MB come together. Taking pages anew costs milliseconds.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


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
