"""The data of a training run: all its faults at once, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from frcnn_cli.commands.console import err
from frcnn_cli.commands.dataset_options import DatasetOptions
from frcnn_cli.commands.propose import make_proposals
from frcnn_cli.commands.train_options import Lists
from frcnn_cli.data.formats import FORMATS
from frcnn_cli.data.proposals import Proposals, has_proposals, known_suffix, open_proposals
from frcnn_cli.data.proposals.reuse import check_made_as, told_of_changes
from frcnn_cli.data.samples import Dataset, divide, join
from frcnn_cli.engine.distributed import own_cores
from frcnn_cli.engine.proposal_coverage import check_proposals
from frcnn_cli.errors import DataError, DatasetFaults
from frcnn_cli.metrics.proposal_recall import Coverage

FEW_OBJECTS = 5
"""A class with fewer is worth a warning: it may be a slip of the pen, and will hardly be learnt."""


@dataclass
class Part:
    """One of a run's data sets, and its proposals.

    Attributes:
        dataset: without what --skip-faulty left out.
        path: of the proposals; None if none are needed, or if neither they nor the run's folder are named, which only
            --check allows.
        proposals: None if they are still to be made.
        coverage: of the objects by the proposals that are there.
    """

    dataset: Dataset
    path: Path | None
    proposals: Proposals | None = None
    coverage: Coverage | None = None

    def warnings(self) -> Iterator[str]:
        """What is no fault, but worth knowing; one line each."""
        name, records = self.dataset.name, self.dataset.records
        empty = sum(not len(record.objects) for record in records)
        if empty:
            yield f"{name}: {empty} of {len(records)} images have no object"
        labels = np.concatenate([record.objects.labels for record in records])
        counts = np.bincount(labels, minlength=1 + len(self.dataset.classes))[1:]
        found = list(zip(self.dataset.classes, counts, strict=True))
        none = [name for name, n in found if n == 0]
        if none:
            yield f"{name}: no object of {_classes(none)}"
        few = [f"{name} {n}" for name, n in found if 0 < n < FEW_OBJECTS]
        if few:
            yield f"{name}: fewer than {FEW_OBJECTS} objects of {_classes(few)}"
        yield from self.proposal_warnings()

    def proposal_warnings(self) -> Iterator[str]:
        """The same of the proposals, once they are there."""
        if self.proposals is not None:
            yield from told_of_changes(self.proposals, self.dataset.records)
        if self.coverage is not None and self.coverage.num_objects:
            objects, missed = self.coverage.num_objects, int((self.coverage.overlaps[-1] < 0.5).sum())
            if missed:
                share = f"{missed} of {objects} objects ({missed / objects:.1%})"
                yield f"{self.dataset.name}: {share} have no proposal of IoU 0.5"

    def make_proposals(self, lists: Lists) -> None:
        """Take the proposals that are there, or make new ones.

        Raises:
            DataError: they cannot be made, or those that another part has made there do not fit.
        """
        if self.path is None:
            return
        if self.proposals is None and not has_proposals(self.path):
            err.print(f"{self.path}: not there, so the proposals of {self.dataset.name} are made first")
            workers = lists.workers or own_cores()
            make_proposals(list(self.dataset.records), self.path, lists.making, workers)
        if self.proposals is None:
            for fault in _open_proposals(self, lists):
                raise fault
            for line in self.proposal_warnings():
                err.print(line)


def load_data(
    data: DatasetOptions,
    lists: Lists,
    output: Path | None,
    classes: tuple[str, ...] | None = None,
    seed: int = 0,
    needs_proposals: bool = True,
) -> list[Part]:
    """Read what a run learns from and, if one is named, what it is measured on, and check all of it.

    Args:
        data: where it lies.
        lists: which parts of it, and their proposals.
        output: the run's folder, where proposals that have no other place are; None if it is not named.
        classes: of a model that is to be trained further; None: those of the first data set.
        seed: by which --val-fraction draws images.
        needs_proposals: whether the kind of detector learns from any.

    Raises:
        UsageError: no or two data sets are given, or a proposal file of an unknown suffix.
        DataError: every fault that was found.
    """
    parts: list[Part] = []
    faults: list[DataError] = []
    for source, split, further, path in _wanted(data, lists, output):
        if path is not None:
            known_suffix(path, lists.layout)
        dataset = _read(source, split, classes, faults)
        if dataset is not None:
            classes = classes or dataset.classes
        if further is not None:
            more = _read(data.at(further, "voc"), split, classes, faults)
            dataset = _joined(dataset, more, faults)
        if dataset is not None and data.validation_fraction:
            dataset, measured = divide(dataset, data.validation_fraction, seed)
            parts += [Part(dataset, path), Part(measured, _own(lists.val_proposals, "val", output))]
        elif dataset is not None:
            parts.append(Part(dataset, path))
    for part in parts:
        part.path = part.path if needs_proposals else None
        faults.extend(_open_proposals(part, lists))
    if faults:
        texts = dict.fromkeys(map(str, faults))  # two lists of one folder may lack the same
        raise DataError(*(line for text in texts for line in text.split("\n")))
    for part in parts:
        data.report(part.dataset)
    if len(parts) and not any(len(record.objects) for record in parts[0].dataset.records):
        raise DataError(f"{parts[0].dataset.name}: nothing to learn from: no image has an object")
    return parts


def _read(data: DatasetOptions, split: str, classes: tuple[str, ...] | None, faults: list[DataError]) -> Dataset | None:
    """The sound part of a data set, None if there is none; what is wrong is added to `faults`."""
    try:
        dataset = data.read(split, classes)
    except DataError as error:
        faults.append(error)
        return None
    found = data.faults_of(dataset)
    if found:
        faults.append(found)
    return dataset


def _joined(first: Dataset | None, second: Dataset | None, faults: list[DataError]) -> Dataset | None:
    if first is None or second is None:
        return first or second
    try:
        return join(first, second)
    except DataError as error:
        faults.append(error)
        return None


def _wanted(
    data: DatasetOptions, lists: Lists, output: Path | None
) -> Iterator[tuple[DatasetOptions, str, Path | None, Path | None]]:
    """Where the data sets lie, their split, a further VOC folder and their proposals."""
    yield data, lists.split, lists.add_voc, _own(lists.proposals, lists.split, output)
    name = lists.val_split or "val"
    path = _own(lists.val_proposals, name, output)
    if data.validation_place is not None:
        yield data.at(data.validation_place), "", None, path
    elif data.given and FORMATS[data.format].lists and lists.val_split:
        yield data, name, None, path


def _own(path: Path | None, split: str, output: Path | None) -> Path | None:
    """The file of a split's proposals: the one that is named, or that of the run's folder."""
    return path or (output / f"proposals-{split}.npz" if output else None)


def _classes(names: list[str]) -> str:
    return f"{len(names)} class{'es' * (len(names) != 1)}: {', '.join(names)}"


def _open_proposals(part: Part, lists: Lists) -> Iterator[DataError]:
    """Open a part's proposals, if they are there, and yield what is wrong with them."""
    if part.path is None or not has_proposals(part.path):
        return
    try:
        part.proposals = open_proposals(part.path, part.dataset.records, lists.layout)
        check_made_as(part.proposals, lists.asked_for)
    except DataError as error:
        yield error
        return
    faults, part.coverage = check_proposals(part.dataset, part.proposals)
    if faults:
        yield DatasetFaults(f"proposals of {part.dataset.name}", faults)
