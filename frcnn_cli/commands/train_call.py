"""A call of `frcnn train`: its options in typed groups, with a recipe's values where nobody has decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from frcnn_cli.commands.dataset_options import DatasetCommand, DatasetOptions, dataset_parameters
from frcnn_cli.commands.fields import setting_options
from frcnn_cli.commands.train_config import use_config, use_run
from frcnn_cli.commands.train_options import GROUPS, TABLES, Length, Lists, Machine, Task, table_of
from frcnn_cli.commands.train_recipe import Recipe, read_recipe, recipe_for
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.model_config import BUILDING, BUNDLED, ModelConfig
from frcnn_cli.engine.training_config import TrainingConfig, iterations_of
from frcnn_cli.errors import DataError, UsageError
from frcnn_cli.settings import build, flat, leaves, value_at

if TYPE_CHECKING:
    from frcnn_cli.engine.checkpoint import Checkpoint


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
        recipe: what the values are from that nobody has decided.
        named: the options on the command line.
        decided: those, and the ones that a file of --config or --resume holds.
        places: the values of the options that `data` is made of.
    """

    data: DatasetOptions
    task: Task
    lists: Lists
    model: ModelConfig
    length: Length
    training: TrainingConfig
    machine: Machine
    recipe: Recipe = field(default_factory=Recipe)
    named: frozenset[str] = frozenset()
    decided: frozenset[str] = frozenset()
    places: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, ctx: click.Context) -> TrainCall:
        """Take the options of a call, and a recipe's where nobody has decided.

        Raises:
            UsageError: options that do not go together or would have no effect, which is a misunderstanding; no such
                recipe.
            DataError: a file is missing or cannot be read.
        """
        data = DatasetOptions.of(ctx)
        named = frozenset(name for name in ctx.params if _is_named(ctx, name))
        decided = named | frozenset(ctx.default_map or ())
        recipe = recipe_for(ctx)
        values = {**ctx.params, **{name: value for name, value in recipe.values.items() if name not in decided}}
        if _rank("iterations", named, decided, recipe) > _rank("epochs", named, decided, recipe):
            values["epochs"] = None
        elif {"iterations", "epochs"} <= decided:
            raise UsageError("--iterations and --epochs both say how long to train; give one of the two")
        if values["resume"] and "output" not in named:
            values["output"] = values["resume"]
        _check_images_per_batch(values, named)
        groups = (build(group, values) for group in GROUPS)
        own = {name for group in GROUPS for name in flat(group())}
        places = {name: value for name, value in ctx.params.items() if name not in own}
        call = cls(data, *groups, recipe, named, decided, places)
        call._check()
        return call

    def for_data(self, dataset: Dataset) -> TrainCall:
        """The same with what depends on the data settled: the number of iterations, and the detector to start from."""
        training, model = self.training, self.model
        if self.length.epochs:
            count = iterations_of(self.length.epochs, len(dataset), training.sampling.images_per_batch)
            least = 1 if "epochs" in self.decided else self.recipe.least_iterations
            training = replace(training, iterations=max(count, least))
        if self.recipe.start_from_bundled and not self.decided & {"init", *BUILDING} and _is_known(dataset.classes):
            model = replace(model, init=BUNDLED)
        return replace(self, training=training, model=model, length=Length())

    def values(self) -> dict[str, Any]:
        """Every option's value by the name of its parameter, as config.toml holds them."""
        groups = (self.task, self.lists, self.model, self.length, self.training, self.machine)
        values = {**self.places, **{name: value for group in groups for name, value in flat(group).items()}}
        return {**values, "recipe": self.recipe_name}

    @property
    def recipe_name(self) -> str | None:
        """The recipe of the run, which a resumed one has from its config.toml."""
        return self.task.recipe or self.recipe.name or None

    def check_lasting(self, begun: Checkpoint) -> None:
        """Refuse to change what the state of a run is made for, on the command line or in its config.toml.

        Raises:
            UsageError: an option differs from what the run was begun with.
        """
        from frcnn_cli.core.backbones import NORMALISATIONS

        normalisations = {normalisation: name for name, normalisation in NORMALISATIONS.items()}
        made_with = {
            **begun.training,
            **asdict(begun.architecture),
            "normalisation": normalisations.get(begun.normalisation, "another"),
        }
        for group in (self.model, self.training):
            for leaf in leaves(type(group)):
                if not leaf.about.lasting or leaf.name not in self.decided:
                    continue
                value, before = value_at(group, leaf.path), made_with.get(leaf.path[0], leaf.default)
                if value != before:
                    flag = f"--{leaf.key} {value}"
                    raise UsageError(f"{flag}: the run in {self.task.output} was begun with {before}")

    def _check(self) -> None:
        """Refuse options that do not go together, or that would have no effect."""
        task, sampling = self.task, self.training.sampling
        if task.resume:
            why = "--resume goes on in its own folder, from its own state"
            self._refuse(("output", "init", "config", "recipe"), why)
        elif task.output is None and not (task.check or task.plot):
            raise UsageError("where to? give --output DIR, or --resume DIR")
        if self.model.init:
            self._refuse(BUILDING, "the model of --init is as it is")
        if sampling.rois_per_batch < sampling.images_per_batch:
            raise UsageError("--rois-per-batch must be at least --images-per-batch: each image gives one RoI or more")
        files = ((self.model.init, (BUNDLED,)), (self.model.backbone_weights, ("imagenet", "none")))
        for file, words in files:
            if file is not None and file not in words and not Path(file).is_file():
                raise DataError(f"{file}: no such file")

    def _refuse(self, names: Iterable[str], why: str) -> None:
        for name in names:
            if name in self.named:
                raise UsageError(f"--{name.replace('_', '-')}: {why}")


class TrainCommand(DatasetCommand):
    """A command that gets a `TrainCall`, and whose help shows its options under the tables of config.toml."""

    def __init__(self, *args: Any, params: list[click.Parameter], **attributes: Any) -> None:
        options = setting_options(*GROUPS)
        for option in options:
            if option.name in CALLBACKS:  # before the others, to which they give defaults
                option.is_eager, option.callback = True, CALLBACKS[option.name]
        super().__init__(*args, params=[*params, *options], validation=True, **attributes)

    def _all(self) -> list[click.Parameter]:
        return [*dataset_parameters(validation=True), *self._own]

    def invoke(self, ctx: click.Context) -> Any:
        return ctx.invoke(self.callback, call=TrainCall.parse(ctx))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under the tables of config.toml, with the recipe `auto` beside the defaults."""
        auto = read_recipe("auto", ctx).values
        sections: dict[str, list[tuple[str, str]]] = dict.fromkeys(("Options", *map("[{}]".format, TABLES)), ())
        for param in [*self.params, self.get_help_option(ctx)]:
            table = table_of(param) if param in self.params else None
            name, text = param.get_help_record(ctx)
            if param.name in auto:
                text = text.replace("  [", f"  [auto: {param.typed(auto[param.name])}; ")
            sections[f"[{table}]" if table else "Options"] += ((name, text),)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


CALLBACKS = {"config": use_config, "resume": use_run}


def _is_named(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _check_images_per_batch(values: Mapping[str, Any], named: frozenset[str]) -> None:
    images, rois = values["images_per_batch"], values["rois_per_batch"]
    if values["sampling"] == "region-wise" and "images_per_batch" in named and images != rois:
        raise UsageError(
            f"--images-per-batch {images}: with --sampling region-wise each of the {rois} RoIs is from another image"
        )


def _rank(name: str, named: frozenset[str], decided: frozenset[str], recipe: Recipe) -> int:
    """How much an option's value counts: the command line over a file, a file over a recipe, that over a default."""
    return (name in named) + (name in decided) + (name in decided or name in recipe.values)


def _is_known(classes: Iterable[str]) -> bool:
    """Whether the bundled detector knows all of these classes."""
    from frcnn_cli.engine.checkpoint import load_checkpoint
    from frcnn_cli.engine.detector import BUNDLED_MODEL

    return set(classes) <= set(load_checkpoint(BUNDLED_MODEL).classes)
