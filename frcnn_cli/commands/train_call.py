"""A call of `frcnn train`: its options in typed groups, with a recipe's values where nobody has decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from frcnn_cli.commands.dataset_options import DatasetCommand, DatasetOptions, dataset_parameters
from frcnn_cli.commands.fields import SettingOption, is_typed, setting_options
from frcnn_cli.commands.train_config import use_config, use_run
from frcnn_cli.commands.train_options import TABLES, Length, Lists, Machine, Task, table_of
from frcnn_cli.commands.train_recipe import Recipe, read_recipe, recipe_for
from frcnn_cli.core.backbones import BACKBONES
from frcnn_cli.core.normalisation import NORMALISATIONS
from frcnn_cli.data.formats import FORMATS
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.detectors import FAST_RCNN
from frcnn_cli.engine.learners import LEARNERS, NO_OPTIONS, Learner
from frcnn_cli.engine.model_config import BUILDING, BUNDLED, ModelConfig
from frcnn_cli.engine.training_config import TrainingConfig, iterations_of
from frcnn_cli.errors import MissingFile, UsageError
from frcnn_cli.settings import Leaf, build, flat, leaves, value_at

if TYPE_CHECKING:
    from frcnn_cli.engine.checkpoint import Checkpoint

GROUPS = {
    "task": Task,
    "lists": Lists,
    "model": ModelConfig,
    "length": Length,
    "training": TrainingConfig,
    "machine": Machine,
}
"""All options of every kind of detector but those that say where the data lie, in the order of --help."""

PROPOSALS = ("proposals", "val_proposals", "mode", "max_proposals", "workers")
"""Options that mean nothing to a kind that proposes its own boxes."""


@dataclass(frozen=True)
class TrainCall:
    """What is wanted of a training run.

    Attributes:
        data: where the images are.
        task: what to do.
        lists: which images, and their proposals.
        model: what learns.
        length: how long, in epochs.
        training: how.
        machine: on what.
        own: what only this kind of detector has, an instance of its learner's `options`.
        recipe: what the values are from that nobody has decided.
        named: the options on the command line.
        decided: those, and the ones that a file of --config or --resume holds.
        as_given: values that config.toml keeps as they came: where the data lie, and N of region-wise sampling.
    """

    data: DatasetOptions
    task: Task
    lists: Lists
    model: ModelConfig
    length: Length
    training: TrainingConfig
    machine: Machine
    own: Any = NO_OPTIONS
    recipe: Recipe = field(default_factory=Recipe)
    named: frozenset[str] = frozenset()
    decided: frozenset[str] = frozenset()
    as_given: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, ctx: click.Context) -> TrainCall:
        """Take the options of a call, and a recipe's where nobody has decided.

        Raises:
            UsageError: options that do not go together or would have no effect, which is a misunderstanding; no such
                recipe.
            DataError: a file is missing or cannot be read.
        """
        data = DatasetOptions.of(ctx)
        named = frozenset(name for name in ctx.params if is_typed(ctx, name))
        decided = named | frozenset(ctx.default_map or ())
        recipe = recipe_for(ctx, named, decided)
        values = {**ctx.params, **recipe.values}
        learner = LEARNERS[values["detector"]]
        if not values["resume"]:
            values |= {name: value for name, value in learner.defaults.items() if name not in decided}
        _settle_length(values, (named, decided - named, frozenset(recipe.values)))
        if values["resume"]:
            values["output"] = values["resume"]
        elif named & set(BUILDING) and "init" not in named:
            values["init"] = None  # of a file: an option that says how a model is built asks for a new one
        _check_values(values, named)
        groups = {name: build(group, values) for name, group in GROUPS.items()}
        groups["own"] = build(learner.options, values)
        settings = _setting_names()
        as_given = {name: value for name, value in ctx.params.items() if name not in settings}
        call = cls(data, **groups, recipe=recipe, named=named, decided=decided, as_given=as_given)
        call._check()
        return replace(call, as_given={**as_given, "images_per_batch": values["images_per_batch"]})

    def for_data(self, dataset: Dataset) -> TrainCall:
        """The same with what depends on the data settled: the number of iterations, and the detector to start from."""
        training, model = self.training, self.model
        if self.length.epochs:
            training = self._of_epochs(self.length.epochs, len(dataset))
        bundled = self.recipe.start_from_bundled and self.model.detector == FAST_RCNN
        if bundled and not self.decided & {"init", *BUILDING} and _is_known(dataset.classes):
            model = replace(model, init=BUNDLED)
        return replace(self, training=training, model=model, length=Length())

    def values(self) -> dict[str, Any]:
        """Every option's value by the name of its parameter, as config.toml holds them."""
        groups = [flat(getattr(self, name)) for name in (*GROUPS, "own")]
        values = {name: value for group in groups for name, value in group.items()}
        return {**values, **self.as_given, "recipe": self.recipe_name}

    @property
    def recipe_name(self) -> str | None:
        """The recipe of the run, which a resumed one has from its config.toml."""
        return self.recipe.name or self.task.recipe

    def check_lasting(self, latest: Checkpoint) -> None:
        """Refuse to change what the state of a run is made for, on the command line or in its config.toml.

        Raises:
            UsageError: an option differs from what the run was begun with.
        """
        names = {normalisation: name for name, normalisation in NORMALISATIONS.items()}
        made_with = {
            **latest.training,
            **asdict(latest.architecture),
            "detector": latest.kind,
            "normalisation": names.get(latest.normalisation, "another"),
        }
        for group in (self.model, self.training, self.own):
            for leaf in leaves(type(group)):
                if not leaf.about.lasting or leaf.name not in self.decided or leaf.name in self.learner.unused:
                    continue
                value = value_at(group, leaf.path)
                try:
                    before = value_at(made_with, leaf.path)
                except KeyError:  # an option that is newer than the run
                    before = leaf.default
                if value != before:
                    flag = f"--{leaf.key} {value}"
                    raise UsageError(f"{flag}: the run in {self.task.output} was begun with {before}")

    @property
    def learner(self) -> Learner:
        """How the kind of detector learns."""
        return LEARNERS[self.model.detector]

    def check_kind(self, start: Checkpoint) -> None:
        """Refuse to start from a detector of another kind, but for one that this kind can begin with.

        Raises:
            UsageError: it is of another.
        """
        if start.kind not in (self.model.detector, *self.learner.starts_from):
            raise UsageError(f"--init {self.model.init}: of the kind {start.kind}, not {self.model.detector}")

    def _of_epochs(self, epochs: float, images: int) -> TrainingConfig:
        """The recipe for so many passes over the images; steps that nobody named keep their place in the run."""
        training, schedule = self.training, self.training.schedule
        count = iterations_of(epochs, images, training.sampling.images_per_batch)
        if "epochs" not in self.decided:
            count = max(count, self.recipe.least_iterations)
        if "steps" not in self.decided:
            steps = tuple(max(round(step * count / training.iterations), 1) for step in schedule.steps)
            schedule = replace(schedule, steps=steps)
        return replace(training, iterations=count, schedule=schedule)

    def _check(self) -> None:
        """Refuse options that do not go together, or that would have no effect."""
        if self.task.resume:
            why = "--resume goes on in its own folder, from its own state"
            self._refuse(("output", "init", "config", "recipe"), why)
        elif self.task.output is None and not (self.task.check or self.task.plot):
            raise UsageError("where to? give --output DIR, or --resume DIR")
        self._check_kind()
        if self.model.init:
            own = (leaf.name for leaf in leaves(self.learner.options) if leaf.about.building)
            self._refuse((*BUILDING, *own), "the model of --init is as it is")
        if self.training.schedule.kind == "cosine":
            self._refuse(("steps",), "the learning rate falls along a cosine; --schedule step has steps")
        if self.training.optimizer == "adamw":
            self._refuse(("momentum",), "AdamW has none; --optimizer sgd has")
        self._check_lists()
        if not self.task.resume:  # whose state has the weights
            self._check_weights()

    def _check_kind(self) -> None:
        """Refuse options that mean nothing to this kind of detector."""
        detector, learner = self.model.detector, self.learner
        own = {leaf.name for leaf in leaves(learner.options)}
        for leaf in _own_leaves():
            if leaf.name not in own:
                others = [name for name in LEARNERS if leaf in leaves(LEARNERS[name].options)]
                self._refuse((leaf.name,), f"belongs to --detector {' or '.join(others)}")
        if not learner.needs_proposals:
            self._refuse(PROPOSALS, f"--detector {detector} proposes its own boxes")
        for name, why in learner.unused.items():
            self._refuse((name,), why)

    def _check_lists(self) -> None:
        """Refuse a way to name what to measure on that belongs to another format."""
        if not self.data.given:
            return
        form = self.data.format
        own = "--val-split NAME" if FORMATS[form].lists else f"--val-{form} {FORMATS[form].metavar}"
        others = {f"val_{name}" for name, other in FORMATS.items() if name != form and not other.lists}
        if not FORMATS[form].lists:
            others.add("val_split")
        self._refuse(others, f"what to measure on is named by {own} beside --{form}")

    def _check_weights(self) -> None:
        """Find out at once that the weights to start from are not to be had."""
        init, name, weights = self.model.init, self.model.backbone, self.model.backbone_weights
        if init is not None:
            if init != BUNDLED and not Path(init).is_file():
                raise MissingFile(f"{init}: no such file")
        elif weights not in ("imagenet", "none"):
            if not Path(weights).is_file():
                raise MissingFile(f"{weights}: no such file (--backbone-weights takes imagenet, none or a file)")
        elif weights == "imagenet" and name in BACKBONES:
            config = BACKBONES[name].config
            if not (config.bundled or self.model.allow_download):
                raise UsageError(config.needs_download(name))

    def _refuse(self, names: Iterable[str], why: str) -> None:
        for name in names:
            if name in self.named:
                raise UsageError(f"--{name.replace('_', '-')}: {why}")


class TrainCommand(DatasetCommand):
    """A command that gets a `TrainCall`, and whose help shows its options under the tables of config.toml."""

    def __init__(self, *args: Any, params: list[click.Parameter], **attributes: Any) -> None:
        options = setting_options(*GROUPS.values())
        for option in options:
            if option.name in CALLBACKS:  # before the others, to which they give defaults
                option.is_eager, option.callback = True, CALLBACKS[option.name]
        super().__init__(*args, params=[*params, *options], validation=True, **attributes)

    def _all(self) -> list[click.Parameter]:
        return [*dataset_parameters(validation=True), *self._own, *map(SettingOption, _own_leaves())]

    def invoke(self, ctx: click.Context) -> Any:
        return ctx.invoke(self.callback, call=TrainCall.parse(ctx))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under the tables of config.toml, with the recipe `auto` beside the defaults."""
        ctx.meta["recipe auto"] = read_recipe("auto", ctx).values
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], **{f"[{table}]": [] for table in TABLES}}
        params = self.get_params(ctx)
        for param in params:
            table = None if param not in self.params else table_of(param)
            sections[f"[{table}]" if table else "Options"].append(param.get_help_record(ctx))
        for title, records in sections.items():
            if not records:
                continue
            with formatter.section(title):
                formatter.write_dl(records)


CALLBACKS = {"config": use_config, "resume": use_run}


def _own_leaves() -> list[Leaf]:
    """The options that only some kinds of detector have; kinds that share one have the same of that name."""
    return list({leaf.name: leaf for learner in LEARNERS.values() for leaf in leaves(learner.options)}.values())


def _setting_names() -> set[str]:
    """The names of all options that are fields of settings."""
    return {leaf.name for group in GROUPS.values() for leaf in leaves(group)} | {leaf.name for leaf in _own_leaves()}


def _settle_length(values: dict[str, Any], layers: Sequence[frozenset[str]]) -> None:
    """Keep one of iterations and epochs: that of the first layer which names either.

    Raises:
        UsageError: a layer names both.
    """
    for layer in layers:
        found = layer & {"iterations", "epochs"}
        if len(found) == 2:
            raise UsageError("--iterations and --epochs both say how long to train; give one of the two")
        if found:
            if "iterations" in found:
                values["epochs"] = None
            return


def _check_values(values: Mapping[str, Any], named: frozenset[str]) -> None:
    """Refuse numbers of images and RoIs that do not go together."""
    images, rois = values["images_per_batch"], values["rois_per_batch"]
    if values["sampling"] == "region-wise":
        if "images_per_batch" in named and images != rois:
            why = f"with --sampling region-wise each of the {rois} RoIs is from another image"
            raise UsageError(f"--images-per-batch {images}: {why}")
    elif rois < images:
        raise UsageError("--rois-per-batch must be at least --images-per-batch: each image gives one RoI or more")


def _is_known(classes: Iterable[str]) -> bool:
    """Whether the bundled detector knows all of these classes."""
    from frcnn_cli.engine.checkpoint import load_checkpoint
    from frcnn_cli.engine.detector import BUNDLED_MODEL

    return set(classes) <= set(load_checkpoint(BUNDLED_MODEL).classes)
