"""How pixels become a network's input. torch is imported when there are pixels: options are checked without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Normalisation:
    """How pixels become a network's input: (value * scale - mean) / std, channel by channel.

    It belongs to the weights: the same network trained elsewhere may expect BGR from 0 to 255.

    Attributes:
        order: ``RGB`` or ``BGR``.
        scale: applied to the uint8 value first.
        mean: one a channel, in the order of `order`.
        std: likewise.
    """

    order: str
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 RGB Tensor[3, H, W] -> float32 Tensor[3, H, W]."""
        import torch

        if self.order == "BGR":
            image = image.flip(0)
        mean = torch.tensor(self.mean).view(3, 1, 1)
        std = torch.tensor(self.std).view(3, 1, 1)
        return (image.float() * self.scale - mean) / std


NORMALISATIONS = {
    "imagenet": Normalisation("RGB", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": Normalisation("RGB", 1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "caffe": Normalisation("BGR", 1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    "vgg16-features": Normalisation("RGB", 1 / 255, (0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255)),
}
"""Which goes with which file of weights:

- ``imagenet``: torchvision's of the name IMAGENET1K_V1, and most of timm's.
- ``half``: TensorFlow's EfficientNets, such as the one that comes with the installation.
- ``caffe``: those converted from Caffe, Keras' VGG16 among them.
- ``vgg16-features``: torchvision's VGG16_Weights.IMAGENET1K_FEATURES, which SSD starts from.
"""
