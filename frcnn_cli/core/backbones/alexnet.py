"""AlexNet, like the paper's small model "S" (Krizhevsky et al., NIPS 2012): conv5, 256 channels at stride 16."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_cli.core.backbones.kind import OLD_NETWORKS_FC_STD, BackboneConfig
from frcnn_cli.core.normalisation import NORMALISATIONS
from frcnn_cli.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from frcnn_cli.core.backbones.network import Backbone


class AlexNet:
    """torchvision's network."""

    config = BackboneConfig(
        roi_size=6,
        fc_width=4096,
        normalisation=NORMALISATIONS["imagenet"],
        source="torchvision's AlexNet_Weights.IMAGENET1K_V1",
        fc_std=OLD_NETWORKS_FC_STD,
        recipe="paper",
        classifier=("classifier.1", "classifier.4"),
    )

    def build(self, neck: int) -> Backbone:
        from torchvision.models import alexnet

        from frcnn_cli.core.backbones.network import Backbone, first_parameters

        if neck:
            raise UsageError("alexnet has no neck: the paper's networks give one map")
        body = alexnet(weights=None).features[:-1]
        return Backbone(body, 256, first_parameters(body, 3))  # conv1 stays as it is

    def imagenet_state(self, backbone: Backbone) -> dict[str, Tensor]:
        from torchvision.models import AlexNet_Weights

        return AlexNet_Weights.IMAGENET1K_V1.get_state_dict(weights_only=True)


BACKBONE = AlexNet()
