"""fc6 and fc7 from a classifier: torchvision's own networks, with few units, are the oracle."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import AlexNet_Weights, VGG16_Weights, alexnet, vgg16

from frcnn_cli.core.backbones import backbone_config, build_backbone
from frcnn_cli.core.model import Architecture, Head
from frcnn_cli.engine.backbone_weights import load_backbone_weights
from frcnn_cli.errors import DataError

UNITS = 24
CHANNELS = {"vgg16": 512, "alexnet": 256}
BUILDERS = {"vgg16": vgg16, "alexnet": alexnet}


def small_network(name: str) -> nn.Module:
    """torchvision's network, with few units in place of 4096."""
    torch.manual_seed(1)
    network = BUILDERS[name](weights=None)
    linear = [i for i, layer in enumerate(network.classifier) if isinstance(layer, nn.Linear)]
    for i, inputs in zip(linear, (network.classifier[linear[0]].in_features, UNITS, UNITS), strict=True):
        network.classifier[i] = nn.Linear(inputs, UNITS)
    return network.eval()


@pytest.fixture(scope="module", params=["alexnet", "vgg16"])
def named_network(request) -> tuple[str, nn.Module]:
    return request.param, small_network(request.param)


@pytest.fixture(scope="module")
def weights(named_network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "network.pth"
    torch.save(named_network[1].state_dict(), path)
    return path


def new_head(name: str, width: int, roi_size: int | None = None) -> Head:
    """A head with the backbone's RoI size, if no other is given."""
    return Head(Architecture(name, 3, roi_size or backbone_config(name).roi_size, width), CHANNELS[name])


def fc6_and_fc7(head: Head, pooled: Tensor) -> Tensor:
    return head.fc7(F.relu(head.fc6(pooled.permute(0, 2, 3, 1).flatten(1))))


def pooled_features(network: nn.Module) -> Tensor:
    """What the network's own last pooling hands to its classifier; random weights let all but a trace of it fade."""
    with torch.no_grad():
        pooled = network.avgpool(network.features(torch.randn(2, 3, 224, 224)))
    return pooled / pooled.std()


def test_fc6_and_fc7_compute_what_the_classifier_does(named_network, weights):
    name, network = named_network
    backbone, head = build_backbone(name), new_head(name, UNITS)
    told = load_backbone_weights(backbone, name, str(weights), head=head)
    fc6, fc7 = backbone_config(name).classifier
    assert told == f"{weights}: fc6 and fc7 start from {fc6} and {fc7}"
    pooled = pooled_features(network)
    last = int(fc7.split(".")[1])
    with torch.no_grad():
        expected = network.classifier[: last + 1](pooled.flatten(1))
        torch.testing.assert_close(fc6_and_fc7(head, pooled), expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0.01


def test_a_narrower_head_is_the_classifier_with_the_other_units_dropped_out(named_network, weights):
    name, network = named_network
    width = 6
    head = new_head(name, width)
    told = load_backbone_weights(build_backbone(name), name, str(weights), head=head)
    fc6, fc7 = backbone_config(name).classifier
    assert told == f"{weights}: fc6 and fc7 start from the first 6 of the 24 units of {fc6} and {fc7}"
    layers = dict(network.named_modules())
    pooled = pooled_features(network)
    with torch.no_grad():
        hidden = F.relu(layers[fc6](pooled.flatten(1)))
        left = torch.arange(UNITS) < width
        expected = layers[fc7](hidden * left * (UNITS / width))[:, :width]  # as nn.Dropout scales what it leaves
        torch.testing.assert_close(fc6_and_fc7(head, pooled), expected, rtol=1e-4, atol=1e-5)


def without_classifier(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key.startswith("features.")}


def empty_classifier(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As in torchvision's VGG16_Weights.IMAGENET1K_FEATURES."""
    return {
        key: value if key.startswith("features.") else torch.full_like(value, torch.nan) for key, value in state.items()
    }


@pytest.mark.parametrize(
    ("change", "width", "roi_size", "why"),
    [
        (without_classifier, UNITS, 6, "no classifier.1 and classifier.4"),
        (empty_classifier, UNITS, 6, "no classifier.1 and classifier.4"),
        (dict, UNITS + 1, 6, "classifier.1 and classifier.4 are of another shape"),
        (dict, UNITS, 5, "classifier.1 and classifier.4 are of another shape"),
        (lambda state: {**state, "classifier.4.weight": torch.ones(3)}, UNITS, 6, "are of another shape"),
        (lambda state: {**state, "classifier.1.bias": torch.tensor(1.0)}, UNITS, 6, "are of another shape"),
    ],
    ids=["convolutions alone", "no numbers", "too few units", "another RoI size", "no matrix", "no vector"],
)
def test_where_the_classifier_does_not_fit_the_head_stays_random(tmp_path, change, width, roi_size, why):
    """And it is said; the backbone is filled all the same."""
    state = small_network("alexnet").state_dict()
    path = tmp_path / "weights.pth"
    torch.save(change(state), path)
    backbone, head = build_backbone("alexnet"), new_head("alexnet", width, roi_size)
    before = {key: value.clone() for key, value in head.state_dict().items()}
    told = load_backbone_weights(backbone, "alexnet", str(path), head=head)
    assert told.startswith(f"{path}: ")
    assert why in told
    assert told.endswith("so fc6 and fc7 start at random")
    assert all(torch.equal(value, before[key]) for key, value in head.state_dict().items())
    assert torch.equal(backbone.body[0].weight, state["features.0.weight"])


@pytest.mark.parametrize(("name", "weights"), [("vgg16", "none"), ("efficientnet_lite0", "imagenet")])
def test_nothing_to_tell_where_there_is_no_classifier(name, weights):
    head = Head(Architecture(name, 3, 2, 8), 320)
    before = head.fc6.weight.clone()
    assert load_backbone_weights(build_backbone(name), name, weights, head=head) == ""
    assert torch.equal(head.fc6.weight, before)


@pytest.mark.parametrize(
    ("name", "published"), [("vgg16", VGG16_Weights.IMAGENET1K_V1), ("alexnet", AlexNet_Weights.IMAGENET1K_V1)]
)
def test_imagenet_is_the_weights_with_a_classifier(tmp_path, monkeypatch, name, published):
    """From where torchvision keeps what it has downloaded, so that nothing is."""

    def no_network(*arguments, **options):
        raise URLError("no network in a test")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    kept = tmp_path / "hub" / "checkpoints" / Path(published.url).name
    kept.parent.mkdir(parents=True)
    state = small_network(name).state_dict()
    torch.save(state, kept)
    backbone, head = build_backbone(name), new_head(name, UNITS)
    told = load_backbone_weights(backbone, name, "imagenet", allow_download=True, head=head)
    assert told.startswith(f"ImageNet weights of {name}: fc6 and fc7 start from classifier.")
    assert torch.equal(backbone.body[0].weight, state["features.0.weight"])
    assert torch.equal(head.fc7.weight, state[f"{backbone_config(name).classifier[1]}.weight"])

    kept.unlink()
    with pytest.raises(DataError, match=f"^ImageNet weights of {name}: torchvision's .*no network in a test") as caught:
        load_backbone_weights(backbone, name, "imagenet", allow_download=True, head=head)
    assert "\n" not in str(caught.value)
