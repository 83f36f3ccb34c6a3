"""A format added to the table is an option of every command that reads a data set, and the messages know it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from frcnn_cli.data.formats import FORMATS, DefaultPlace, Format, Reading
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.proposals.npz import ProposalFile
from frcnn_cli.data.samples import Dataset, divide
from frcnn_cli.errors import DataError, group_faults


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


def an_xml(path: Path, names: list[str], box: tuple[int, ...] = (1, 1, 30, 30)) -> None:
    tags = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    path.write_text(
        "<annotation>"
        + "".join(f"<object><name>{name}</name><bndbox>{tags}</bndbox></object>" for name in names)
        + "</annotation>"
    )


@pytest.fixture
def folder(tmp_path) -> Path:
    """One folder of ten images, each with a dog and a cat, and no lists."""
    folder = tmp_path / "pets"
    folder.mkdir()
    for number in range(10):
        Image.new("RGB", (40, 40)).save(folder / f"a{number}.png")
        an_xml(folder / f"a{number}.xml", ["dog", "cat"])
    return folder


class TestWhatIsRead:
    def test_classes_of_a_file(self, run_frcnn, folder, tmp_path):
        (tmp_path / "names.txt").write_text("cat\r\n\ndog, hot\ndog\n")
        outcome = run_frcnn("train", "--voc", folder, "--check", "--classes", tmp_path / "names.txt")
        assert outcome.code == 0
        assert "no object of 1 class: dog, hot\n" in outcome.err
        outcome = run_frcnn("train", "--voc", folder, "--check", "--classes", "gone.txt")
        assert (outcome.code, outcome.err) == (1, "frcnn: gone.txt: no such file\n")

    def test_voc_s_classes_when_asked_for(self, run_frcnn, folder):
        assert (
            "no object of 18 classes: aeroplane, "
            in run_frcnn("train", "--voc", folder, "--check", "--classes", "voc").err
        )
        assert "aeroplane" not in run_frcnn("train", "--voc", folder, "--check").err

    def test_some_classes_only(self, run_frcnn, folder):
        outcome = run_frcnn("train", "--voc", folder, "--check", "--only", "dog")
        assert outcome.out == "pets: 10 images, 10 objects, no fault\n"
        assert "pets: objects of other classes that are passed over: 10 (cat)\n" in outcome.err
        assert run_frcnn("train", "--voc", folder, "--check", "--classes", "dog").code == 1
        outcome = run_frcnn("train", "--voc", folder, "--check", "--classes", "dog", "--only", "dog")
        assert outcome.code == 2
        assert "give one of the two" in outcome.err

    def test_the_command_line_wins_over_a_file(self, run_frcnn, folder, tmp_path):
        (tmp_path / "a.toml").write_text('[data]\nclasses = ["dog"]\nval-fraction = 0.5\n')
        call = ("train", "--voc", folder, "--check", "--config", tmp_path / "a.toml")
        assert "pets (to measure on)" in run_frcnn(*call, "--only", "dog").out
        (tmp_path / "a.toml").write_text('[data]\nclasses = ["dog"]\nonly = ["dog"]\n')
        assert "give one of the two" in run_frcnn(*call).err

    def test_images_without_annotations(self, run_frcnn, folder):
        (folder / "a3.xml").unlink()
        assert run_frcnn("train", "--voc", folder, "--check").code == 1
        outcome = run_frcnn("train", "--voc", folder, "--check", "--unannotated-empty")
        assert outcome.out == "pets: 10 images, 18 objects, no fault\n"

    def test_boxes_a_little_outside(self, run_frcnn, folder):
        an_xml(folder / "a3.xml", ["dog"], (1, 1, 42, 30))
        outcome = run_frcnn("train", "--voc", folder, "--check")
        assert outcome.code == 0
        assert "pets: 1 box leaves its image by a little and is clipped\n" in outcome.err
        assert run_frcnn("train", "--voc", folder, "--check", "--strict").code == 1


class TestFaults:
    def test_many_that_are_alike_are_one_line(self, run_frcnn, folder):
        for number in range(9):
            an_xml(folder / f"a{number}.xml", ["dog"], (1, 1, 90 + number, 30))
        an_xml(folder / "a9.xml", [*["dgo"] * 300, *["ctas"] * 3, "cat"])
        call = ("train", "--voc", folder, "--check", "--classes", "dog,cat")
        outcome = run_frcnn(*call)
        first = f"  {folder}/a0.xml: object 1 (dog): box (1, 1, 90, 30) lies outside the image (40 x 40)"
        unknown = f"  {folder}/a9.xml: object 1 (dgo): unknown class 'dgo'"
        assert outcome.err.splitlines()[-6:] == [
            "frcnn: pets: 312 faults",
            f"{first} (the first of 9 like it; --all-faults lists them)",
            f"{unknown} (the first of 300 like it; --all-faults lists them)",
            *(f"  {folder}/a9.xml: object {number} (ctas): unknown class 'ctas'" for number in (301, 302, 303)),
        ]
        assert len(run_frcnn(*call, "--all-faults").err.splitlines()) == 1 + 312
        skipping = run_frcnn(*call, "--skip-faulty").err.splitlines()
        assert skipping[0] == "pets: 312 faults skipped"
        assert skipping[1].endswith("(the first of 9 like it; --all-faults lists them)")
        assert len(run_frcnn(*call, "--skip-faulty", "--all-faults").err.splitlines()) >= 1 + 312

    def test_all_of_them_where_no_image_is_left(self, run_frcnn, folder):
        for number in range(10):
            (folder / f"a{number}.png").write_text("no picture")
        for command in ("train", "eval"):
            call = (command, "--voc", folder, *(["--check"] if command == "train" else []))
            assert len(run_frcnn(*call).err.splitlines()) == 2
            assert len(run_frcnn(*call, "--all-faults").err.splitlines()) == 11

    def test_names_with_numbers_are_not_alike(self):
        faults = [f"a: object {number}: unknown class 'class{number}'" for number in range(5)]
        assert group_faults(faults) == faults


class TestAPartToMeasureOn:
    def test_the_images_are_divided(self, run_frcnn, folder):
        outcome = run_frcnn("train", "--voc", folder, "--val-fraction", 0.2, "--check")
        assert outcome.out == "pets (to learn from), pets (to measure on): 10 images, 20 objects, no fault\n"

    def test_it_is_the_only_one(self, run_frcnn, folder):
        outcome = run_frcnn("train", "--voc", folder, "--val-fraction", 0.2, "--val-split", "val", "--check")
        assert outcome.code == 2
        assert "--val-fraction takes images from those to learn from" in outcome.err

    @pytest.mark.parametrize(("fraction", "count"), [(0.2, 2), (0.25, 2), (0.999, 9), (0.001, 1), (0.5, 5)])
    def test_parts_and_their_seed(self, folder, fraction, count):
        dataset = load_voc(folder, "train")
        first, second = divide(dataset, fraction, seed=3)
        assert len(second) == count
        ids = [record.id for record in dataset.records]
        parts = [[record.id for record in part.records] for part in (first, second)]
        assert sorted(parts[0] + parts[1]) == ids
        assert all(part == [image_id for image_id in ids if image_id in part] for part in parts)
        backwards = replace(dataset, records=dataset.records[::-1])
        assert {record.id for record in divide(backwards, fraction, seed=3)[1].records} == set(parts[1])
        others = [{record.id for record in divide(dataset, 0.5, seed=seed)[1].records} for seed in range(5)]
        assert any(other != others[0] for other in others)

    def test_one_image_cannot_be_divided(self, folder):
        dataset = load_voc(folder, "train")
        with pytest.raises(DataError, match="1 image cannot be divided"):
            divide(replace(dataset, records=dataset.records[:1]), 0.5)
