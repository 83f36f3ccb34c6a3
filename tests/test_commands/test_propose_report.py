"""`frcnn propose` on what it has made: --recall, --plot and --save-dir, and every way to ask for them wrongly."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.images import load_image
from frcnn_cli.data.proposals.npz import write_proposals

QUICK = ("--mode", "single", "--max-proposals", 40, "--workers", 1)
NUMBER = r"\s*│\s*".join([""] + [r"(\d[\d.]*)"] * 6)


@pytest.fixture(scope="session")
def counted(photographs, tmp_path_factory):
    """Proposals of the photographs that can be counted: ten of one pixel, then one for each object that counts.

    That is the object itself for a horse, and 62 % of it, from the left, for all others.
    """
    boxes, sizes = {}, {}
    for record in (dataset := load_voc(photographs, "test")).records:
        horse = dataset.classes.index("horse") + 1
        objects = record.objects.without_difficult()
        found = objects.boxes.copy()
        found[objects.labels != horse, 2] -= 0.38 * (found[:, 2] - found[:, 0])[objects.labels != horse]
        corner = np.tile(np.array([[0, 0, 1, 1]], np.float32), (10, 1))
        boxes[record.id] = np.concatenate([corner, found])
        sizes[record.id] = (record.width, record.height)
    path = tmp_path_factory.mktemp("counted") / "counted.npz"
    write_proposals(path, boxes, {"mode": "single", "seed": 0, "max_proposals": 60, "sizes": sizes})
    return path


def test_json_on_the_photographs(run_frcnn, photographs, counted):
    """19 objects count, 6 of them horses, in 11 classes; 0.62 reaches three of the ten thresholds of average recall."""
    outcome = run_frcnn(
        "propose", "--voc", photographs, "--split", "test", "--proposals", counted, "--recall", "--json"
    )
    assert outcome.code == 0
    result = json.loads(outcome.out)
    top = ["dataset", "proposals", "images", "objects", "counts", "boxes", "recall_50", "recall_70", "average_recall"]
    assert list(result) == [*top, "MABO", "classes"]
    assert (result["proposals"], result["images"], result["objects"]) == (str(counted), 10, 19)
    assert result["counts"] == [10, 20, 50, 60]
    assert result["boxes"] == pytest.approx([10, *[11.9] * 3])
    assert result["recall_50"] == pytest.approx([0, 1, 1, 1])
    assert result["recall_70"] == pytest.approx([0, *[6 / 19] * 3])
    assert result["average_recall"] == pytest.approx([0, *[(6 + 13 * 0.3) / 19] * 3])
    assert result["MABO"] == pytest.approx([0, *[(1 + 10 * 0.62) / 11] * 3], abs=1e-3)
    assert len(result["classes"]) == 20
    horse = result["classes"]["horse"]
    assert horse["objects"] == 6
    assert horse["recall_50"] == horse["recall_70"] == horse["average_recall"] == [0, 1, 1, 1]
    dog = result["classes"]["dog"]
    assert list(dog) == ["objects", "recall_50", "recall_70", "average_recall", "ABO"]
    assert dog["objects"] == 2
    assert dog["recall_70"] == [0, 0, 0, 0]
    assert dog["average_recall"] == pytest.approx([0, 0.3, 0.3, 0.3])
    assert dog["ABO"] == pytest.approx([0, 0.62, 0.62, 0.62], abs=1e-3)
    nothing = [None] * 4
    boat = {"objects": 0, "recall_50": nothing, "recall_70": nothing, "average_recall": nothing, "ABO": nothing}
    assert result["classes"]["boat"] == boat


def test_tables_show_the_same(run_frcnn, photographs, counted):
    arguments = ("propose", "--voc", photographs, "--split", "test", "--proposals", counted, "--recall")
    outcome = run_frcnn(*arguments)
    assert outcome.code == 0
    rows = [[float(cell) for cell in match] for match in re.findall(NUMBER, outcome.out)]
    assert [row[0] for row in rows] == [10, 20, 50, 60]
    assert rows[0] == [10, 10, 0, 0, 0, 0]
    assert rows[1] == [20, 12, 1, 0.316, 0.521, 0.655]
    assert re.search(r"│ horse +│ +6 │ +1.000 │ +1.000 │ +1.000 │ 1.000 │", outcome.out)
    assert re.search(r"│ dog +│ +2 │ +1.000 │ +0.000 │ +0.300 │ 0.620 │", outcome.out)
    assert re.search(r"│ boat +│ +0 │ +- │ +- │ +- │ +- │", outcome.out)
    assert re.search(r"│ all +│ +19 │ +1.000 │ +0.316 │ +0.521 │ 0.655 │", outcome.out)
    assert "10 images, 19 objects" in outcome.err


def test_coco_and_a_difficult_object(run_frcnn, photographs, tmp_path):
    """One proposal is exactly the cow; the crowd beside it, which nothing covers, does not count."""
    photo = photographs / "JPEGImages" / "cow.jpg"
    with Image.open(photo) as image:
        width, height = image.size
    objects = [
        {"id": 1, "image_id": 1, "category_id": 3, "iscrowd": 0, "bbox": [100, 100, 200, 150]},
        {"id": 2, "image_id": 1, "category_id": 3, "iscrowd": 1, "bbox": [400, 10, 50, 50]},
    ]
    images = [{"id": 1, "file_name": photo.name, "width": width, "height": height}]
    annotations = {"images": images, "annotations": objects, "categories": [{"id": 3, "name": "cow"}]}
    (tmp_path / "a.json").write_text(json.dumps(annotations))
    boxes = {"cow": np.array([[100, 100, 300, 250]], np.float32)}
    meta = {"mode": "single", "seed": 0, "max_proposals": 5, "sizes": {"cow": (width, height)}}
    write_proposals(tmp_path / "p.npz", boxes, meta)
    dataset = ("--coco", tmp_path / "a.json", "--images", photo.parent)
    plot = tmp_path / "new" / "plot.png"
    outcome = run_frcnn("propose", *dataset, "--proposals", tmp_path / "p.npz", "--recall", "--json", "--plot", plot)
    assert outcome.code == 0
    result = json.loads(outcome.out)
    assert (result["counts"], result["boxes"], result["objects"]) == ([5], [1], 1)
    assert result["MABO"] == result["classes"]["cow"]["ABO"] == [1]
    assert load_image(plot).std() > 10


def test_proposals_made_and_measured_in_one_go(run_frcnn, tiny_voc, tmp_path):
    dataset = ("--voc", tiny_voc, "--split", "val")
    output, plot = tmp_path / "p.npz", tmp_path / "plot.png"
    made = run_frcnn("propose", *dataset, "-o", output, *QUICK, "--recall", "--json", "--plot", plot)
    assert made.code == 0
    result = json.loads(made.out)
    assert result["counts"] == [10, 20, 40]
    assert result["MABO"][0] > 0.2
    again = run_frcnn("propose", *dataset, "--proposals", output, "--recall", "--json")
    assert json.loads(again.out) == result
    with Image.open(plot) as image:
        assert image.format == "PNG"
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20)}
    assert {(0, 114, 178), (0, 158, 115), (86, 180, 233), (213, 94, 0)} <= colours


def test_a_format_that_keeps_no_settings(run_frcnn, tiny_voc, tmp_path):
    """A .pkl does not say how many proposals an image may have; whoever makes it does."""
    dataset = ("--voc", tiny_voc, "--split", "val")
    made = run_frcnn("propose", *dataset, "-o", tmp_path / "p.pkl", *QUICK, "--recall", "--json")
    assert made.code == 0
    assert json.loads(made.out)["counts"] == [10, 20, 40]
    given = run_frcnn("propose", *dataset, "--proposals", tmp_path / "p.pkl", "--recall", "--json")
    result = json.loads(given.out)
    assert result["counts"] == [10, 20, 50, 100, 200, 500, 1000, 2000]
    assert result["recall_50"][-1] == json.loads(made.out)["recall_50"][-1]
    assert result["boxes"][-1] <= 40


def test_plot_is_whole_or_not_there(run_frcnn, photographs, counted, full_disk, tmp_path):
    plot = tmp_path / "plot.png"
    arguments = ("propose", "--voc", photographs, "--split", "test", "--proposals", counted, "--recall", "--plot", plot)
    assert run_frcnn(*arguments).code == 0
    before = plot.read_bytes()
    assert len(before) > 20_000
    with full_disk(20_000):
        outcome = run_frcnn(*arguments)
    assert outcome.code == 1
    assert f"{plot}: cannot be written" in outcome.err.splitlines()[-1]
    assert "Traceback" not in outcome.err
    assert plot.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


def test_pictures_of_a_data_set(run_frcnn, photographs, counted, tmp_path):
    folder = tmp_path / "pictures"
    outcome = run_frcnn(
        "propose", "--voc", photographs, "--split", "test", "--proposals", counted, "--save-dir", folder
    )
    assert (outcome.code, outcome.out) == (0, "")
    assert f"10 pictures of segments and boxes in {folder}" in outcome.err
    for record in load_voc(photographs, "test").records:
        picture, image = load_image(folder / record.path.name), load_image(record.path)
        height, width = image.shape[:2]
        assert picture.shape[0] == height
        assert 2 * width < picture.shape[1] < 2.1 * width
        segments, boxes = picture[:, :width].astype(int), picture[:, -width:].astype(int)
        assert segments.std() > 10
        assert (abs(segments - image).max(axis=-1) > 30).mean() > 0.02
        assert 0.001 < (abs(boxes - image).max(axis=-1) > 30).mean() < 0.3


def test_pictures_of_images_without_objects(run_frcnn, noise_image, tmp_path):
    wide, photo = noise_image("in/wide.png", 120, 30), noise_image("in/photo.png", 80, 60)
    folder = tmp_path / "out"
    outcome = run_frcnn("propose", wide, photo, "-o", tmp_path / "p.npz", *QUICK, "--save-dir", folder)
    assert outcome.code == 0
    assert load_image(folder / "wide.png").shape == (62, 120, 3)  # one above the other
    assert load_image(folder / "photo.png").shape == (60, 162, 3)
    assert (load_image(folder / "photo.png")[:, 82:] != load_image(photo)).any()


def test_pictures_never_replace_the_images(run_frcnn, noise_image, tmp_path):
    photo = noise_image("photo.png", 40, 40)
    before = photo.read_bytes()
    outcome = run_frcnn("propose", photo, "-o", tmp_path / "p.npz", *QUICK, "--save-dir", tmp_path)
    assert outcome.code == 1
    assert outcome.err == f"frcnn: {photo}: --save-dir would replace this image itself\n"
    assert photo.read_bytes() == before
    assert not (tmp_path / "p.npz").exists()


VOC, MADE, GIVEN = ("--voc", "."), ("-o", "p.npz"), ("--proposals", "p.npz")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["a.jpg", *MADE, "--recall"], "--recall needs objects to be covered: give a data set"),
        ([*VOC, *MADE, "--json"], "--json is for the figures of --recall"),
        ([*VOC, *MADE, "--plot", "a.png"], "--plot is for the figures of --recall"),
        ([*VOC, *MADE, "--recall", "--plot", "a.svg"], "--plot a.svg: plots are written as .png"),
        ([*VOC, *MADE, "--recall", "--plot", "a.jpg/b.png"], "--plot a.jpg/b.png: cannot be written"),
        ([*VOC, *MADE, "--recall", "--plot", "folder.png"], "--plot folder.png: cannot be written (a folder)"),
        ([*VOC, *MADE, "--save-dir", "a.jpg"], "--save-dir a.jpg/*: cannot be written"),
        ([*VOC, *GIVEN], "what to do with --proposals? give --recall"),
        ([*VOC, *GIVEN, "--recall", "--proposals", "p.txt"], "p.txt: proposals are in .npz, .mat or .pkl files"),
        ([*VOC, *GIVEN, "--recall", "--mode", "fast"], "--mode is for making proposals"),
        ([*VOC, *GIVEN, "--recall", "--max-proposals", "9"], "--max-proposals is for making proposals"),
        ([*VOC, *GIVEN, "--recall", "--seed", "0"], "--seed is for making proposals"),
        ([*VOC, *GIVEN, "--recall", "--workers", "1"], "--workers is for making proposals"),
        ([*VOC], "'-o'"),
        ([*VOC, "--recall"], "'-o'"),
        (["a.jpg", "--save-dir", "out"], "'-o'"),
        ([*GIVEN, "--recall"], "--recall needs objects to be covered: give a data set"),
        ([*GIVEN, "--save-dir", "out"], "give images or folders, or a data set"),
    ],
)
def test_misuse_is_one_line_before_any_work(run_frcnn, tmp_path, monkeypatch, arguments, fault):
    """The data set and the images are none, which nobody gets to see."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").touch()
    (tmp_path / "folder.png").mkdir()
    outcome = run_frcnn("propose", *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1
    assert fault in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "folder.png"]


def test_proposals_that_do_not_fit_the_data(run_frcnn, tiny_voc, counted, tmp_path):
    arguments = ("propose", "--voc", tiny_voc, "--split", "val", "--recall", "--proposals")
    missing = run_frcnn(*arguments, tmp_path / "gone.npz")
    assert missing.code == 1
    assert f"{tmp_path / 'gone.npz'}: no such file" in missing.err
    others = run_frcnn(*arguments, counted)
    assert others.code == 1
    assert others.out == ""
    assert "image sheep: proposals made on" in others.err


def test_measuring_does_not_wait_for_torch_or_matplotlib(run_process, photographs, counted):
    call = ["propose", "--voc", str(photographs), "--split", "test", "--proposals", str(counted), "--recall", "--json"]
    modules = "'torch' in sys.modules, 'matplotlib' in sys.modules"
    code = f"import sys; from frcnn_cli.cli import main; print(main({call}), {modules})"
    outcome = run_process("-c", code)
    assert outcome.out.splitlines()[-1] == "0 False False", outcome.err
