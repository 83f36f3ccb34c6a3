"""A run's options as TOML: ``config.toml``, which --config and --resume read back.

Every option but those that say where to and what to do has its key, under its own name, in one of a few tables. The
file is read before the other options and gives click their defaults, so that those of the command line win.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
import tomlkit
from click.core import ParameterSource
from tomlkit.exceptions import TOMLKitError

from frcnn_cli.commands.dataset_options import ClassNames, dataset_parameters
from frcnn_cli.commands.options import Numbers
from frcnn_cli.errors import DataError, UsageError
from frcnn_cli.files import atomic_write, reason

CONFIG_FILE = "config.toml"

BUILDING = ("backbone", "backbone_weights", "normalisation", "neck", "fc_width", "roi_size", "class_agnostic")
"""What a new model is built by, and --init replaces."""

TABLES = {
    "data": (
        *(option.name for option in dataset_parameters(validation=True)), "split", "add_voc", "val_split",
        "proposals", "val_proposals", "mode", "max_proposals", "workers",
    ),
    "model": ("init", *BUILDING, "allow_download", "dropout"),
    "sampling": (
        "sampling", "images_per_batch", "rois_per_batch", "foreground_fraction", "foreground_iou", "background_iou",
    ),
    "images": ("short_side", "long_side", "flip", "colour_jitter", "balance"),
    "optimizer": (
        "iterations", "optimizer", "lr", "backbone_lr_factor", "momentum", "weight_decay", "schedule", "steps",
        "warmup", "loss_lambda", "normalise_targets", "ema", "precision", "images_per_pass",
    ),
    "run": ("seed", "device", "loaders", "checkpoint_every", "eval_every", "log_every"),
}  # fmt: skip
"""The tables of the file, and the options whose keys they hold."""

_KEYS = {name.replace("_", "-"): table for table, names in TABLES.items() for name in names}

HEADER = "The options of a run, for `frcnn train --config`; those named on the command line win. Paths are as there."


def use_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Callback of --config: the file's values become the defaults of the command's options."""
    if path is not None:
        ctx.default_map = read_config(path, ctx)
    return path


def use_run(ctx: click.Context, param: click.Parameter, folder: Path | None) -> Path | None:
    """Callback of --resume: likewise, with the file of the run's folder."""
    if folder is not None:
        path = folder / CONFIG_FILE
        if not path.exists():
            raise DataError(f"{path}: no such file; there is no run to resume in {folder}")
        ctx.default_map = read_config(path, ctx)
    return folder


def read_config(path: Path, ctx: click.Context) -> dict[str, Any]:
    """Read a file of options, and check it against those of the command.

    Returns:
        {name of the parameter: value}, of those that the file holds.

    Raises:
        DataError: the file is missing, cannot be read, or is not TOML.
        UsageError: a key is not an option's, or its value is of another type or outside the option's range.
    """
    try:
        tables = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({reason(error)})") from error
    except TOMLKitError as error:
        raise DataError(f"{path}: not TOML ({reason(error)})") from error
    options = {param.name: param for param in ctx.command.params}
    values = {}
    for table, content in tables.items():
        if table not in TABLES or not isinstance(content, dict):
            names = ", ".join(f"[{name}]" for name in TABLES)
            raise UsageError(f"{path}: {table}: not one of the tables, which are {names}")
        for key, value in content.items():
            if _KEYS.get(key) != table:
                raise UsageError(f"{path}: {table}.{key}: {_unknown(key)}")
            name = key.replace("-", "_")
            try:
                values[name] = _checked(options[name], value, ctx)
            except click.BadParameter as fault:
                raise UsageError(f"{path}: {table}.{key}: {fault.message.rstrip('.')}") from None
    return values


def write_config(path: Path, ctx: click.Context) -> None:
    """Write the options of a call, with what they mean; those without a value as comments.

    Paths are made absolute, so that the run can be taken up from anywhere.

    Raises:
        DataError: the file cannot be written.
    """
    help_of = {param.name: param.help for param in ctx.command.params if isinstance(param, click.Option)}
    document = tomlkit.document()
    document.add(tomlkit.comment(HEADER))
    for name, members in TABLES.items():
        table = tomlkit.table()
        for member in members:
            key, value = member.replace("_", "-"), _stored(member, ctx.params)
            if value is None:
                table.add(tomlkit.comment(f"{key}: {help_of[member]}"))
            else:
                table.add(key, tomlkit.item(value).comment(help_of[member]))
        table.add(tomlkit.nl())
        document.add(name, table)
    with atomic_write(path) as temporary:
        temporary.write_text(tomlkit.dumps(document).rstrip("\n") + "\n", encoding="utf-8")


def named(ctx: click.Context, name: str) -> bool:
    """Whether an option is on the command line."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _stored(name: str, params: Mapping[str, Any]) -> Any:
    """The TOML value of an option; None for none."""
    value = params[name]
    if value is None or (params["init"] and name in BUILDING):
        return None
    if isinstance(value, Path) or (name == "backbone_weights" and Path(value).is_file()):
        return str(Path(value).absolute())
    return list(value) if isinstance(value, tuple) else value


def _checked(option: click.Option, value: Any, ctx: click.Context) -> Any:
    """Return the value if it is of the option's type, to the letter: click would make texts and numbers fit.

    Raises:
        click.BadParameter: it is not, or the option refuses it.
    """
    fits, wanted = _form(option)
    if not fits(value):
        raise click.BadParameter(f"{tomlkit.item(value).as_string()} is not {wanted}")
    option.process_value(ctx, value)
    return value


def _form(option: click.Option) -> tuple[Callable[[Any], bool], str]:
    """What a TOML value for an option must be: a test, and its name."""
    kind = option.type
    if option.is_flag:
        return lambda value: type(value) is bool, "true or false"
    if isinstance(kind, click.types.IntParamType):
        return _is_whole, "a whole number"
    if isinstance(kind, click.types.FloatParamType):
        return _is_number, "a number"
    if isinstance(kind, click.Tuple):
        return lambda value: _all(value, _is_number) and len(value) == kind.arity, f"a list of {kind.arity} numbers"
    if isinstance(kind, Numbers):
        return lambda value: _is_whole(value) or _all(value, _is_whole), "a whole number or a list of them"
    if isinstance(kind, ClassNames):
        return lambda value: _all(value, _is_text), "a list of texts"
    return _is_text, "a text"


def _is_whole(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**63  # the bound is TOML's; true and false are of another type


def _is_number(value: Any) -> bool:
    return type(value) is float or _is_whole(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _all(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(fits, value))


def _unknown(key: str) -> str:
    """What is wrong with a key that the table should not have, and what may have been meant."""
    if key in _KEYS:
        return f"belongs into [{_KEYS[key]}]"
    near = get_close_matches(key, _KEYS, n=1)
    return "no such option" + (f"; {_KEYS[near[0]]}.{near[0]} is one" if near else "")
