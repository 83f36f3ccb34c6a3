"""Recipes: what takes the place of defaults, what wins over it, and what is wrong with one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frcnn_cli.commands.train import train
from frcnn_cli.commands.train_call import GROUPS, TrainCall
from frcnn_cli.commands.train_config import write_config
from frcnn_cli.commands.train_options import RECIPES
from frcnn_cli.commands.train_recipe import FOLDER
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.engine.checkpoint import load_checkpoint
from frcnn_cli.engine.training_config import TrainingConfig, iterations_of
from frcnn_cli.errors import DataError, UsageError
from frcnn_cli.settings import leaves


def call(*arguments: object) -> TrainCall:
    with train.make_context("train", ["--output", "nowhere", *map(str, arguments)]) as context:
        return TrainCall.parse(context)


@pytest.fixture
def recipe(tmp_path):
    """Write a recipe of one's own."""

    def write(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return write


def test_the_recipes_are_the_files_of_the_package():
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(RECIPES)
    for path in FOLDER.glob("*.toml"):
        assert tomlkit.parse(path.read_text())["recipe"]["about"]


def test_the_paper_is_what_the_fields_default_to():
    """The file is to be quoted, the fields are what is computed with: they must say the same."""
    found = call("--recipe", "paper", "--allow-download")
    assert found.training == TrainingConfig()
    assert (found.model.backbone, found.model.class_agnostic, found.length.epochs) == ("vgg16", False, None)
    named = set(tomlkit.parse((FOLDER / "paper.toml").read_text())["optimizer"])
    assert named == {
        "iterations", "optimizer", "lr", "backbone-lr-factor", "momentum", "weight-decay", "schedule", "steps",
        "warmup", "loss-lambda", "normalise-targets", "ema", "precision",
    }  # fmt: skip


@pytest.mark.parametrize("backbone", ["vgg16", "alexnet"])
def test_the_papers_networks_take_its_recipe(backbone):
    found = call("--backbone", backbone, "--allow-download")
    assert (found.recipe.name, found.training, found.model.backbone) == ("paper", TrainingConfig(), backbone)


def test_other_networks_take_what_measurements_found():
    for found in (call(), call("--backbone", "resnet18")):
        assert found.recipe.name == "auto"
        assert (found.training.optimizer, found.training.dropout, found.training.schedule.kind) == (
            "adamw", 0.2, "cosine",
        )  # fmt: skip
        assert found.model.class_agnostic
        assert found.training.scales.short_sides == (288, 336, 384, 432, 480)
    downloaded = ("--backbone", "vgg16", "--allow-download")
    assert call(*downloaded, "--recipe", "auto").training.optimizer == "adamw"


def test_every_option_wins_over_a_recipe(recipe, tmp_path):
    found = call("--dropout", 0.5, "--class-boxes", "--optimizer", "sgd", "--short-side", 600, "--momentum", 0.8)
    assert (found.training.dropout, found.model.class_agnostic, found.training.optimizer) == (0.5, False, "sgd")
    assert found.training.scales.short_sides == (600,)
    assert found.training.schedule.kind == "cosine"  # the rest is the recipe's
    (tmp_path / "config.toml").write_text("[optimizer]\nlr = 0.25\n")
    found = call("--config", tmp_path / "config.toml", "--recipe", recipe("[optimizer]\nlr = 0.5\nwarmup = 7\n"))
    assert (found.training.lr, found.training.schedule.warmup) == (0.25, 7)


def test_a_recipe_of_ones_own(recipe):
    path = recipe(
        '[recipe]\nabout = "mine"\n[optimizer]\nlr = 0.5\nsteps = [4, 5]\n[sampling]\nbackground-iou = [0, 0.3]\n'
    )
    found = call("--recipe", path)
    assert (found.recipe.name, found.recipe.about) == (str(path), "mine")
    assert (found.training.lr, found.training.schedule.steps) == (0.5, (4, 5))
    assert found.training.sampling.background_iou == (0.0, 0.3)
    assert found.training.optimizer == "sgd"  # what it leaves out is the paper's
    assert found.values()["recipe"] == str(path)


@pytest.mark.parametrize(
    ("arguments", "iterations"),
    [
        ([], 400),  # four passes over eight images, two at a time, are 16: too few
        (["--epochs", 4], 16),
        (["--epochs", 0.1], 1),
        (["--epochs", 100], 400),
        (["--epochs", 101, "--images-per-batch", 4], 202),
        (["--iterations", 30], 30),
        (["--recipe", "paper", "--backbone", "alexnet", "--backbone-weights", "none"], 40_000),
        (["--recipe", "paper", "--backbone", "alexnet", "--backbone-weights", "none", "--epochs", 3], 12),
    ],
)
def test_how_long_a_run_is(tiny_voc, arguments, iterations):
    dataset = load_voc(tiny_voc, "train")
    settled = call("--fc-width", 8, *arguments).for_data(dataset)
    assert settled.training.iterations == iterations
    assert (settled.values()["iterations"], settled.values()["epochs"]) == (iterations, None)


def test_iterations_of_epochs():
    assert iterations_of(4, 3877, 2) == 7754
    assert iterations_of(1, 3, 2) == 2  # no image is left out
    assert iterations_of(0.5, 1, 8) == 1


def test_which_weights_a_run_starts_from(tiny_voc):
    known = load_voc(tiny_voc, "train")
    other = load_voc(tiny_voc, "train", classes=[*known.classes, "unicorn"])
    fewer = load_voc(tiny_voc, "train", classes=known.classes[:2], skip_faulty=True)
    assert call().for_data(known).model.init == "bundled"
    assert call().for_data(fewer).model.init == "bundled"
    assert call().for_data(other).model.init is None
    for named in (["--fc-width", 64], ["--backbone-weights", "none"], ["--backbone", "resnet18"], ["--class-boxes"]):
        assert call(*named).for_data(known).model.init is None, named
    assert call("--recipe", "paper", "--allow-download").for_data(known).model.init is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[optimizer]\nlearning-rat = 1", "optimizer.learning-rat: no such option"),
        ("[optimizer]\nwamrup = 1", "optimizer.wamrup: no such option; optimizer.warmup is one"),
        ("[optimizer]\nlr = -1", "optimizer.lr: -1.0 is not in the range x>0"),
        ("[recipe]\nabuot = 'a'", "recipe.abuot: no such key; was about meant?"),
        ("[recipe]\nleast-iterations = 'a'", 'recipe.least-iterations: "a" is not a whole number'),
        ("[recipe]\nstart-from-bundled = 1", "recipe.start-from-bundled: 1 is not true or false"),
        ("[recipe]\nleast-iterations = true", "recipe.least-iterations: true is not a whole number"),
        ("[recipe]\nleast-iterations = -3", "recipe.least-iterations: -3 is less than 1"),
        ("[recipe]\nstart-from-bundled = true\n[model]\nfc-width = 64", "model.fc-width: start-from-bundled takes"),
        ("[run]\nrecipe = 'auto'", "run.recipe: a recipe does not name another"),
        ("[data]\nsplit = 'a'", "data: a recipe says how to learn, not from what"),
        ("recipe = 3", "recipe: not a table"),
        ("version = true\n", "version True of the file"),
        ("[[optimizer]]\nlr = 1", "optimizer: not one of the tables, which has one name in brackets, [optimizer]"),
        ("[optimizer.lr]\na = 1\nb = 2", "optimizer.lr: a = 1 b = 2 is not a number"),
        ("version = 2\n", "version 2 of the file; this program reads 1"),
        ("version = 'a'\n", "version a of the file"),
        ("[receipt]\na = 1", "receipt: not one of the tables"),
        ("[optimizer]\nepochs = 2\niterations = 3", "epochs and iterations both say how long to train"),
    ],
)
def test_a_fault_of_a_recipe_names_the_file_and_the_key(recipe, text, fault):
    path = recipe(text)
    with pytest.raises(UsageError) as caught:
        call("--recipe", path)
    assert str(caught.value).startswith(f"{path}: ")
    assert fault in str(caught.value)


def test_no_such_recipe(tmp_path):
    with pytest.raises(UsageError, match=r"--recipe paeper: not one of auto, paper, nor a .* was paper meant\?"):
        call("--recipe", "paeper")
    with pytest.raises(DataError, match=r"gone\.toml: no such file"):
        call("--recipe", tmp_path / "gone.toml")
    with pytest.raises(UsageError, match="--iterations and --epochs both say how long to train"):
        call("--iterations", 3, "--epochs", 3)


def test_a_resumed_run_has_its_own_settings(run_frcnn, tmp_path):
    (tmp_path / "config.toml").write_text("")
    outcome = run_frcnn("train", "--resume", tmp_path, "--recipe", "auto")
    assert outcome.code == 2
    assert outcome.err == "frcnn: --recipe: --resume goes on in its own folder, from its own state\n"


def test_steps_keep_their_place_in_a_run_of_epochs(tiny_voc):
    dataset = load_voc(tiny_voc, "train")  # 8 images, two at a time
    paper = ("--backbone", "alexnet", "--backbone-weights", "none")
    assert call(*paper, "--epochs", 100).for_data(dataset).training.schedule.steps == (300,)  # three quarters of 400
    assert call(*paper, "--epochs", 100, "--steps", "7,9").for_data(dataset).training.schedule.steps == (7, 9)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--steps", 7], "--steps: the learning rate falls along a cosine"),
        (["--momentum", 0.5], "--momentum: AdamW has none"),
        (
            ["--backbone", "vgg16"],
            "ImageNet weights of vgg16 (torchvision's VGG16_Weights.IMAGENET1K_V1) need a download",
        ),
        (["--device", "nonsense"], "--device nonsense: not a device"),
        (["--seed", 10**20], "is more than 9223372036854775807"),
        (["--checkpoint-every", 10**20], "is more than 9223372036854775807"),
        (["--steps", 10**20, "--schedule", "step"], "numbers end at 9223372036854775807"),
        (["--epochs", "1e308"], "1e+308 is not in the range"),
        (["--voc", "a", "--val-coco", "b"], "--val-coco: what to measure on is named by --val-split NAME beside --voc"),
        (["--coco", "a", "--val-split", "b"], "--val-split: what to measure on is named by --val-coco ANN.json"),
    ],
)
def test_options_without_an_effect_and_values_without_a_meaning(run_frcnn, tmp_path, arguments, fault):
    outcome = run_frcnn("train", "--output", tmp_path / "run", *arguments)
    assert outcome.code == 2, outcome.err
    assert fault in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.fixture
def written(tiny_voc, tmp_path):
    """The config.toml of a run of the recipe `auto` that began with the bundled detector, as it would be written."""
    settled = call("--voc", tiny_voc, "--proposals", tmp_path / "p.npz").for_data(load_voc(tiny_voc, "train"))
    write_config(tmp_path / "config.toml", train.params, settled.values())
    return tmp_path / "config.toml"


OTHER = {
    int: "3", float: "0.125", str: "other", Path: "elsewhere", tuple[int, ...]: "7,9", tuple[float, float]: "0.2 0.3",
}  # fmt: skip
CHOSEN = {
    "schedule": "step", "optimizer": "sgd", "precision": "bfloat16", "sampling": "region-wise", "mode": "single",
    "normalisation": "caffe", "device": "cpu", "epochs": "2", "backbone_weights": "none", "backbone": "resnet18",
    "steps": "7,9 --schedule step", "momentum": "0.125 --optimizer sgd", "val_proposals": "elsewhere",
    "search_size": "500", "proposal_layout": "mcg", "checkpoint_every": "10min",
}  # fmt: skip
"""A value other than that of `auto`, and what it needs beside it to mean something."""


STORED = [
    leaf
    for group in GROUPS.values()
    for leaf in leaves(group)
    if leaf.about.table and leaf.name not in ("recipe", "init", "detector")
]


@pytest.mark.parametrize("leaf", STORED, ids=lambda leaf: leaf.key)
def test_every_option_of_the_command_line_wins_over_a_written_run(written, leaf):
    """It is found again, as it was named, beside a config.toml that has a value for it."""
    if leaf.type is bool:
        default = call("--config", written).values()[leaf.name]
        flag = leaf.about.off if default and leaf.about.off else leaf.key
        named, expected = [f"--{flag}"], flag == leaf.key
    else:
        text = CHOSEN.get(leaf.name) or OTHER[leaf.type]
        named, expected = [f"--{leaf.key}", *text.split()], None
    found = call("--config", written, *named).values()[leaf.name]
    if expected is None:
        expected = leaf.type(text.split()[0]) if leaf.type in (int, float, str, Path) else found
        assert found != call("--config", written).values()[leaf.name]
    assert found == expected


def test_a_written_run_needs_nothing_but_its_data(written, tmp_path, tiny_voc):
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[optimizer]\nlr = 0.5\n")
    weights = tmp_path / "w.pth"
    weights.touch()
    settled = call("--voc", tiny_voc, "--recipe", recipe, "--backbone-weights", weights)
    write_config(written, train.params, settled.values())
    recipe.unlink()
    again = call("--config", written)
    assert (again.training.lr, again.values()["recipe"]) == (0.5, str(recipe))
    weights.unlink()
    with train.make_context("train", ["--resume", str(tmp_path)]) as context:
        assert TrainCall.parse(context).training.lr == 0.5  # its state has the weights
    with pytest.raises(DataError, match=r"w\.pth: no such file"):
        call("--config", written)


def test_a_recipe_that_nothing_is_taken_from_is_not_named(written, photographs, tmp_path):
    config = tmp_path / "full.toml"
    config.write_text((photographs / "earlier_run" / "config.toml").read_text())
    again = call("--config", config)
    assert (again.recipe.name, again.values()["recipe"]) == ("", None)
    with pytest.raises(UsageError, match="--recipe paper: has no effect"):
        call("--config", config, "--recipe", "paper")


def test_an_option_that_builds_a_model_undoes_a_start_that_nobody_named(written):
    assert call("--config", written).model.init == "bundled"
    anew = call("--config", written, "--fc-width", 64)
    assert (anew.model.init, anew.model.fc_width) == (None, 64)
    with pytest.raises(UsageError, match="--fc-width: the model of --init is as it is"):
        call("--config", written, "--fc-width", 64, "--init", "bundled")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    split=st.text(min_size=1), names=st.lists(st.text("ab [],'\"\\\n\t", min_size=1), min_size=1, max_size=3),
    steps=st.lists(st.integers(1, 2**63 - 1), max_size=3),
)  # fmt: skip
def test_what_is_written_is_read_back_or_refused(tmp_path, split, names, steps):
    names = list(dict.fromkeys(name.strip() for name in names if name.strip())) or ["a"]
    values = {**call().values(), "split": split, "classes": tuple(names), "steps": tuple(steps)}
    path = tmp_path / "odd.toml"
    try:
        write_config(path, train.params, values)
    except DataError:
        with pytest.raises(UnicodeEncodeError):
            (split + "".join(names)).encode()
        return
    with train.make_context("train", ["--config", str(path)]) as context:
        read = context.params
    assert (read["split"], read["classes"], read["steps"]) == (split, tuple(names), tuple(steps))


def test_what_a_recipe_chose_is_said_and_written(run_frcnn, tiny_voc, tiny_proposals_path, tmp_path):
    run = tmp_path / "run"
    outcome = run_frcnn(
        "train", "--voc", tiny_voc, "--output", run, "--proposals", tiny_proposals_path, "--loaders", 0,
        "--epochs", 0.5, "--short-side", 64, "--rois-per-batch", 16,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    lines = [line for line in outcome.err.splitlines() if line.startswith("recipe ")]
    about = tomlkit.parse((FOLDER / "auto.toml").read_text())["recipe"]["about"]
    assert lines == [f"recipe auto but for --epochs, --short-side: {about}; 2 iterations from bundled"]
    written = tomlkit.parse((run / "config.toml").read_text()).unwrap()
    assert (written["run"]["recipe"], written["model"]["init"]) == ("auto", "bundled")
    assert (written["optimizer"]["iterations"], written["optimizer"]["optimizer"]) == (2, "adamw")
    assert "epochs" not in written["optimizer"]
    training = load_checkpoint(run / "model.safetensors").training
    assert (training["recipe"], training["weights"], training["dropout"]) == ("auto", "bundled", 0.2)
    assert {entry.name for entry in fields(TrainingConfig)} <= set(training)
