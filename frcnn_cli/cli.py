"""The command `frcnn`: finds the subcommand, and turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from frcnn_cli import __version__
from frcnn_cli.engine import distributed
from frcnn_cli.errors import FrcnnError, Interrupted, UsageError

COMMANDS = {
    "propose": "Propose regions by selective search.",
    "train": "Train a detector on one's own images.",
    "compress-svd": "Make a trained model smaller and faster by truncated SVD.",
    "detect": "Find objects in photographs.",
    "eval": "Measure a model's average precision.",
    "export": "Write a model as an ONNX file.",
    "explain": "Explain Fast R-CNN on a photograph, in one page.",
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
def cli() -> None:
    """Fast R-CNN (Girshick, ICCV 2015): propose regions, train, compress, detect, evaluate.

    \b
    frcnn detect photo.jpg --save-dir found     find objects with the bundled model
    frcnn train --voc VOC --output run          train on a folder in VOC layout
    frcnn COMMAND --help                        everything about a command
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line, together with the other processes where torchrun started several.

    Returns:
        0; 1 for faulty data, 2 for a wrong call, 130 for Ctrl-C, 143 and 129 for SIGTERM and SIGHUP.
    """
    try:
        distributed.join()
        cli.main(args, prog_name="frcnn", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "frcnn"
        return _fail(f"{error.format_message()} (see '{where} --help')", 2)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except UsageError as error:
        return _fail(str(error), 2)
    except Interrupted as error:
        return _fail(str(error), error.code)
    except FrcnnError as error:
        return _fail(str(error), 1)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", 130)
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        distributed.leave()
    return 0


def _fail(message: str, code: int) -> int:
    if distributed.first_to_tell():
        click.echo(f"frcnn: {message}", err=True)
    return code
