"""`frcnn train`: faults before it starts, a run's folder, Ctrl-C and --resume."""

from __future__ import annotations

import csv
import json
import re
import signal
from pathlib import Path

import pytest
import torch

from frcnn_cli.engine.checkpoint import load_checkpoint

NEW = ("--backbone", "alexnet", "--backbone-weights", "none", "--fc-width", 16, "--roi-size", 2)
QUICK = (
    "--short-side", 64, "--long-side", 128, "--rois-per-batch", 16, "--log-every", 1, "--mode", "single",
    "--workers", 1,
)  # fmt: skip
SMALL = (*NEW, *QUICK)


@pytest.fixture
def train(run_frcnn, tiny_proposals_path):
    """Run the command at its smallest, without processes of its own."""

    def run(*arguments, proposals=tiny_proposals_path, small=SMALL):
        made = ("--proposals", proposals) if proposals else ()
        return run_frcnn("train", *small, "--loaders", 0, *made, *arguments)

    return run


def iterations(folder: Path) -> list[int]:
    with (folder / "log.csv").open(newline="") as file:
        return [int(row["iteration"]) for row in csv.DictReader(file)]


def test_a_run_and_further_iterations(train, tiny_voc, tiny_proposals_path, tmp_path, run_frcnn):
    run = tmp_path / "run"
    outcome = train(
        "--voc", tiny_voc, "--output", run, "--iterations", 2, "--val-split", "val", "--val-proposals",
        tiny_proposals_path,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert outcome.out == ""
    assert "iteration 2/2  loss" in outcome.err
    assert re.search(r"iteration 2: mAP 0\.\d{4} on tiny val \(2 images", outcome.err)
    names = {path.name for path in run.iterdir() if not path.name.startswith("events")}
    assert names == {
        "model.safetensors", "best.safetensors", "log.csv", "curves.png", "config.toml", "training_state.pt",
    }  # fmt: skip
    checkpoint = load_checkpoint(run / "model.safetensors")
    assert (checkpoint.short_side, checkpoint.long_side, len(checkpoint.classes)) == (64, 128, 20)
    assert checkpoint.training["iteration"] == 2

    (run / "curves.png").unlink()
    more = run_frcnn("train", "--resume", run, "--iterations", 4)
    assert more.code == 0, more.err
    assert load_checkpoint(run / "model.safetensors").training["iteration"] == 4
    assert iterations(run) == [1, 2, 2, 3, 4, 4]  # losses, and the two measurements
    assert "iterations = 4 #" in (run / "config.toml").read_text()  # what a further --resume goes by
    drawn = (run / "curves.png").read_bytes()
    (run / "curves.png").unlink()
    again = run_frcnn("train", "--plot", run)
    assert (again.code, again.err) == (0, f"curves in {run / 'curves.png'}\n")
    assert (run / "curves.png").read_bytes() == drawn
    assert f'voc = "{tiny_voc}" # ' in (run / "config.toml").read_text()

    image = tiny_voc / "JPEGImages" / "cow.jpg"
    found = run_frcnn("detect", image, "--weights", run / "model.safetensors", "--score", 0.01, "--json")
    assert found.code == 0
    assert json.loads(found.out)[0]["detections"]


def test_proposals_are_made_first_and_kept(train, run_frcnn, tiny_voc, tmp_path):
    run = tmp_path / "run"
    common = ("--voc", tiny_voc, "--split", "val", "--iterations", 1)
    first = train(*common, "--val-split", "val", "--output", run, proposals=None)
    assert first.code == 0, first.err
    path = run / "proposals-val.npz"
    assert first.err.count(f"{path}: not there, so the proposals of tiny val are made first") == 1
    made = path.read_bytes()
    second = run_frcnn("train", "--resume", run, "--iterations", 2)
    assert second.code == 0, second.err
    assert "made first" not in second.err
    assert path.read_bytes() == made
    elsewhere = tmp_path / "mine.npz"
    assert train(*common, "--output", tmp_path / "other", proposals=elsewhere).code == 0
    assert elsewhere.exists()


def test_proposals_in_shards_and_of_another_format(train, run_frcnn, tiny_voc, tmp_path):
    common = ("--voc", tiny_voc, "--split", "val", "--iterations", 1)
    made = (
        "propose",
        "--voc",
        tiny_voc,
        "--split",
        "val",
        "--mode",
        "single",
        "--workers",
        1,
        "-o",
        tmp_path / "p.npz",
    )
    assert run_frcnn(*made, "--shard", "1/2").code == 0
    lacking = train(*common, "--output", tmp_path / "a", proposals=tmp_path / "p.npz")
    assert (lacking.code, "made first" in lacking.err) == (1, False)
    assert f"{tmp_path / 'p.npz'}: 1 of 2 shards are missing: p-00002-of-00002.npz" in lacking.err
    assert run_frcnn(*made, "--shard", "2/2").code == 0
    of_shards = train(*common, "--output", tmp_path / "b", proposals=tmp_path / "p.npz")
    assert of_shards.code == 0, of_shards.err
    new = train(*common, "--output", tmp_path / "c", proposals=tmp_path / "p.pkl")
    assert new.code == 0, new.err
    assert f"{tmp_path / 'p.pkl'}: not there, so the proposals of tiny val are made first" in new.err
    losses = [(tmp_path / run / "log.csv").read_text().splitlines()[1].split(",")[:4] for run in "bc"]
    assert losses[0] == losses[1]
    wrong = train(*common, "--output", tmp_path / "d", proposals=tmp_path / "p.txt")
    assert wrong.code == 2
    fault = "proposals are in .npz, .mat or .pkl files; for a file an image, name --proposal-layout"
    assert wrong.err.splitlines()[-1] == f"frcnn: {tmp_path / 'p.txt'}: {fault}"
    assert not (tmp_path / "p.txt.partial").exists()


def test_a_run_that_is_done(train, run_frcnn, tiny_voc, tmp_path):
    run = tmp_path / "run"
    assert train("--voc", tiny_voc, "--output", run, "--iterations", 2).code == 0
    before = {path.name: path.read_bytes() for path in run.iterdir() if not path.name.startswith("events")}
    fewer = run_frcnn("train", "--resume", run, "--iterations", 1)
    assert fewer.code == 2
    assert fewer.err.splitlines()[-1] == f"frcnn: --iterations 1: the run in {run} has done 2 already"
    assert {name: (run / name).read_bytes() for name in before} == before
    again = run_frcnn("train", "--resume", run)
    assert again.code == 0, again.err
    assert f"{run}: all 2 iterations are done; a larger number of --iterations goes on" in again.err
    assert (run / "model.safetensors").read_bytes() == before["model.safetensors"]


def test_region_wise_sampling(train, run_frcnn, tiny_voc, tmp_path):
    run = tmp_path / "run"
    common = ("--voc", tiny_voc, "--output", run, "--iterations", 1, "--sampling", "region-wise")
    refused = train(*common, "--images-per-batch", 4)
    assert (refused.code, refused.err) == (
        2, "frcnn: --images-per-batch 4: with --sampling region-wise each of the 16 RoIs is from another image\n"
    )  # fmt: skip
    assert not run.exists()
    outcome = train(*common, "--images-per-pass", 5)
    assert outcome.code == 0, outcome.err
    assert load_checkpoint(run / "model.safetensors").training["sampling"]["images_per_batch"] == 16
    resumed = run_frcnn("train", "--resume", run, "--iterations", 2)
    assert resumed.code == 0, resumed.err
    assert load_checkpoint(run / "model.safetensors").training["sampling"]["images_per_batch"] == 16


def test_proposals_that_lack_an_image(train, tiny_voc, tmp_path, run_frcnn):
    path = tmp_path / "p.npz"
    run_frcnn("propose", tiny_voc / "JPEGImages" / "wine.jpg", "-o", path, "--mode", "single")
    outcome = train("--voc", tiny_voc, "--split", "val", "--output", tmp_path / "run", proposals=path)
    assert outcome.code == 1
    assert f"{path}: no proposals for 1 of 2 images: sheep" in outcome.err


def spoil(root: Path) -> list[str]:
    """Six faults in as many files of a data set; return what must be named."""

    def change(name: str, before: str, after: str) -> None:
        path = root / "Annotations" / f"{name}.xml"
        text = path.read_text()
        assert re.search(before, text)
        path.write_text(re.sub(before, after, text, count=1))

    (root / "Annotations" / "astronaut.xml").write_text("not <xml")
    change("chair", r"<xmin>\d+</xmin>", "<xmin>95</xmin>")  # right of xmax: inverted
    change("cow", r"<xmax>\d+</xmax>", "<xmax>500</xmax>")  # outside
    change("kingfisher", r"(?s)<xmin>(\d+)</xmin>(.*?)<xmax>\d+</xmax>", r"<xmin>10</xmin>\2<xmax>9</xmax>")  # no width
    change("kitten", "<name>cat</name>", "<name>unicorn</name>")
    (root / "JPEGImages" / "horses.jpg").unlink()
    return ["astronaut.xml", "chair.xml", "cow.xml", "kingfisher.xml", "kitten.xml", "horses.jpg"]


VOC = (
    "aeroplane,bicycle,bird,boat,bottle,bus,car,cat,chair,cow,diningtable,dog,horse,motorbike,person,pottedplant,"
    "sheep,sofa,train,tvmonitor"
)


def test_all_faults_of_a_data_set_in_one_go(train, voc_copy, tmp_path):
    files = spoil(voc_copy)
    run = tmp_path / "run"
    outcome = train("--voc", voc_copy, "--classes", VOC, "--output", run, "--iterations", 1)
    assert outcome.code == 1
    first, *lines = outcome.err.splitlines()
    assert first == "frcnn: copy train: 6 faults"
    assert len(lines) == 6
    faults = {name: next(line for line in lines if name in line) for name in files}
    for name, fault in (
        ("astronaut.xml", "not XML"), ("chair.xml", "is inverted"), ("cow.xml", "outside the image"),
        ("kingfisher.xml", "has no area"), ("kitten.xml", "unknown class 'unicorn'"), ("horses.jpg", "no such image"),
    ):  # fmt: skip
        assert fault in faults[name]
    assert not run.exists()

    skipped = train("--voc", voc_copy, "--classes", VOC, "--output", run, "--iterations", 1, "--skip-faulty")
    assert skipped.code == 0, skipped.err
    assert "copy train: 6 faults skipped" in skipped.err
    assert load_checkpoint(run / "model.safetensors").training["images"] == 6


def test_a_truncated_photograph_is_found_before_training(train, voc_copy, tmp_path):
    path = voc_copy / "JPEGImages" / "cow.jpg"
    path.write_bytes(path.read_bytes()[:2500])
    outcome = train("--voc", voc_copy, "--output", tmp_path / "run", "--iterations", 1)
    assert outcome.code == 1
    assert f"{path}: truncated image" in outcome.err
    assert not (tmp_path / "run" / "log.csv").exists()


def test_no_object_at_all(train, voc_copy, tmp_path):
    for path in (voc_copy / "Annotations").iterdir():
        path.write_text(re.sub("(?s)<object>.*</object>", "", path.read_text()))
    outcome = train("--voc", voc_copy, "--output", tmp_path / "run", "--iterations", 1)
    assert outcome.code == 1
    assert len([line for line in outcome.err.splitlines() if line.startswith("frcnn: ")]) == 1
    assert "no image has an object" in outcome.err


def test_what_cannot_be_resumed(train, run_frcnn, tiny_voc, tmp_path):
    nothing = run_frcnn("train", "--resume", tmp_path)
    assert nothing.code == 1
    assert nothing.err.startswith(f"frcnn: {tmp_path / 'config.toml'}: no such file")
    run = tmp_path / "run"
    assert train("--voc", tiny_voc, "--output", run, "--iterations", 1).code == 0
    for option, value in (
        ("--backbone", "vgg16"), ("--optimizer", "adamw"), ("--fc-width", 32), ("--roi-size", 3),
    ):  # fmt: skip
        outcome = run_frcnn("train", "--resume", run, "--iterations", 2, option, value)
        assert outcome.code == 2, (option, outcome.err)
        assert outcome.err.startswith(f"frcnn: {option} {value}: the run in {run} ")
        assert len(outcome.err.splitlines()) == 1
    outcome = run_frcnn("train", "--resume", run, "--iterations", 2, "--raw-targets")
    assert outcome.err == f"frcnn: --normalise-targets False: the run in {run} was begun with True\n"
    settings = (run / "config.toml").read_text()
    (run / "config.toml").write_text(settings.replace("fc-width = 16", "fc-width = 32"))
    outcome = run_frcnn("train", "--resume", run, "--iterations", 2)
    assert outcome.err == f"frcnn: --fc-width 32: the run in {run} was begun with 16\n"
    (run / "config.toml").write_text("no settings")
    outcome = run_frcnn("train", "--resume", run)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("loaders", "sent"), [(1, signal.SIGINT), (2, signal.SIGINT), (1, signal.SIGTERM), (2, signal.SIGHUP)]
)
def test_a_signal_and_resume(tiny_voc, tiny_proposals_path, tmp_path, killing, run_frcnn, loaders, sent):
    """Ctrl-C, what a scheduler sends, and a closed terminal; each reaches every process of the group."""
    run = tmp_path / "run"
    stopped = killing(
        "train", *SMALL, "--voc", tiny_voc, "--proposals", tiny_proposals_path, "--output", run, "--loaders", loaders,
        "--iterations", 100_000, folder=run, kill={"rows": 3, "later": 0, "signal": sent, "who": "group"},
    )  # fmt: skip
    assert stopped.code == 128 + sent, stopped.text
    assert not stopped.left
    assert "Traceback" not in stopped.text
    last = stopped.text.splitlines()[-1]
    assert re.fullmatch(
        rf"frcnn: stopped after iteration \d+ of 100000; all is saved in {run}; go on with: frcnn train --resume {run}",
        last,
    )
    done = int(re.search(r"iteration (\d+) of", last)[1])
    assert load_checkpoint(run / "model.safetensors").training["iteration"] == done
    assert not list(run.glob(".*"))

    resumed = run_frcnn("train", "--resume", run, "--iterations", done + 2, "--loaders", 0)
    assert resumed.code == 0, resumed.err
    assert f"iterations {done + 1} to {done + 2}" in resumed.err
    assert iterations(run) == list(range(1, done + 3))


def test_weights_that_would_need_a_download(train, tiny_voc, tmp_path):
    outcome = train(
        "--voc", tiny_voc, "--output", tmp_path / "run", "--iterations", 1, "--backbone", "vgg16",
        "--backbone-weights", "imagenet", proposals=None,
    )  # fmt: skip
    assert not (tmp_path / "run").exists()  # found out before hours of proposals, not after them
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1].startswith("frcnn: ImageNet weights of vgg16")
    assert "--allow-download" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code", "fault"),
    [
        (["--backbone", "no_such_net"], 2, "unknown backbone 'no_such_net'"),
        (["--backbone-weights", "gone.pth"], 1, "gone.pth: no such file"),
        (["--voc", "gone"], 1, "gone: no such folder"),
        (["--split", "gone"], 1, "splits there are: test, train, val"),
        (["--output", "taken"], 1, "taken"),
    ],
)
def test_faults_of_the_call(train, tiny_voc, tmp_path, monkeypatch, arguments, code, fault):
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    outcome = train("--voc", tiny_voc, "--output", "run", "--iterations", 1, *arguments)
    assert outcome.code == code, outcome.err
    assert "Traceback" not in outcome.err
    assert fault in outcome.err.splitlines()[-1]
    assert len([line for line in outcome.err.splitlines() if line.startswith("frcnn: ")]) == 1


def test_init_from_a_missing_file(train, tiny_voc, tmp_path):
    gone = tmp_path / "gone.safetensors"
    outcome = train("--voc", tiny_voc, "--output", tmp_path / "run", "--init", gone, small=QUICK)
    assert (outcome.code, outcome.err) == (1, f"frcnn: {gone}: no such file\n")


def test_further_training_of_a_compressed_model(train, run_frcnn, tiny_checkpoint, tiny_voc, tmp_path):
    small = tmp_path / "small.safetensors"
    assert run_frcnn("compress-svd", tiny_checkpoint, "-o", small, "--fc6", 6, "--fc7", 5).code == 0
    run = tmp_path / "run"
    outcome = train(
        "--voc", tiny_voc, "--init", small, "--output", run, "--iterations", 1, "--lr", 1e-9, small=QUICK
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    before, after = load_checkpoint(small), load_checkpoint(run / "model.safetensors")
    assert after.architecture == before.architecture
    assert after.normalisation == before.normalisation
    # at this learning rate the detector is what it was, target normalisation folded and unfolded again
    for name, value in before.state.items():
        torch.testing.assert_close(after.state[name], value, atol=1e-4, rtol=1e-3)
    more = run_frcnn("train", "--resume", run, "--iterations", 2)
    assert more.code == 0, more.err


def test_a_finished_run_is_not_overwritten(train, run_frcnn, tiny_checkpoint, tiny_voc, tmp_path):
    run = tmp_path / "run"
    assert train("--voc", tiny_voc, "--output", run, "--iterations", 1).code == 0
    before = (run / "model.safetensors").read_bytes()
    for again, fault in (
        (train("--voc", tiny_voc, "--output", run, "--iterations", 1), "holds a run already"),
        (run_frcnn("train", "--resume", run, "--output", tmp_path / "other"), "--output: --resume goes on"),
        (run_frcnn("train", "--init", tiny_checkpoint, "--backbone", "vgg16", "--output", tmp_path / "b"), "--init"),
    ):
        assert again.code == 2
        assert fault in again.err.splitlines()[-1]
    assert (run / "model.safetensors").read_bytes() == before


def test_a_run_from_the_configuration_of_another(train, run_frcnn, tiny_voc, tmp_path):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    assert train("--voc", tiny_voc, "--output", first, "--iterations", 2, "--seed", 3).code == 0
    outcome = run_frcnn("train", "--config", first / "config.toml", "--output", second)
    assert outcome.code == 0, outcome.err
    assert (second / "config.toml").read_text() == (first / "config.toml").read_text()
    losses = [[line.split(",")[:4] for line in (run / "log.csv").read_text().splitlines()] for run in (first, second)]
    assert losses[0] == losses[1]
    outcome = run_frcnn("train", "--config", first / "config.toml", "--output", third, "--seed", 4, "--iterations", 1)
    assert outcome.code == 0, outcome.err
    assert load_checkpoint(third / "model.safetensors").training["seed"] == 4
    changed = (first / "config.toml").read_text().replace("lr = 0.001", "lr = -1")
    (first / "config.toml").write_text(changed)
    outcome = run_frcnn("train", "--config", first / "config.toml", "--output", tmp_path / "fourth")
    assert (outcome.code, outcome.err) == (
        2, f"frcnn: {first / 'config.toml'}: optimizer.lr: -1.0 is not in the range x>0\n"
    )  # fmt: skip


def test_another_data_set_takes_the_place_of_the_configured_one(run_frcnn, tiny_voc, tmp_path):
    (tmp_path / "config.toml").write_text(f'[data]\ncoco = "gone.json"\nimages = "{tmp_path}"\n')
    outcome = run_frcnn("train", "--config", tmp_path / "config.toml", "--voc", tiny_voc, "--check")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("tiny train: 8 images, ")


def test_coco_layout(train, tiny_dataset, tiny_voc, tmp_path):
    cat = next(record for record in tiny_dataset.records if record.id == "kitten")
    x1, y1, x2, y2 = map(float, cat.objects.boxes[0])
    annotation = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [x1, y1, x2 - x1, y2 - y1]}
    content = {
        "images": [{"id": 7, "file_name": "kitten.jpg", "width": cat.width, "height": cat.height}],
        "annotations": [annotation],
        "categories": [{"id": 3, "name": "cat"}],
    }
    (tmp_path / "ann.json").write_text(json.dumps(content))
    run = tmp_path / "run"
    arguments = ("--coco", tmp_path / "ann.json", "--images", tiny_voc / "JPEGImages", "--output", run)
    outcome = train(*arguments, "--iterations", 1)
    assert outcome.code == 0, outcome.err
    assert load_checkpoint(run / "model.safetensors").classes == ("cat",)
