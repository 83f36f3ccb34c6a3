"""The convolutional networks Fast R-CNN starts from: images in, one feature map out.

`vgg16` and `alexnet` are the paper's (without their last pooling layer, section 2.2), with a map at stride 16; a name
that is not in the table is looked up in timm, and gives a map at stride 16, or at stride 8 with a neck. They are built
with random weights here; `engine.backbone_weights` fills them.

To add one, write a module like that of `vgg16`, with a `BackboneKind` in it, and add its line to `BACKBONES`. Names and
defaults can be had without torch, which is imported when a network is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_cli.core.backbones.kind import BackboneConfig, BackboneKind
from frcnn_cli.core.normalisation import NORMALISATIONS, Normalisation
from frcnn_cli.errors import UsageError
from frcnn_cli.tables import Table

if TYPE_CHECKING:
    from frcnn_cli.core.backbones.network import Backbone

__all__ = [
    "BACKBONES",
    "DEFAULT_BACKBONE",
    "NORMALISATIONS",
    "BackboneConfig",
    "BackboneKind",
    "Normalisation",
    "backbone_config",
    "build_backbone",
    "find_backbone",
]

DEFAULT_BACKBONE = "efficientnet_lite0"

BACKBONES: Table[BackboneKind] = Table(
    "backbone",
    {
        "efficientnet_lite0": "frcnn_cli.core.backbones.efficientnet_lite0:BACKBONE",
        "vgg16": "frcnn_cli.core.backbones.vgg16:BACKBONE",
        "alexnet": "frcnn_cli.core.backbones.alexnet:BACKBONE",
    },
)


def find_backbone(name: str) -> BackboneKind:
    """Return the member of a name, or else timm's network of that name.

    Raises:
        UsageError: neither ours nor timm's.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    import timm

    from frcnn_cli.core.backbones.timm_model import TimmModel

    if not timm.is_model(name):
        raise UsageError(f"unknown backbone {name!r}: use {', '.join(BACKBONES)} or a model name of timm")
    return TimmModel(name)


def backbone_config(name: str) -> BackboneConfig:
    """Return the defaults of a backbone.

    Raises:
        UsageError: neither ours nor timm's.
    """
    return find_backbone(name).config


def build_backbone(name: str, neck: int = 0) -> Backbone:
    """Build a backbone with random weights.

    Args:
        name: of the table, or a model of timm.
        neck: channels of a neck that merges its maps at stride 8, 16 and 32; 0 for a single map at stride 16.

    Raises:
        UsageError: the name is unknown, or the network has no such feature maps.
    """
    return find_backbone(name).build(neck)
