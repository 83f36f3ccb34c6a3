"""Batches that other processes prepare: the same ones, and no room in shared memory is a fault that is told."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from frcnn_cli.engine.loading import prepared_batches
from frcnn_cli.errors import DataError


@dataclass
class Numbers:
    """Stands for a batch: tensors, some of them in lists."""

    one: Tensor
    several: list[Tensor]
    name: str


class Counted(Dataset):
    """Batch i holds i, in 40 kB and 4 kB."""

    def __getitem__(self, number: int) -> Numbers:
        return Numbers(torch.full((10_000,), number), [torch.full((1000,), number)], str(number))


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_come_in_order(workers):
    for number, batch in zip(range(3, 7), prepared_batches(Counted(), 3, 7, workers), strict=True):
        assert bool((batch.one == number).all())
        assert bool((batch.several[0] == number).all())
        assert batch.name == str(number)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 on forking beside threads
def test_no_room_in_shared_memory_is_told_and_nothing_hangs(full_disk):
    with full_disk(2000):  # a file in shared memory is one, too
        found = list(prepared_batches(Counted(), 0, 2, 1))
    assert len(found) == 2
    for fault in found:
        assert isinstance(fault, DataError)
        assert str(fault).startswith("a batch finds no room in shared memory (")
        assert "--loaders 0 does without" in str(fault)
