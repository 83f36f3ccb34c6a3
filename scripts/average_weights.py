"""The mean of two checkpoints' weights, as a checkpoint: what the bundled model's last step was.

    python scripts/average_weights.py run/sixth/model.safetensors start.safetensors -o mean.safetensors --share 0.6

Two models of which one was trained further from the other often lie in one valley, in whose middle the errors of both
are smaller (Wortsman et al., Model soups, ICML 2022).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
from torch import Tensor

from frcnn_cli.engine.checkpoint import load_checkpoint, save_checkpoint

PATH = click.Path(path_type=Path)
INPUT = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("first", type=INPUT)
@click.argument("second", type=INPUT)
@click.option("--output", "-o", type=PATH, required=True, help="The checkpoint to write.")
@click.option("--share", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Of the first.")
def main(first: Path, second: Path, output: Path, share: float) -> None:
    """Average two checkpoints of equal architecture and classes."""
    one, other = load_checkpoint(first), load_checkpoint(second)
    if (one.architecture, one.classes) != (other.architecture, other.classes):
        raise click.ClickException(f"{first} and {second}: of two architectures, or of different classes")
    state = {name: _mean(value, other.state[name], share) for name, value in one.state.items()}
    save_checkpoint(output, replace(one, state=state))


def _mean(one: Tensor, other: Tensor, share: float) -> Tensor:
    if not one.is_floating_point():
        return one
    return (share * one.float() + (1 - share) * other.float()).to(one.dtype)


if __name__ == "__main__":
    main()
