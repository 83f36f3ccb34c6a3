"""Proposals of a network instead of a search: the options of `frcnn propose`, and what they make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from frcnn_cli.commands.fields import is_typed
from frcnn_cli.engine.detector import find_model
from frcnn_cli.engine.sources.search import ProposalConfig
from frcnn_cli.errors import UsageError
from frcnn_cli.settings import leaves, setting

if TYPE_CHECKING:  # which brings torch
    from frcnn_cli.engine.sources.network import NetworkConfig

MOST = "max_proposals"
"""The option of a search that a network has too."""


@dataclass(frozen=True)
class NetworkOptions:
    """Which network proposes, if one does.

    Attributes:
        network: a checkpoint; None for a search.
        device: what it computes on.
    """

    network: Path | None = setting(
        None, "Take the proposals of this detector's network, a Faster R-CNN's, and search nothing.",
        metavar="CHECKPOINT",
    )  # fmt: skip
    device: str = setting("auto", "What --network computes on: auto, cpu, cuda or cuda:N.", metavar="DEVICE")


def check_network(options: NetworkOptions) -> None:
    """Refuse what has no say, and find out whether the file is there, before anything else.

    Raises:
        UsageError: an option of a search beside a network, or the network's without one.
        DataError: no such file.
    """
    context = click.get_current_context()
    if options.network is None:
        if is_typed(context, "device"):
            raise UsageError(f"--device {options.device}: what --network computes on; a search runs on the CPU")
        return
    for leaf in leaves(ProposalConfig):
        if leaf.name != MOST and is_typed(context, leaf.name):
            raise UsageError(f"--{leaf.key} is for a search; --network has learned where to look")
    find_model(options.network)


def making(options: NetworkOptions, search: ProposalConfig) -> ProposalConfig | NetworkConfig:
    """How proposals are made: by the network, if there is one, or by the search."""
    if options.network is None:
        return search
    from frcnn_cli.engine.sources.network import NetworkConfig

    return NetworkConfig(options.network, search.max_proposals, options.device)
