"""What a model's fully connected layers answer in photographs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor, nn

from frcnn_cli.core.responses import Responses
from frcnn_cli.core.svd import Decomposition
from frcnn_cli.engine.checkpoint import Checkpoint
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.runtimes.torch_engine import TorchEngine
from frcnn_cli.errors import DataError
from frcnn_cli.progress import Track, silent

ROIS = 300
"""That are counted of each look at a photograph, evenly spaced among all."""


def responses_to(
    photographs: Sequence[Path], checkpoint: Checkpoint, layers: Sequence[str], track: Track = silent
) -> dict[str, Decomposition]:
    """Detect objects in photographs, and find the directions in which layers of the head vary meanwhile.

    Args:
        photographs: such as the model will see.
        checkpoint: of the model.
        layers: their names in ``model.head``.
        track: progress over the photographs.

    Raises:
        DataError: a photograph cannot be read, or there is no region of interest in any.
    """
    engine = TorchEngine.of(checkpoint)
    detector = Detector(engine)
    found = {name: Responses(getattr(engine.model.head, name).out_features) for name in layers}
    for name, responses in found.items():
        getattr(engine.model.head, name).register_forward_hook(_counting(responses))
    for path in track(photographs):
        detector.detect(path)
    try:
        return {name: responses.decomposition() for name, responses in found.items()}
    except ValueError as error:
        raise DataError(f"{photographs[0]} and {len(photographs) - 1} others: {error}") from error


def _counting(responses: Responses) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        responses.add(output[:: -(-len(output) // ROIS) or 1])

    return count
