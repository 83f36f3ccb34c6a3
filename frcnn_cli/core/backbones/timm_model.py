"""Any network of timm that gives feature maps: what a name means that is not in the table."""

from __future__ import annotations

from dataclasses import dataclass

import timm
from timm.models.efficientnet import EfficientNetFeatures
from torch import Tensor, nn

from frcnn_cli.core.backbones.kind import BackboneConfig
from frcnn_cli.core.backbones.network import NECK_REDUCTIONS, STRIDE, Backbone
from frcnn_cli.core.frozen_norm import absorb_frozen_norms
from frcnn_cli.core.necks import TopDownNeck
from frcnn_cli.core.normalisation import NORMALISATIONS, Normalisation
from frcnn_cli.errors import UsageError


@dataclass(frozen=True)
class TimmModel:
    """A network of timm, by its name there."""

    name: str

    @property
    def config(self) -> BackboneConfig:
        about = timm.get_pretrained_cfg(self.name)
        if about is None:
            return BackboneConfig(7, 1024, NORMALISATIONS["imagenet"], "none: timm has no weights of this model")
        return BackboneConfig(7, 1024, Normalisation("RGB", 1 / 255, about.mean, about.std), f"timm's {self.name}")

    def build(self, neck: int) -> Backbone:
        body = _stages_of_neck(self.name) if neck else _single_map(self.name)
        if isinstance(body, EfficientNetFeatures):
            absorb_frozen_norms(body)
        channels = body.feature_info.channels()
        if neck:
            return Backbone(body, neck, _shallow_parameters(body), TopDownNeck(channels, neck))
        return Backbone(body, channels[-1], _shallow_parameters(body))

    def imagenet_state(self, backbone: Backbone) -> dict[str, Tensor]:
        # Flat names ('blocks_1') are those of the features_only model itself, so that is what is asked for.
        indices = backbone.body.feature_info.out_indices
        return timm.create_model(self.name, pretrained=True, features_only=True, out_indices=indices).state_dict()


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
