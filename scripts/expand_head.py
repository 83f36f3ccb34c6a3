"""Undo the form of a compressed head: each pair of layers is multiplied out, so that training can go on at full rank.

    python scripts/expand_head.py small.safetensors -o full.safetensors

What the model computes stays the same; what the truncated SVD left out is not brought back.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from frcnn_cli.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

PATH = click.Path(path_type=Path)
INPUT = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("checkpoint", type=INPUT)
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE", help="The checkpoint to write, in float32.")
def main(checkpoint: Path, output: Path) -> None:
    """Multiply fc6 and fc7 out."""
    save_checkpoint(output, expanded(load_checkpoint(checkpoint)))


def expanded(checkpoint: Checkpoint) -> Checkpoint:
    """The same model with one layer in the place of each pair."""
    state = dict(checkpoint.state)
    for name in ("fc6", "fc7"):
        layer = f"head.{name}"
        if f"{layer}.first.weight" in state:
            first, second = (state.pop(f"{layer}.{part}.weight").float() for part in ("first", "second"))
            state[f"{layer}.weight"] = second @ first
            state[f"{layer}.bias"] = state.pop(f"{layer}.second.bias")
    return replace(checkpoint, architecture=replace(checkpoint.architecture, fc6_rank=None, fc7_rank=None), state=state)


if __name__ == "__main__":
    main()
