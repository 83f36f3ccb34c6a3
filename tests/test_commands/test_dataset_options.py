"""A format added to the table is an option of every command that reads a data set, and the messages know it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from frcnn_cli.data.formats import FORMATS, DefaultPlace, Format, Reading
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.proposals.npz import ProposalFile
from frcnn_cli.data.samples import Dataset
from frcnn_cli.errors import DataError


def load_toy(place: Path, reading: Reading) -> Dataset:
    """A toy is a text file that names a VOC folder and one of its lists."""
    try:
        root, split = place.read_text().split()
    except OSError:
        raise DataError(f"{place}: no such toy") from None
    return replace(load_voc(root, split, reading.classes, skip_faulty=reading.skip_faulty), name=f"toy {place.stem}")


@pytest.fixture
def toys(tiny_voc, tmp_path, monkeypatch) -> dict[str, Path]:
    """The format `toy`, known while the test runs, and a toy of each list of the small data set."""
    monkeypatch.setitem(FORMATS, "toy", Format("TOY", "The name of a toy.", load_toy, lists=False))
    toys = {split: tmp_path / f"{split}.toy" for split in ("train", "val", "test")}
    for split, path in toys.items():
        path.write_text(f"{tiny_voc} {split}")
    return toys


@pytest.mark.parametrize("command", ["eval", "propose", "train"])
def test_a_format_of_the_table_is_an_option(run_frcnn, toys, command):
    text = " ".join(run_frcnn(command, "--help").out.split())
    assert "--toy TOY The name of a toy." in text
    assert ("--val-toy TOY A second place of --toy to measure on" in text) == (command == "train")
    assert "--val-voc" not in text  # whose places hold lists


def test_a_format_that_is_not_in_the_table_is_no_option(run_frcnn):
    outcome = run_frcnn("eval", "--toy", "a")
    assert outcome.code == 2
    assert "No such option" in outcome.err


def test_its_images_are_proposed_for(run_frcnn, toys, tmp_path):
    output = tmp_path / "p.npz"
    outcome = run_frcnn("propose", "--toy", toys["val"], "-o", output, "--mode", "single", "--workers", 1)
    assert outcome.code == 0, outcome.err
    assert ProposalFile(output).ids == ("sheep", "wine")


def test_its_objects_are_evaluated_on(run_frcnn, toys, tiny_checkpoint, tiny_proposals_path, tiny_voc):
    call = ("--weights", tiny_checkpoint, "--proposals", tiny_proposals_path, "--json")
    outcome = run_frcnn("eval", "--toy", toys["val"], *call)
    assert outcome.code == 0, outcome.err
    figures = json.loads(outcome.out)
    assert figures["images"] == 2
    assert figures["AP"] == json.loads(run_frcnn("eval", "--voc", tiny_voc, "--split", "val", *call).out)["AP"]


def test_it_is_trained_on_with_a_second_one_to_measure_on(run_frcnn, toys):
    outcome = run_frcnn("train", "--toy", toys["train"], "--val-toy", toys["val"], "--check")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("toy train, toy val: 10 images, ")


def test_messages_come_from_the_table(run_frcnn, toys):
    assert run_frcnn("eval").err.startswith(
        "frcnn: which images? give --voc ROOT, or --coco ANN.json with --images DIR, or "
    )
    assert run_frcnn("eval").err.endswith(", or --toy TOY\n")
    assert "--voc and --toy are two layouts: give one" in run_frcnn("eval", "--toy", "a", "--voc", "b").err
    assert "--voc, --coco and --toy are 3 layouts" in run_frcnn("eval", "--toy", "a", "--coco", "b", "--voc", "c").err
    assert "or --toy" in run_frcnn("propose", "-o", "p.npz").err
    outcome = run_frcnn("eval", "--toy", "gone.toy")
    assert (outcome.code, outcome.err) == (1, "frcnn: gone.toy: no such toy\n")


def test_a_format_that_needs_images_says_so(run_frcnn, monkeypatch):
    monkeypatch.setitem(FORMATS, "toy", Format("TOY", "The name of a toy.", load_toy, lists=False, needs_images=True))
    outcome = run_frcnn("eval", "--toy", "a")
    assert (outcome.code, outcome.err) == (2, "frcnn: --toy needs --images, the folder of its images\n")
    assert "--toy TOY with --images DIR" in run_frcnn("eval").err


def test_a_place_that_need_not_be_named(run_frcnn, toys, monkeypatch, tmp_path):
    form = replace(FORMATS["toy"], default_place=DefaultPlace("TOY_ROOT", "toys/any.toy"))
    monkeypatch.setitem(FORMATS, "toy", form)
    monkeypatch.setenv("TOY_ROOT", str(toys["val"]))
    assert run_frcnn("train", "--check", "--toy").out.startswith("toy val: 2 images, ")
    monkeypatch.delenv("TOY_ROOT")
    monkeypatch.chdir(tmp_path)
    assert run_frcnn("train", "--check", "--toy").err == f"frcnn: {os.path.join('toys', 'any.toy')}: no such toy\n"
    assert "[without a value: $TOY_ROOT or ./toys/any.toy]" in " ".join(run_frcnn("eval", "--help").out.split())


def test_reading_does_not_wait_for_torch(run_process):
    code = "import sys; from frcnn_cli.commands import dataset_options as o; list(o.FORMATS.values()); "
    assert run_process("-c", f"{code} print('torch' in sys.modules)") == (0, "False\n", "")
