"""Recipes: what takes the place of defaults, what wins over it, and what is wrong with one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import tomlkit

from frcnn_cli.commands.train import train
from frcnn_cli.commands.train_call import TrainCall
from frcnn_cli.commands.train_options import RECIPES
from frcnn_cli.commands.train_recipe import FOLDER
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.engine.checkpoint import load_checkpoint
from frcnn_cli.engine.training_config import TrainingConfig, iterations_of
from frcnn_cli.errors import DataError, UsageError


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
    found = call("--recipe", "paper")
    assert found.training == TrainingConfig()
    assert (found.model.backbone, found.model.class_agnostic, found.length.epochs) == ("vgg16", False, None)
    named = set(tomlkit.parse((FOLDER / "paper.toml").read_text())["optimizer"])
    assert named == {
        "iterations", "optimizer", "lr", "backbone-lr-factor", "momentum", "weight-decay", "schedule", "steps",
        "warmup", "loss-lambda", "normalise-targets", "ema", "precision",
    }  # fmt: skip


@pytest.mark.parametrize("backbone", ["vgg16", "alexnet"])
def test_the_papers_networks_take_its_recipe(backbone):
    found = call("--backbone", backbone)
    assert (found.recipe.name, found.training, found.model.backbone) == ("paper", TrainingConfig(), backbone)


def test_other_networks_take_what_measurements_found():
    for found in (call(), call("--backbone", "resnet18")):
        assert found.recipe.name == "auto"
        assert (found.training.optimizer, found.training.dropout, found.training.schedule.kind) == (
            "adamw", 0.2, "cosine",
        )  # fmt: skip
        assert found.model.class_agnostic
        assert found.training.scales.short_sides == (288, 336, 384, 432, 480)
    assert call("--backbone", "vgg16", "--recipe", "auto").training.optimizer == "adamw"


def test_every_option_wins_over_a_recipe(recipe, tmp_path):
    found = call("--dropout", 0.5, "--class-boxes", "--optimizer", "sgd", "--short-side", 600)
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
        (["--recipe", "paper", "--backbone", "alexnet"], 40_000),
        (["--recipe", "paper", "--backbone", "alexnet", "--epochs", 3], 12),
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
    assert call("--recipe", "paper").for_data(known).model.init is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[optimizer]\nlearning-rat = 1", "optimizer.learning-rat: no such option"),
        ("[optimizer]\nwamrup = 1", "optimizer.wamrup: no such option; optimizer.warmup is one"),
        ("[optimizer]\nlr = -1", "optimizer.lr: -1.0 is not in the range x>0"),
        ("[recipe]\nabuot = 'a'", "recipe.abuot: no such key; was about meant?"),
        ("[recipe]\nleast-iterations = 'a'", "recipe.least-iterations: 'a' is not a whole number"),
        ("[recipe]\nstart-from-bundled = 1", "recipe.start-from-bundled: 1 is not true or false"),
        ("recipe = 3", "recipe: not a table"),
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


def test_what_a_recipe_chose_is_said_and_written(run_frcnn, tiny_voc, tiny_proposals_path, tmp_path):
    run = tmp_path / "run"
    outcome = run_frcnn(
        "train", "--voc", tiny_voc, "--output", run, "--proposals", tiny_proposals_path, "--loaders", 0,
        "--epochs", 0.5, "--short-side", 64, "--rois-per-batch", 16,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    lines = [line for line in outcome.err.splitlines() if line.startswith("recipe ")]
    about = tomlkit.parse((FOLDER / "auto.toml").read_text())["recipe"]["about"]
    assert lines == [f"recipe auto: {about}; 2 iterations from bundled"]
    written = tomlkit.parse((run / "config.toml").read_text()).unwrap()
    assert (written["run"]["recipe"], written["model"]["init"]) == ("auto", "bundled")
    assert (written["optimizer"]["iterations"], written["optimizer"]["optimizer"]) == (2, "adamw")
    assert "epochs" not in written["optimizer"]
    training = load_checkpoint(run / "model.safetensors").training
    assert (training["recipe"], training["weights"], training["dropout"]) == ("auto", "bundled", 0.2)
    assert {entry.name for entry in fields(TrainingConfig)} <= set(training)
