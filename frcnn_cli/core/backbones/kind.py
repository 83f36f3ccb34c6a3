"""What a backbone tells of itself: the protocol that each member of the table follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from frcnn_cli.core.normalisation import Normalisation

if TYPE_CHECKING:
    from torch import Tensor

    from frcnn_cli.core.backbones.network import Backbone

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
        recipe: of the settings that a training takes by itself.
        classifier: the two layers of its ImageNet classifier that fc6 and fc7 start from, by their names in a state
            dict; None where it has none.
    """

    roi_size: int
    fc_width: int
    normalisation: Normalisation
    source: str
    bundled: bool = False
    neck: int = 0
    fc_std: float | None = None
    recipe: str = "auto"
    classifier: tuple[str, str] | None = None

    def needs_download(self, name: str) -> str:
        """What to tell a user who wants the ImageNet weights of the backbone of this name and has not allowed that."""
        return (
            f"ImageNet weights of {name} ({self.source}) need a download: add --allow-download, or give a file or "
            "'none' to --backbone-weights"
        )


class BackboneKind(Protocol):
    """A kind of backbone: its defaults, how it is built, where its weights come from.

    Options are checked against `config` alone, so a member imports torch in its methods, not in its module.
    """

    @property
    def config(self) -> BackboneConfig:
        """Its defaults."""

    def build(self, neck: int) -> Backbone:
        """Build it with random weights.

        Args:
            neck: channels of a neck that merges its maps at stride 8, 16 and 32; 0 for a single map at stride 16.

        Raises:
            UsageError: the network has no such maps.
        """

    def imagenet_state(self, backbone: Backbone) -> dict[str, Tensor]:
        """Fetch what it learned on ImageNet, from the installation or, where `bundled` is false, from the network.

        Args:
            backbone: as `build` made it.

        Returns:
            Tensors by the names that they have in the backbone's body, or with ``features.`` before them as torchvision
            has it, and those of `config.classifier`. What the body does not have is not read.
        """
