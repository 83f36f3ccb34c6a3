"""The options that `frcnn eval` alone has, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from frcnn_cli.commands.options import ModelOptions, OutputOptions, SourceOptions, check_output, check_source
from frcnn_cli.data.proposals import SUFFIXES
from frcnn_cli.engine.detection_config import EVALUATION, EvaluationConfig
from frcnn_cli.engine.detector import find_model
from frcnn_cli.engine.sources import SEARCHES
from frcnn_cli.engine.sources.search import ProposalConfig
from frcnn_cli.errors import UsageError
from frcnn_cli.files import check_writable
from frcnn_cli.metrics.average_precision import Metric
from frcnn_cli.report.page import Origin
from frcnn_cli.settings import flat, leaves, setting

PAGE = "index.html"


@dataclass(frozen=True)
class Measure:
    """What to measure.

    Attributes:
        metric: voc, voc07 or coco.
        thresholds: find the scores of the best F1 too.
        compare: take the arguments for what to compare.
        report: a folder to write a page into.
    """

    metric: str = setting(
        "voc",
        "Area under the curve at IoU 0.5 (VOC2010 and later), 11 points (VOC2007), or COCO's twelve numbers.",
        choices=get_args(Metric),
    )
    thresholds: bool = setting(False, "Find for each class the score from which on F1 is best.")
    compare: bool = setting(
        False, "Compare two or more: checkpoints, modes of selective search, or files of proposals."
    )
    report: Path | None = setting(
        None, f"Write a page that explains the errors, {PAGE}, into this folder.", metavar="DIR"
    )


@dataclass(frozen=True)
class Entry:
    """One of what is compared.

    Attributes:
        word: as it was typed.
        weights: its checkpoint; None for the bundled one.
        proposals: where its proposals come from.
    """

    word: str
    weights: Path | None
    proposals: SourceOptions


def check_measure(measure: Measure, words: tuple[str, ...], output: OutputOptions) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: they do not, or --compare has fewer than two to compare.
        DataError: the report could not be written.
    """
    check_output(output)
    if words and not measure.compare:
        raise UsageError(f"{words[0]}: what for? to compare several, give --compare too")
    if measure.compare:
        if len(words) < 2:
            raise UsageError("--compare needs two or more: checkpoints, modes, or files of proposals")
        if len(set(words)) < len(words):
            raise UsageError(f"--compare {' '.join(words)}: give each once")
        for name, given in (
            ("--report", measure.report),
            ("--thresholds", measure.thresholds),
            ("--output", output.output),
        ):
            if given:
                raise UsageError(f"{name} is of one model, --compare of several: give one of the two")
    if measure.report:
        check_writable(measure.report / PAGE)


def parse_entries(words: tuple[str, ...], model: ModelOptions, proposals: SourceOptions) -> list[Entry]:
    """What each word of a comparison stands for: a mode, a file of proposals, or else a checkpoint.

    Raises:
        UsageError: an option has no say, as every word has its own.
        DataError: there is no such file.
    """
    entries = []
    for word in words:
        if word in SEARCHES:
            entries.append(Entry(word, model.weights, replace(proposals, mode=word)))
        elif Path(word).suffix in SUFFIXES:
            entries.append(Entry(word, model.weights, replace(proposals, proposals=Path(word))))
        else:
            entries.append(Entry(word, find_model(word), proposals))
    own = [entry for entry in entries if entry.proposals is not proposals]
    given = {"proposals": proposals.proposals, "network": proposals.network, "mode": proposals.mode}
    for name, value in given.items():
        if value and own:
            raise UsageError(f"--{name} {value}: {own[0].word} of --compare has its own proposals; give one of the two")
    for entry in own:
        check_source(entry.proposals)
    if words and model.weights and not own:
        raise UsageError(f"--weights {model.weights}: --compare names its checkpoints; add it to them")
    return entries


def origin_of(model: ModelOptions, proposals: SourceOptions, config: EvaluationConfig, needs_proposals: bool) -> Origin:
    """What a report says it is of."""
    made = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in proposals.making.items())
    source = str(
        proposals.proposals or proposals.network or f"selective search, {made or 'mode ' + ProposalConfig.mode}"
    )
    usual, given = flat(EVALUATION), flat(config)
    changed = [
        f"--{leaf.key} {given[leaf.name]}" for leaf in leaves(type(config)) if given[leaf.name] != usual[leaf.name]
    ]
    return Origin(
        model="the bundled model" if model.weights is None else str(model.weights),
        proposals=source if needs_proposals else "the model's own",
        options=", ".join(changed),
    )
