"""A run's options as TOML: ``config.toml``, which --config and --resume read back, and recipes.

Every option but those that say where to and what to do has its key, under its own name, in one of a few tables. A file
of --config is read before the other options and gives click their defaults, so that those of the command line win.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
import tomlkit
from tomlkit.exceptions import TOMLKitError

from frcnn_cli.commands.dataset_options import ClassNames
from frcnn_cli.commands.fields import Interval, Numbers, SettingOption
from frcnn_cli.commands.train_options import TABLES, table_of
from frcnn_cli.engine.model_config import BUILDING
from frcnn_cli.errors import DataError, UsageError
from frcnn_cli.files import atomic_write, read_text, reason

CONFIG_FILE = "config.toml"

VERSION = 1
"""Of the file; one that says nothing is of the first."""

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
        UsageError: it is of another version, a key is not an option's, or its value is of another type or outside the
            option's range.
    """
    return checked_values(path, read_toml(path), ctx)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file.

    Raises:
        DataError: the file is missing, cannot be read, or is not TOML.
    """
    try:
        return tomlkit.parse(read_text(path)).unwrap()
    except (TOMLKitError, RecursionError, ValueError) as error:
        raise DataError(f"{path}: not TOML ({reason(error)})") from error


def checked_values(path: Path, tables: Mapping[str, Any], ctx: click.Context) -> dict[str, Any]:
    """The values of a file's tables, by the names of the parameters, each of its option's type.

    Raises:
        UsageError: as `read_config`.
    """
    options = {param.name: param for param in ctx.command.params}
    keys = _tables(ctx.command.params)
    values = {}
    for table, content in tables.items():
        if table == "version":
            if type(content) is not int or content != VERSION:
                raise UsageError(f"{path}: version {content} of the file; this program reads {VERSION}")
            continue
        if table in TABLES and not isinstance(content, dict):
            raise UsageError(f"{path}: {table}: not one of the tables, which has one name in brackets, [{table}]")
        if table not in TABLES:
            names = ", ".join(f"[{name}]" for name in TABLES)
            raise UsageError(f"{path}: {table}: not one of the tables, which are {names}")
        for key, value in content.items():
            if keys.get(key) != table:
                raise UsageError(f"{path}: {table}.{key}: {_unknown(key, keys)}")
            name = key.replace("-", "_")
            try:
                values[name] = _checked(options[name], value, ctx)
            except click.BadParameter as fault:
                raise UsageError(f"{path}: {table}.{key}: {fault.message.rstrip('.')}") from None
    return values


def write_config(path: Path, options: Sequence[click.Parameter], values: Mapping[str, Any]) -> None:
    """Write a run's options, with what they mean; those without a value as comments.

    Paths are made absolute, so that the run can be taken up from anywhere.

    Args:
        path: the file.
        options: of the command.
        values: by the names of the parameters; options that have none belong to another kind of detector.

    Raises:
        DataError: the file cannot be written.
    """
    document = tomlkit.document()
    document.add(tomlkit.comment(HEADER))
    document.add("version", VERSION)
    document.add(tomlkit.nl())
    for name in TABLES:
        table = tomlkit.table()
        own = [option for option in options if table_of(option) == name and option.name in values]
        if not own:
            continue
        for option in own:
            key, value = option.name.replace("_", "-"), _stored(option, values)
            if value is None:
                table.add(tomlkit.comment(f"{key}: {option.help}"))
            else:
                table.add(key, tomlkit.item(value).comment(option.help))
        table.add(tomlkit.nl())
        document.add(name, table)
    with atomic_write(path) as temporary:
        try:
            temporary.write_text(tomlkit.dumps(document).rstrip("\n") + "\n", encoding="utf-8")
        except UnicodeEncodeError as error:
            near = error.object[max(error.start - 40, 0) : error.end]
            raise DataError(f"{path}: cannot be written (a name in it is no UTF-8: {near!r})") from error


def _tables(options: Sequence[click.Parameter]) -> dict[str, str]:
    """{key: its table}, of the options that have one."""
    return {option.name.replace("_", "-"): table_of(option) for option in options if table_of(option)}


def _stored(option: click.Option, values: Mapping[str, Any]) -> Any:
    """The TOML value of an option; None for none."""
    value = values[option.name]
    if value is None or (values["init"] and option.name in BUILDING):
        return None
    words = option.leaf.about.words if isinstance(option, SettingOption) else None
    if isinstance(value, Path) or (words is not None and value not in words):
        return str(Path(value).absolute())
    return list(value) if isinstance(value, tuple) else value


def _checked(option: click.Option, value: Any, ctx: click.Context) -> Any:
    """Return the value as the option's, if it is of its type, to the letter: click would make texts and numbers fit.

    Raises:
        click.BadParameter: it is not, or the option refuses it.
    """
    fits, wanted = _form(option)
    if not fits(value):
        raise click.BadParameter(f"{as_toml(value)} is not {wanted}")
    return option.process_value(ctx, value)


def as_toml(value: Any) -> str:
    """A value as a file of TOML says it, in one line."""
    return " ".join(tomlkit.item(value).as_string().split())


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
    if isinstance(kind, Interval):
        return lambda value: _is_whole(value) or _is_text(value), "a whole number or a text such as '10min'"
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


def _unknown(key: str, keys: Mapping[str, str]) -> str:
    """What is wrong with a key that the table should not have, and what may have been meant."""
    if key in keys:
        return f"belongs into [{keys[key]}]"
    near = get_close_matches(key, keys, n=1)
    return "no such option" + (f"; {keys[near[0]]}.{near[0]} is one" if near else "")
