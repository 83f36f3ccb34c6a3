"""The command `frcnn`: finds the subcommand, and turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from frcnn_cli import __version__, stopping
from frcnn_cli.edge import DEBUG, end_at_once, ending_signals, open_streams, outcome, quieten, take_debug
from frcnn_cli.engine import distributed
from frcnn_cli.text import visible

COMMANDS = {
    "propose": "Propose regions by selective search.",
    "train": "Train a detector on one's own images.",
    "compress-svd": "Make a trained model smaller and faster by truncated SVD.",
    "detect": "Find objects in photographs.",
    "eval": "Measure a model's average precision.",
    "export": "Write a model as an ONNX file.",
    "lineage": "Train and measure R-CNN, SPPnet and successors side by side.",
    "explain": "Explain Fast R-CNN on a photograph, in one page.",
    "doctor": "Say what this installation has, and test it.",
}
"""Name -> summary; each lives in the module of its name in `frcnn_cli.commands`."""


class LazyGroup(click.Group):
    """Imports a subcommand when it is asked for: `frcnn --help` does not wait for torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = name.replace("-", "_")
        return getattr(importlib.import_module(f"frcnn_cli.commands.{module}"), module)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"no such command {args[0]!r}; there are {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="frcnn")
@click.option("--debug", is_flag=True, expose_value=False, help="With any command: show where a fault came from.")
def cli() -> None:
    """Fast R-CNN (Girshick, ICCV 2015): propose regions, train, compress, detect, evaluate.

    \b
    frcnn detect photo.jpg --save-dir found     find objects with the bundled model
    frcnn train --voc VOC --output run          train on a folder in VOC layout
    frcnn COMMAND --help                        everything about a command
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line, together with the other processes where torchrun started several.

    Args:
        args: its words; None for those of this program, whose streams and warnings are then put in order.

    Returns:
        0; 1 for faulty data, 2 for a wrong call, 130 for Ctrl-C, 143 and 129 for SIGTERM and SIGHUP.
    """
    words, debug = take_debug(sys.argv[1:] if args is None else args)
    if args is not None:
        return _run(words, debug)
    open_streams()
    if debug:
        os.environ[DEBUG] = "1"  # for the processes that are started
    else:
        quieten()
    code = _run(words, debug)
    # The others, and torchrun, wait for this one; and whoever has stopped a command does not want to wait for threads.
    if (code and distributed.current().world_size > 1) or code > 128:
        end_at_once(code)
    return code


def _run(words: list[str], debug: bool) -> int:
    with ending_signals(debug) as as_before:
        try:
            distributed.join()
            cli.main(words, prog_name="frcnn", standalone_mode=False)
            sys.stdout.flush()
            stopping.check()
            return 0
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            return 2
        except (Exception, KeyboardInterrupt) as error:
            as_before()  # another signal ends it without a word
            if debug:
                click.echo(visible(traceback.format_exc()), err=True)
            return _fail(*outcome(error, stopping.noted()))
        finally:
            distributed.leave()


def _fail(message: str, code: int) -> int:
    if message and distributed.first_to_tell():
        click.echo(visible(f"frcnn: {message}"), err=True)
    return code
