"""SPPnet: the image goes through the convolutions once at each size it is looked at, as in Fast R-CNN."""

from __future__ import annotations

from frcnn_cli.core.sppnet import SPPArchitecture, SPPNet
from frcnn_cli.engine.detectors import Kind
from frcnn_cli.engine.detectors.fast_rcnn import score

KIND = Kind(
    title="SPPnet",
    architecture=SPPArchitecture,
    build=SPPNet,
    score=score,
    compressible=("fc6", "fc7"),
)
