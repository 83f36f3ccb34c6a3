"""`frcnn compress-svd`: a checkpoint in, a smaller and faster one out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from frcnn_cli.commands.console import out
from frcnn_cli.commands.fields import PATH, option_group
from frcnn_cli.engine.detector import find_model
from frcnn_cli.errors import UsageError
from frcnn_cli.replacing import check_replaced
from frcnn_cli.settings import setting

if TYPE_CHECKING:  # the engine brings torch, which --help and a wrong call do not wait for
    from frcnn_cli.engine.compression import LayerReport


@dataclass(frozen=True)
class CompressionOptions:
    """How small a model becomes.

    Attributes:
        fc6: rank.
        fc7: likewise.
        energy: share of the squared singular values to keep, in their place.
        half: float16 in the file.
        force: replace what is there and not ours.
    """

    fc6: int | None = setting(None, "The rank that fc6 is brought to.", metavar="T", least=1)
    fc7: int | None = setting(None, "The rank that fc7 is brought to.", metavar="T", least=1)
    energy: float | None = setting(
        None,
        "Instead of ranks: keep this share of each layer's squared singular values.",
        metavar="FRACTION",
        above=0,
        most=1,
    )
    half: bool = setting(False, "Store float16: half the file, the same computation.")
    force: bool = setting(False, "Replace a file that is there already and was not written by this program.")

    @property
    def ranks(self) -> dict[str, int]:
        """Those that were given."""
        return {name: rank for name, rank in (("fc6", self.fc6), ("fc7", self.fc7)) if rank is not None}


@click.command("compress-svd")
@click.argument("checkpoint", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE", help="The compressed checkpoint.")
@option_group(CompressionOptions, "options")
def compress_svd(checkpoint: Path, output: Path, options: CompressionOptions) -> None:
    """Make a model smaller and faster by truncated SVD of fc6 and fc7 (paper, section 3.1).

    Each layer becomes two: t x v without a bias, then u x t with it. The result is a checkpoint like any other. A rank
    pays off below u v / (u + v).

    \b
    frcnn compress-svd run/model.safetensors -o small.safetensors --fc6 1024 --fc7 256
    frcnn compress-svd run/model.safetensors -o small.safetensors --energy 0.9 --half
    """
    if (options.energy is None) == (not options.ranks):
        raise UsageError("give ranks (--fc6, --fc7) or --energy, and not both")
    find_model(checkpoint)
    check_replaced([output], options.force)
    import torch

    from frcnn_cli.engine.checkpoint import load_checkpoint, save_checkpoint
    from frcnn_cli.engine.compression import Compression

    size_before = checkpoint.stat().st_size
    try:
        compression = Compression(load_checkpoint(checkpoint))
    except UsageError as error:
        raise UsageError(f"{checkpoint}: {error}") from error
    ranks = options.ranks or compression.ranks_for_energy(options.energy)
    save_checkpoint(output, compression.apply(ranks), torch.float16 if options.half else torch.float32)
    _print_table(compression.report(ranks))
    sizes = f"{size_before / 1e6:.1f} MB -> {output.stat().st_size / 1e6:.1f} MB"
    out.print(f"{output}: {sizes} ({'float16' if options.half else 'float32'})")


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
