"""The options that name a data set, made of the table of formats, and what they mean."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from frcnn_cli.commands.console import err, progress_bar
from frcnn_cli.commands.fields import PATH, Real, is_typed
from frcnn_cli.data.checks import check_images
from frcnn_cli.data.formats import FORMATS, Format, Reading
from frcnn_cli.data.formats.voc import VOC_CLASSES
from frcnn_cli.data.proposals.shards import Shard
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.distributed import current
from frcnn_cli.errors import DatasetFaults, UsageError, group_faults
from frcnn_cli.files import read_text


class Place(click.Path):
    """A path to a data set; without a value, the format's own place."""

    def __init__(self, form: Format) -> None:
        super().__init__(path_type=Path)
        self.default_place = form.default_place

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if self.default_place is not None and value == str(self.default_place):
            return self.default_place.find()
        return super().convert(value, param, ctx)


class ClassNames(click.ParamType):
    """``cat,dog``, a file with a name a line, or ``voc`` for its 20, as a tuple; of a configuration file, a list."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = value
        if value == "voc":
            names = VOC_CLASSES
        elif isinstance(value, str):
            is_file = value.endswith((".txt", ".names")) or (os.path.exists(value) and not os.path.isdir(value))
            names = read_text(value).split("\n") if is_file else value.split(",")
            if not any(map(str.strip, names)):
                self.fail(f"{value!r} names no class", param, ctx)
        return tuple(name.strip() for name in names if name.strip())


@dataclass(frozen=True)
class DatasetOptions:
    """Where a data set lies, in which format, and how it is read.

    Attributes:
        format: its name in `FORMATS`; None where no data set is named.
        place: the folder or file.
        validation_place: that of ``--val-NAME``, for formats whose splits are places of their own.
        images: the folder of ``--images``.
        validation_fraction: of the images, to measure on, where they have no place or list of their own.
        classes: the names of ``--classes``.
        only: the names of ``--only``.
        skip_faulty: leave what is faulty out.
        strict: see `Reading`.
        unannotated_empty: see `Reading`.
        follow_outside: see `Reading`.
        all_faults: show every fault, rather than the first of many that are alike.
    """

    format: str | None = None
    place: Path | None = None
    validation_place: Path | None = None
    validation_fraction: float | None = None
    images: Path | None = None
    classes: tuple[str, ...] | None = None
    only: tuple[str, ...] | None = None
    skip_faulty: bool = False
    strict: bool = False
    unannotated_empty: bool = False
    follow_outside: bool = False
    all_faults: bool = False

    @classmethod
    def of(cls, ctx: click.Context) -> DatasetOptions:
        """What the parameters of a call say.

        A data set of the command line takes the place of a configuration file's, even if it is in another format; the
        latter is then taken out of ``ctx.params``.

        Raises:
            UsageError: two data sets are named, or two options contradict each other.
        """
        named = [name for name in FORMATS if ctx.params[name] is not None]
        typed = [name for name in named if is_typed(ctx, name)]
        if typed:
            ctx.params.update({name: None for name in named if name not in typed})
            named = typed
        if len(named) > 1:
            count = "two" if len(named) == 2 else len(named)
            raise UsageError(f"{_join([f'--{name}' for name in named], 'and')} are {count} layouts: give one")
        name = named[0] if named else None
        _refuse_both(ctx, "classes", "only", "--classes names all classes, --only those to keep: give one of the two")
        for other in (f"val_{name}", "val_split"):
            why = "--val-fraction takes images from those to learn from: name no others to measure on"
            _refuse_both(ctx, "val_fraction", other, why)
        return cls(
            format=name,
            place=ctx.params.get(name),
            validation_place=ctx.params.get(f"val_{name}"),
            validation_fraction=ctx.params.get("val_fraction"),
            images=ctx.params["images"],
            classes=ctx.params["classes"] or None,
            only=ctx.params["only"] or None,
            skip_faulty=ctx.params["skip_faulty"],
            strict=ctx.params["strict"],
            unannotated_empty=ctx.params["unannotated_empty"],
            follow_outside=ctx.params["follow_outside"],
            all_faults=ctx.params["all_faults"],
        )

    @property
    def given(self) -> bool:
        """Whether the user named a data set at all."""
        return self.format is not None

    def at(self, place: Path, format: str | None = None) -> DatasetOptions:
        """The same options for another data set, of the same format where none is named."""
        return replace(self, place=place, format=format or self.format)

    def load(self, split: str, classes: tuple[str, ...] | None = None, shard: Shard | None = None) -> Dataset:
        """Read one split, decode every image once, and say on stderr what was left out.

        Args:
            split: the list to read, in formats that have several in one place.
            classes: where the user named none.
            shard: the part to keep; the images of the others are not decoded.

        Raises:
            UsageError: no data set is named, or the folder of its images is not.
            DatasetFaults: everything wrong with annotations and images, unless --skip-faulty.
            DataError: whatever else the format's `load` raises.
        """
        dataset = self.read(split, classes, shard)
        faults = self.faults_of(dataset)
        if faults:
            raise faults
        self.report(dataset)
        return dataset

    def faults_of(self, dataset: Dataset) -> DatasetFaults | None:
        """The faults of a data set that was read, if there are any and they are not to be skipped."""
        if self.skip_faulty or not dataset.skipped:
            return None
        return DatasetFaults(dataset.name, dataset.skipped, self.all_faults)

    def report(self, dataset: Dataset) -> None:
        """Say on stderr what was left out, and what else is worth knowing about how a data set was read."""
        if current().rank > 0:
            return
        if dataset.skipped:
            lines = dataset.skipped if self.all_faults else group_faults(dataset.skipped)
            err.print(f"{dataset.name}: {len(dataset.skipped)} faults skipped")
            for line in lines:
                err.print(f"  {line}")
        for note in dataset.notes:
            err.print(f"{dataset.name}: {note}")

    def read(self, split: str, classes: tuple[str, ...] | None = None, shard: Shard | None = None) -> Dataset:
        """As `load`, but leave it to the caller what to do about the faults, which are in `skipped`.

        Raises:
            UsageError: as `load`.
            DataError: as `load`, and if no image is left.
        """
        if self.format is None:
            raise UsageError(f"which images? give {', or '.join(map(_call, FORMATS))}")
        form = FORMATS[self.format]
        if form.needs_images and self.images is None:
            raise UsageError(f"--{self.format} needs --images, the folder of its images")
        reading = Reading(
            split,
            self.images,
            None if self.only else self.classes or classes,
            self.only,
            skip_faulty=True,
            strict=self.strict,
            unannotated_empty=self.unannotated_empty,
            follow_outside=self.follow_outside,
        )
        try:
            dataset = form.load(self.place, reading)
            if shard:
                dataset = replace(dataset, records=tuple(shard.part(dataset.records)))
            return check_images(dataset, skip_faulty=True, track=progress_bar("checking"))
        except DatasetFaults as error:
            raise DatasetFaults(error.name, error.faults, self.all_faults) from None


def format_flags(has: Callable[[Format], bool] = lambda form: True, last: str = "or") -> str:
    """The options of all formats, or of those that have something, in a phrase: ``--voc or --coco``."""
    return _join([f"--{name}" for name, form in FORMATS.items() if has(form)], last)


def with_lists(form: Format) -> bool:
    """Whether --split chooses from what a place holds; for `format_flags`."""
    return form.lists


def dataset_parameters(validation: bool = False) -> list[click.Option]:
    """The options that name a data set, as the table of formats is now.

    Args:
        validation: add ``--val-NAME`` of each format whose splits are places of their own.
    """
    options = [_place_option(name, form) for name, form in FORMATS.items()]
    if validation:
        options += [_validation_option(name, form) for name, form in FORMATS.items() if not form.lists]
        options.append(
            click.Option(
                ["--val-fraction"],
                type=Real(0, 1, min_open=True, max_open=True),
                help="Measure on this part of the images, drawn at random, and learn from the others.",
            )
        )
    needing = [f"--{name}" for name, form in FORMATS.items() if form.needs_images]
    return [
        *options,
        click.Option(
            ["--images"], type=PATH, metavar="DIR", help=f"The folder of the images of {_join(needing, 'or')}."
        ),
        click.Option(
            ["--classes"],
            type=ClassNames(),
            metavar="A,B,...|FILE|voc",
            help="Names of the classes, or VOC's 20; others are faults.  [default: those of the annotations]",
        ),
        click.Option(
            ["--only"],
            type=ClassNames(),
            metavar="A,B,...|FILE",
            help="Read objects of these classes and pass over all others.",
        ),
        click.Option(
            ["--skip-faulty"], is_flag=True, help="Leave faulty objects and images out, and list what was left out."
        ),
        click.Option(
            ["--strict"], is_flag=True, help="Take boxes that leave their image by a little for faults, not clip them."
        ),
        click.Option(
            ["--unannotated-empty"],
            is_flag=True,
            help="Take images without an annotation file for images without objects.",
        ),
        click.Option(
            ["--follow-outside"],
            is_flag=True,
            help="Read images that names of the data set lead to outside of its folder, as ../b/a.jpg does.",
        ),
        click.Option(
            ["--all-faults"], is_flag=True, help="List every fault, not the first of many that are alike only."
        ),
    ]


class DatasetCommand(click.Command):
    """A command with the options of a data set after its own, and a `DatasetOptions` as its argument `data`.

    Options are made of the table of formats at every call, so that a format may be added at any time.

    Args:
        validation: as for `dataset_parameters`.
    """

    def __init__(self, *args: Any, validation: bool = False, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.validation = validation
        self._own = self.params
        self.params = self._all()

    def _all(self) -> list[click.Parameter]:
        return [*self._own, *dataset_parameters(self.validation)]

    def make_context(self, *args: Any, **settings: Any) -> click.Context:
        command = copy(self)
        command.params = self._all()
        return super(DatasetCommand, command).make_context(*args, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        data = DatasetOptions.of(ctx)
        own = {param.name: ctx.params[param.name] for param in self._own if param.name in ctx.params}
        return ctx.invoke(self.callback, data=data, **own)


def _refuse_both(ctx: click.Context, first: str, second: str, why: str) -> None:
    """Refuse two options that contradict each other; one on the command line replaces the other of a file."""
    given = [name for name in (first, second) if ctx.params.get(name)]
    if len(given) == 2:
        of_file = [name for name in given if not is_typed(ctx, name)]
        if len(of_file) != 1:
            raise UsageError(why)
        ctx.params[of_file[0]] = None


def _place_option(name: str, form: Format) -> click.Option:
    if form.default_place is None:
        return click.Option([f"--{name}"], type=Place(form), metavar=form.metavar, help=form.help)
    return click.Option(
        [f"--{name}"],
        type=Place(form),
        is_flag=False,
        flag_value=str(form.default_place),
        metavar=f"[{form.metavar}]",
        help=f"{form.help}  [without a value: {form.default_place}]",
    )


def _validation_option(name: str, form: Format) -> click.Option:
    beside = ", with the same --images" if form.needs_images else ""
    return click.Option(
        [f"--val-{name}"],
        type=Place(form),
        metavar=form.metavar,
        help=f"A second place of --{name} to measure on{beside}; without it nothing is measured.",
    )


def _call(name: str) -> str:
    form = FORMATS[name]
    return f"--{name} {form.metavar}" + (" with --images DIR" if form.needs_images else "")


def _join(words: list[str], last: str) -> str:
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), words[-1] if words else "")))
