"""`frcnn compress-svd`: a checkpoint in, a smaller and faster one out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import torch
from rich.table import Table

from frcnn_cli.commands.console import out
from frcnn_cli.commands.options import PATH
from frcnn_cli.core.svd import decompose, energy, rank_for_energy
from frcnn_cli.engine.checkpoint import Checkpoint, compress_checkpoint, load_checkpoint, save_checkpoint
from frcnn_cli.errors import UsageError

LAYERS = ("fc6", "fc7")


@dataclass(frozen=True)
class LayerReport:
    """One layer, u x v; rank is None where it is left whole."""

    name: str
    shape: tuple[int, int]
    rank: int | None
    energy: float

    @property
    def before(self) -> int:
        """Weights, each one multiply-add for a RoI (u biases come on top)."""
        u, v = self.shape
        return u * v

    @property
    def after(self) -> int:
        """The same, of what the layer has become."""
        return self.before if self.rank is None else self.rank * sum(self.shape)


@click.command("compress-svd")
@click.argument("checkpoint", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE", help="The compressed checkpoint.")
@click.option("--fc6", type=click.IntRange(1), metavar="T", help="Rank of fc6.")
@click.option("--fc7", type=click.IntRange(1), metavar="T", help="Rank of fc7.")
@click.option(
    "--energy",
    "fraction",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="FRACTION",
    help="Instead of ranks: keep this share of each layer's squared singular values.",
)
@click.option("--half", is_flag=True, help="Store float16: half the file, the same computation.")
def compress_svd(
    checkpoint: Path, output: Path, fc6: int | None, fc7: int | None, fraction: float | None, half: bool
) -> None:
    """Make a model smaller and faster by truncated SVD of fc6 and fc7 (paper, section 3.1).

    Each layer becomes two: t x v without a bias, then u x t with it. The result is a checkpoint like any other. A rank
    pays off below u v / (u + v).

    \b
    frcnn compress-svd run/model.safetensors -o small.safetensors --fc6 1024 --fc7 256
    frcnn compress-svd run/model.safetensors -o small.safetensors --energy 0.9 --half
    """
    if (fraction is None) == (fc6 is None and fc7 is None):
        raise UsageError("give ranks (--fc6, --fc7) or --energy, and not both")
    before = load_checkpoint(checkpoint)
    size_before = checkpoint.stat().st_size
    weights = _weights(before)
    decompositions = {name: decompose(weight) for name, weight in weights.items()}
    values = {name: decomposition.s for name, decomposition in decompositions.items()}
    ranks = {"fc6": fc6, "fc7": fc7}
    if fraction is not None:
        ranks = {name: rank_for_energy(values[name], fraction) for name in weights}
    ranks = {name: rank for name, rank in ranks.items() if rank is not None}
    after = compress_checkpoint(before, ranks, decompositions)
    save_checkpoint(output, after, torch.float16 if half else torch.float32)
    _print_table([_report(name, weights[name], values[name], ranks.get(name)) for name in weights])
    sizes = f"{size_before / 1e6:.1f} MB -> {output.stat().st_size / 1e6:.1f} MB"
    out.print(f"{output}: {sizes} ({'float16' if half else 'float32'})")


def _weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The layers that are not compressed yet."""
    names = {name: f"head.{name}.weight" for name in LAYERS}
    weights = {name: checkpoint.state[key] for name, key in names.items() if key in checkpoint.state}
    if not weights:
        raise UsageError("fc6 and fc7 are compressed already")
    return weights


def _report(name: str, weight: torch.Tensor, values: torch.Tensor, rank: int | None) -> LayerReport:
    u, v = weight.shape
    return LayerReport(name, (u, v), rank, 1.0 if rank is None else float(energy(values)[rank - 1]))


def _print_table(layers: list[LayerReport]) -> None:
    table = Table("layer", "weights", "energy", "parameters", "multiply-adds")
    for column in table.columns[2:]:
        column.justify = "right"
    for layer in layers:
        u, v = layer.shape
        table.add_row(layer.name, f"{u}x{v}", "100%", f"{layer.before + u:,}", f"{layer.before:,}")
        if layer.rank is not None:
            t = layer.rank
            table.add_row(
                f"-> t={t}", f"{t}x{v}, {u}x{t}", f"{layer.energy:.2%}", f"{layer.after + u:,}", f"{layer.after:,}"
            )
        table.add_section()
    if len(layers) > 1:
        before, after = sum(layer.before for layer in layers), sum(layer.after for layer in layers)
        biases = sum(layer.shape[0] for layer in layers)
        table.add_row("both", "", "", f"{before + biases:,}", f"{before:,}")
        table.add_row("->", "", "", f"{after + biases:,}", f"{after:,}")
    out.print(table)
    out.print("energy: share of the squared singular values; multiply-adds: for each RoI")
