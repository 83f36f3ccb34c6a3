"""Two small layers in the place of each fully connected one, in a checkpoint.

They are cut as the paper cuts them, by truncated SVD of the weights (section 3.1), or by what the layers answer in
photographs (`core.responses`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from frcnn_cli.core.svd import Decomposition, check_rank, compress, decompose, energy, rank_for_energy
from frcnn_cli.engine.checkpoint import Checkpoint
from frcnn_cli.engine.detectors import DETECTORS
from frcnn_cli.engine.responses import responses_to
from frcnn_cli.errors import UsageError
from frcnn_cli.progress import Track, silent


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


class Compression:
    """The layers of a checkpoint that are not compressed yet, and what compressing them would do.

    Args:
        checkpoint: of a kind of detector with layers that can be compressed.
        photographs: to cut the layers by their responses to; none for the paper's way.
        track: progress over the photographs.

    Raises:
        UsageError: it has none, or all are compressed already.
    """

    def __init__(self, checkpoint: Checkpoint, photographs: Sequence[Path] = (), track: Track = silent) -> None:
        kind = DETECTORS[checkpoint.kind]
        if not kind.compressible:
            raise UsageError(f"a {kind.title} has no layers to compress")
        keys = {name: f"head.{name}.weight" for name in kind.compressible}
        self.weights = {name: checkpoint.state[key] for name, key in keys.items() if key in checkpoint.state}
        if not self.weights:
            raise UsageError(f"{' and '.join(kind.compressible)} are compressed already")
        self.checkpoint = checkpoint
        self.photographs = photographs
        self._track = track

    @cached_property
    def decompositions(self) -> dict[str, Decomposition]:
        """Of each layer's weight, or of its responses.

        Raises:
            DataError: see `responses_to`.
        """
        if self.photographs:
            return responses_to(self.photographs, self.checkpoint, tuple(self.weights), self._track)
        return {name: decompose(weight) for name, weight in self.weights.items()}

    def ranks_for_energy(self, fraction: float) -> dict[str, int]:
        """The smallest ranks that keep a fraction (0 to 1] of each layer's squared singular values, or variance."""
        return {name: rank_for_energy(part.s, fraction) for name, part in self.decompositions.items()}

    def apply(self, ranks: Mapping[str, int]) -> Checkpoint:
        """The checkpoint with two layers in the place of each.

        Args:
            ranks: names of layers, such as ``fc6``, to the rank t of each.

        Raises:
            UsageError: a layer is compressed already, or a rank is out of range.
            DataError: see `decompositions`.
        """
        self.check(ranks)
        model = self.checkpoint.build()
        for name, rank in ranks.items():
            setattr(model.head, name, compress(getattr(model.head, name), rank, self.decompositions[name]))
        changed = {f"{name}_rank": rank for name, rank in ranks.items()}
        architecture = replace(self.checkpoint.architecture, **changed)
        return replace(self.checkpoint, architecture=architecture, state=model.state_dict())

    def check(self, ranks: Mapping[str, int]) -> None:
        """Refuse ranks that cannot be, before anything takes time.

        Raises:
            UsageError: a layer is compressed already, or a rank is out of range.
        """
        for name, rank in ranks.items():
            if name not in self.weights:
                before = getattr(self.checkpoint.architecture, f"{name}_rank")
                raise UsageError(f"{name} is compressed already (rank {before})")
            try:
                check_rank(rank, *self.weights[name].shape)
            except ValueError as error:
                raise UsageError(f"--{name}: {error}") from error

    def report(self, ranks: Mapping[str, int]) -> list[LayerReport]:
        """What these ranks leave of each layer."""
        return [self._report(name, ranks.get(name)) for name in self.weights]

    def _report(self, name: str, rank: int | None) -> LayerReport:
        kept = 1.0 if rank is None else float(energy(self.decompositions[name].s)[rank - 1])
        u, v = self.weights[name].shape
        return LayerReport(name, (u, v), rank, kept)
