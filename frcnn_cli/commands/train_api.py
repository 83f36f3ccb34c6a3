"""`frcnn_cli.train`: `frcnn train` as a function, for a notebook or a program."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from frcnn_cli.commands.train import train as command
from frcnn_cli.engine.run_files import MODEL_FILE
from frcnn_cli.errors import UsageError

if TYPE_CHECKING:
    from frcnn_cli.engine.detector import Detector


def train(**options: Any) -> Detector | None:
    """Train a detector, as the command `frcnn train` does.

    Args:
        options: those of the command, with ``_`` for ``-``: ``voc="birds", val_split="val", output="run", lr=3e-4``. A
            flag is True or False; of several numbers or names, a list. None stands for an option that is not named.

    Returns:
        The detector with the latest weights, on the CPU; None with `check` or `plot`, which train nothing.

    Raises:
        UsageError: no such option, or a value that it does not take.
        DataError: whatever is wrong with the data, all of it.
        Interrupted: Ctrl-C came, and what was done is saved.
    """
    try:
        with command.make_context("train", list(_arguments(options))) as context:
            command.invoke(context)
    except click.UsageError as error:
        raise UsageError(error.format_message()) from error
    if options.get("check") or options.get("plot"):
        return None
    from frcnn_cli.engine.detector import Detector

    return Detector.load((context.params["output"] or context.params["resume"]) / MODEL_FILE)


def _arguments(options: dict[str, Any]) -> Iterable[str]:
    """The words of a command line that says the same."""
    known = {param.name: param for param in command.params}
    for name, value in options.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise UsageError(f"no option {name!r}" + (f"; was {near[0]!r} meant?" if near else ""))
        option = known[name]
        if value is None:
            continue
        if option.is_flag and isinstance(value, bool):
            names = option.opts if value else option.secondary_opts
            yield from names[:1]
        elif option.nargs > 1:
            if not isinstance(value, (list, tuple)) or len(value) != option.nargs:
                raise UsageError(f"{name}: {value!r} is not a list of {option.nargs} numbers")
            yield from (option.opts[0], *map(str, value))
        else:
            text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            yield f"{option.opts[0]}={text}"
