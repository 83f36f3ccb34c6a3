"""Memory for large tensors that is used again.

The system hands out 200 MB as 50,000 zeroed pages, which takes several times as long as to pool into them, and takes
them back when the tensor is gone, call after call. Here they are kept for the next tensor of about that size.
"""

from __future__ import annotations

import math
import mmap
import weakref
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # arrays of NumPy are pooled without torch
    import torch
    from torch import Tensor

LARGE = 2**20
"""Bytes from which on memory is kept; below, torch's own allocation is as fast."""

_KEPT = 6
"""Blocks at most: the results and working memory of one forward and one backward pass."""

_HUGE_PAGE = 2**21

_free: list[mmap.mmap] = []


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """torch.empty on the CPU, at a multiple of 64 bytes; its memory comes back here when no tensor uses it any more.

    At most six blocks wait for use; all of them are given up as soon as none is right for a new tensor.
    """
    import torch

    owner = _large(math.prod(shape) * dtype.itemsize)
    return torch.empty(shape, dtype=dtype) if owner is None else torch.from_numpy(owner).view(dtype).view(shape)


def empty_array(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """The same for an array of NumPy."""
    owner = _large(math.prod(shape) * np.dtype(dtype).itemsize)
    return np.empty(shape, dtype) if owner is None else owner.view(dtype).reshape(shape)


def _large(size: int) -> np.ndarray | None:
    """So many bytes, uint8 [size], of memory that is kept; None where they are too few for that."""
    if size < LARGE or not hasattr(mmap, "MAP_PRIVATE"):  # Windows
        return None
    block = _take(size)
    owner = np.frombuffer(block, np.uint8, size)
    weakref.finalize(owner, _give_back, block).atexit = False
    return owner


def _take(size: int) -> mmap.mmap:
    # Without a lock: a finalizer may run at any line. remove() takes a block once, whoever comes first.
    for block in sorted(_free, key=len):
        if size <= len(block) <= 4 * size:
            try:
                _free.remove(block)
            except ValueError:
                continue
            return block
    _free.clear()
    step = 1 << (size.bit_length() - 3)  # a little more, which costs nothing until it is used: the next may be larger
    block = mmap.mmap(-1, -(-size // step) * step, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE") and size >= _HUGE_PAGE:
        block.madvise(mmap.MADV_HUGEPAGE, 0, size // _HUGE_PAGE * _HUGE_PAGE)
    return block


def _give_back(block: mmap.mmap) -> None:
    _free.append(block)
    del _free[:-_KEPT]
