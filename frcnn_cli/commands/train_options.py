"""The options of `frcnn train`, in typed groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from frcnn_cli.commands.fields import SettingOption
from frcnn_cli.data.proposals.layouts import LAYOUT_HELP, LAYOUTS
from frcnn_cli.engine.sources import SEARCHES
from frcnn_cli.engine.sources.search import SEARCH_SIZE_HELP, SIDES, SIZES, SMALLEST_HELP, ProposalConfig
from frcnn_cli.settings import setting

RECIPES = ("auto", "paper")
"""The recipes of the package, by the names of their files in ``frcnn_cli/recipes``."""


@dataclass(frozen=True)
class Task:
    """What to do, and where.

    Attributes:
        output: the run's folder.
        resume: the folder of a run to go on with.
        config: a file whose options are taken where the command line names none.
        recipe: the name of a recipe or a file; None for the one that suits the backbone.
        check: only look at the data.
        plot: only draw the log of a run.
    """

    output: Path | None = setting(None, "The folder of the run.", metavar="DIR")
    resume: Path | None = setting(None, "Go on with an interrupted run, with its own settings.", metavar="DIR")
    config: Path | None = setting(
        None, "Take options from the config.toml of a run; those named here win.", metavar="FILE"
    )
    recipe: str | None = setting(
        None,
        f"Settings for options that nothing else names: {', '.join(RECIPES)}, or a TOML file of your own.",
        table="run",
        metavar=f"{'|'.join(RECIPES)}|FILE",
        words=tuple(RECIPES),
        shown_default="paper for vgg16 and alexnet, auto for others",
    )
    check: bool = setting(False, "List all faults of the data and stop; nothing is trained or written.")
    plot: Path | None = setting(None, "Draw curves.png of a run's log anew, and stop.", metavar="DIR")


@dataclass(frozen=True)
class Lists:
    """Which parts of the data to learn from and to measure on, and their proposals.

    Attributes:
        split: the list to learn from.
        add_voc: a further folder in VOC layout with such a list.
        val_split: the list to measure on; None for none.
        proposals: of the images to learn from; None for the run's own.
        val_proposals: of the others; likewise.
        layout: how files of single images write a box, a name of `LAYOUTS`.
        mode: of selective search, where there are no proposals yet.
        max_proposals: of an image.
        search_size: see `ProposalConfig`.
        smallest: likewise.
        workers: processes that make proposals; None for as many as there are cores.
    """

    split: str = setting("train", "The list of images to learn from.", table="data")
    add_voc: Path | None = setting(
        None, "A further folder with such a list, as VOC2012 for 07+12.", table="data", metavar="ROOT"
    )
    val_split: str | None = setting(
        None, "The list of images to measure on; without it nothing is measured.", table="data", metavar="NAME"
    )
    proposals: Path | None = setting(
        None,
        "Proposals of the images to learn from, of any format; made if missing.",
        table="data",
        metavar="FILE",
        shown_default="DIR/proposals-SPLIT.npz",
    )
    val_proposals: Path | None = setting(None, "Likewise, of the images to measure on.", table="data", metavar="FILE")
    layout: str | None = setting(None, LAYOUT_HELP, option="proposal-layout", table="data", choices=LAYOUTS)
    mode: str = setting("fast", "How closely selective search looks.", table="data", choices=SEARCHES)
    max_proposals: int = setting(2000, "The most proposals of an image.", table="data", least=1)
    search_size: int = setting(ProposalConfig.search_size, SEARCH_SIZE_HELP, table="data", **SIZES)
    smallest: int = setting(ProposalConfig.smallest, SMALLEST_HELP, table="data", **SIDES)
    workers: int | None = setting(
        None, "Processes that make proposals.", table="data", least=1, shown_default="one a core"
    )

    @property
    def asked_for(self) -> dict[str, Any]:
        """The sizes that are not what goes without saying, and so hold for proposals that are there too."""
        sizes = {"search_size": self.search_size, "smallest": self.smallest}
        return {name: value for name, value in sizes.items() if value != getattr(ProposalConfig, name)}

    @property
    def making(self) -> ProposalConfig:
        """How proposals are made that are not there yet."""
        return ProposalConfig(self.mode, self.max_proposals, search_size=self.search_size, smallest=self.smallest)


@dataclass(frozen=True)
class Length:
    """How long to train, in another unit than iterations.

    Attributes:
        epochs: passes over the images; None where the iterations are counted.
    """

    epochs: float | None = setting(
        None, "Passes over the images, in the place of --iterations.", table="optimizer", above=0, most=1e6
    )


@dataclass(frozen=True)
class Machine:
    """What to compute with.

    Attributes:
        device: auto, cpu, cuda or cuda:N.
        loaders: processes that prepare batches.
    """

    device: str = setting("auto", "What to compute on: auto, cpu, cuda or cuda:N.", table="run", metavar="DEVICE")
    loaders: int = setting(1, "Processes that prepare batches.", table="run", least=0)


TABLES = ("data", "model", "detector", "sampling", "images", "optimizer", "run")
"""Of config.toml, in their order there and in --help; `detector` holds what only some kinds of detector have."""


def table_of(param: click.Parameter) -> str | None:
    """The table of config.toml that holds an option; None for one that is no setting of a run."""
    return param.leaf.about.table if isinstance(param, SettingOption) else "data"
