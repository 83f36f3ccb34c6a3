"""What a model's fully connected layers answer in photographs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor, nn

from frcnn_cli.core.responses import Responses
from frcnn_cli.core.svd import Decomposition
from frcnn_cli.engine.checkpoint import Checkpoint
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detector import Detector, detect_file
from frcnn_cli.engine.runtimes.torch_engine import TorchEngine
from frcnn_cli.errors import DataError
from frcnn_cli.progress import Track, silent

LOOK = DetectionConfig(max_proposals=300, refine=300, refine_flip=False)
"""At the likeliest regions as the search proposes them, and where the first look moved them."""


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
        DataError: a photograph cannot be read, there is no region of interest in any, or an answer is not finite.
    """
    engine = TorchEngine.of(checkpoint)
    detector = Detector(engine)
    parts = {name: getattr(engine.model.head, name) for name in layers}
    found = {name: Responses(layer.out_features) for name, layer in parts.items()}
    for name, responses in found.items():
        parts[name].register_forward_hook(_counting(responses))
    for path in track(photographs):
        detect_file(detector, path, path.stem, config=LOOK)
    try:
        return {name: responses.decomposition(parts[name].weight) for name, responses in found.items()}
    except ValueError as error:
        raise DataError(f"{photographs[0].parent}: {error}") from error


def _counting(responses: Responses) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        responses.add(output)

    return count
