"""VGG16, the paper's large model "L" (Simonyan and Zisserman, ICLR 2015): conv5_3, 512 channels at stride 16."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_cli.core.backbones.kind import OLD_NETWORKS_FC_STD, BackboneConfig
from frcnn_cli.core.normalisation import NORMALISATIONS
from frcnn_cli.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from frcnn_cli.core.backbones.network import Backbone


class VGG16:
    """torchvision's network, from IMAGENET1K_V1: its IMAGENET1K_FEATURES has no fc6 and fc7."""

    config = BackboneConfig(
        roi_size=7,
        fc_width=4096,
        normalisation=NORMALISATIONS["imagenet"],
        source="torchvision's VGG16_Weights.IMAGENET1K_V1",
        fc_std=OLD_NETWORKS_FC_STD,
        recipe="paper",
        classifier=("classifier.0", "classifier.3"),
    )

    def build(self, neck: int) -> Backbone:
        from torchvision.models import vgg16

        from frcnn_cli.core.backbones.network import Backbone, first_parameters

        if neck:
            raise UsageError("vgg16 has no neck: the paper's networks give one map")
        body = vgg16(weights=None).features[:-1]
        return Backbone(body, 512, first_parameters(body, 10))  # conv1_1 to conv2_2 stay as they are

    def imagenet_state(self, backbone: Backbone) -> dict[str, Tensor]:
        from torchvision.models import VGG16_Weights

        return VGG16_Weights.IMAGENET1K_V1.get_state_dict(weights_only=True)


BACKBONE = VGG16()
