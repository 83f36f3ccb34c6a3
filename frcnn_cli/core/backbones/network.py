"""A backbone as a module: the network's body, what of it is frozen, and a neck where there is one."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from frcnn_cli.core.necks import TopDownNeck

STRIDE = 16
NECK_REDUCTIONS = (8, 16, 32)
"""Strides of the maps that a neck merges; its own map has the first of them."""

SMALLEST_INPUT = 64
"""Narrower images are padded to this many pixels, as AlexNet's three poolings leave nothing of less."""


class Backbone(nn.Module):
    """A feature extractor: Tensor[N, 3, H, W] -> Tensor[N, channels, ceil(H / stride), ceil(W / stride)].

    VGG16's map is up to one cell smaller and AlexNet's up to two: they drop what does not fill a pooling window.

    Attributes:
        body: the network; it gives one map, or those that the neck merges.
        neck: None where the body's map is the one.
        channels: of the feature map.
        stride: pixels of a cell.
        frozen: names of the parameters of the first stages, which stay as they are: everything up to the second
            pooling, as in the paper, where VGG16 learns from conv3_1 up (section 4.5); AlexNet's conv1.
    """

    def __init__(
        self, body: nn.Module, channels: int, frozen: tuple[str, ...], neck: TopDownNeck | None = None
    ) -> None:
        super().__init__()
        self.body = body
        self.neck = neck
        self.channels = channels
        self.stride = NECK_REDUCTIONS[0] if neck else STRIDE
        self.frozen = frozen

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if min(height, width) < SMALLEST_INPUT:
            images = F.pad(images, (0, max(SMALLEST_INPUT - width, 0), 0, max(SMALLEST_INPUT - height, 0)))
        features = self.body(images)
        if self.neck is not None:
            return self.neck(features)
        return features[0] if isinstance(features, list) else features

    def freeze(self) -> None:
        """Stop the first stages and every batch norm from learning."""
        for name, parameter in self.body.named_parameters():
            if name in self.frozen:
                parameter.requires_grad_(False)
        for module in self.body.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.requires_grad_(False)

    def train(self, mode: bool = True) -> Backbone:
        """Batch norm always normalises with its stored statistics: two images are too few to measure new ones."""
        super().train(mode)
        for module in self.body.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


def first_parameters(body: nn.Sequential, layers: int) -> tuple[str, ...]:
    """Return the names of the parameters of the first so many layers."""
    return tuple(name for name, _ in body.named_parameters() if int(name.split(".")[0]) < layers)
