"""config.toml: what a run writes is read back as the same options; the command line wins; faults name file and key."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frcnn_cli.commands.train import train
from frcnn_cli.commands.train_config import write_config
from frcnn_cli.commands.train_options import table_of
from frcnn_cli.errors import DataError, UsageError

NOT_STORED = {"output", "resume", "config", "check", "plot"}
"""Where to, and what to do."""


def options(*arguments: object) -> dict:
    """The options of a call, as the command sees them."""
    return context(*arguments).params


def context(*arguments: object) -> click.Context:
    return train.make_context("train", [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path):
    """Write a config.toml."""

    def write(text: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    return write


def test_every_option_has_its_key_in_one_table():
    stored = [param.name for param in train.params if table_of(param)]
    assert len(stored) == len(set(stored))
    assert set(stored) == {param.name for param in train.params} - NOT_STORED


SHARE = st.floats(0, 1)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lr=st.floats(1e-12, 1e6), decay=st.floats(0, 10),
    iou=st.tuples(SHARE, SHARE).filter(lambda pair: pair[0] < pair[1]),
    sides=st.lists(st.integers(1, 2000), min_size=1, max_size=5), steps=st.lists(st.integers(1, 10**6), max_size=3),
    seed=st.integers(0, 2**62), width=st.none() | st.integers(1, 9999), agnostic=st.booleans(), skip=st.booleans(),
    names=st.none() | st.lists(st.from_regex(r"[^\W_][^,\n\r\x00-\x1f]{0,8}[^\W_]", fullmatch=True), min_size=1),
    schedule=st.sampled_from(["step", "cosine"]), split=st.text("abc \"'\\#=[]é", min_size=1),
)  # fmt: skip
def test_written_and_read_back(
    tmp_path, lr, decay, iou, sides, steps, seed, width, agnostic, skip, names, schedule, split
):
    call = [
        "--voc", tmp_path, "--split", split, "--lr", lr, "--weight-decay", decay, "--background-iou", *iou,
        "--short-side", ",".join(map(str, sides)), "--steps", ",".join(map(str, steps)), "--seed", seed,
        "--schedule", schedule, *(["--fc-width", width] if width else []), *(["--class-agnostic"] if agnostic else []),
        *(["--skip-faulty"] if skip else []), *(["--classes", ",".join(names)] if names else []),
    ]  # fmt: skip
    first = context(*call)
    write_config(tmp_path / "config.toml", train.params, first.params)
    again = options("--config", tmp_path / "config.toml")
    expected = first.params | {"config": tmp_path / "config.toml", "voc": tmp_path}
    assert again == expected
    assert {name: type(value) for name, value in again.items()} == {n: type(value) for n, value in expected.items()}


def test_the_command_line_wins_over_the_file_and_the_file_over_defaults(config):
    path = config(
        '# by hand\n[optimizer]\nlr = 1\nsteps = 7\n\n[images]\nshort-side = [320, 400]\n'
        '[model]\nclass-agnostic = true\n[sampling]\nbackground-iou = [0, 0.4]\n[data]\nclasses = ["a b", "c"]\n'
    )  # fmt: skip
    found = options("--config", path, "--class-boxes", "--momentum", 0.5, "--short-side", 64)
    assert (found["lr"], found["steps"], found["background_iou"]) == (1.0, (7,), (0.0, 0.4))
    assert found["classes"] == ("a b", "c")
    assert (found["short_side"], found["class_agnostic"], found["momentum"]) == ((64,), False, 0.5)
    assert (found["iterations"], found["weight_decay"]) == (40_000, 0.0005)
    assert options("--short-side", 64, "--config", path)["short_side"] == (64,)  # in any order
    assert options("--config", path)["class_agnostic"] is True


def test_paths_are_absolute_and_what_init_replaces_is_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VOC_ROOT", "here/VOC")
    Path("weights.pth").touch()
    write_config(
        tmp_path / "a.toml",
        train.params,
        context("--voc", "--init", "a.st", "--backbone-weights", "weights.pth").params,
    )
    text = (tmp_path / "a.toml").read_text()
    assert f'voc = "{tmp_path / "here/VOC"}" # ' in text
    assert f'init = "{tmp_path / "a.st"}" # ' in text
    assert "# backbone: " in text
    assert "\nbackbone = " not in text
    write_config(tmp_path / "b.toml", train.params, context("--voc", "--backbone-weights", "weights.pth").params)
    text = (tmp_path / "b.toml").read_text()
    assert f'backbone-weights = "{tmp_path / "weights.pth"}" # Weights to start from.\n' in text
    assert "\n# init: Start from a trained detector instead.\n" in text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[optimizer]\nlearning-rat = 1", "optimizer.learning-rat: no such option"),
        ("[optimizer]\nwamrup = 1", "optimizer.wamrup: no such option; optimizer.warmup is one"),
        ("[model]\nlr = 1", "model.lr: belongs into [optimizer]"),
        ("[run]\noutput = 'a'", "run.output: no such option"),
        ("[images]\nshort_side = 1", "images.short_side: no such option; images.short-side is one"),
        ("lr = 1", "lr: not one of the tables, which are [data], [model], "),
        ("[[data]]\nsplit = 'a'", "data: not one of the tables"),
        ("[optimizer]\nlr = 'high'", 'optimizer.lr: "high" is not a number'),
        ("[optimizer]\nlr = '1'", "is not a number"),
        ("[optimizer]\nlr = true", "optimizer.lr: true is not a number"),
        ("[optimizer]\nlr = 0", "optimizer.lr: 0.0 is not in the range x>0"),
        ("[optimizer]\nlr = nan", "optimizer.lr: nan is not a finite number"),
        ("[optimizer]\nlr = inf", "optimizer.lr: inf is not a finite number"),
        (f"[optimizer]\nlr = {10**400}", "is not a number"),
        ("[optimizer]\niterations = 2.0", "optimizer.iterations: 2.0 is not a whole number"),
        ("[optimizer]\niterations = 0", "optimizer.iterations: 0 is not in the range x>=1"),
        ("[optimizer]\noptimizer = 'adam'", "optimizer.optimizer: 'adam' is not one of 'sgd', 'adamw'"),
        ("[optimizer]\nsteps = [3, 'a']", "is not a whole number or a list of them"),
        ("[images]\nshort-side = [320, 0]", "images.short-side: numbers start at 1"),
        ("[images]\nshort-side = []", "images.short-side: needs a number"),
        ("[images]\nshort-side = '320,400'", "is not a whole number or a list of them"),
        ("[sampling]\nbackground-iou = [0.1]", "sampling.background-iou: [0.1] is not a list of 2 numbers"),
        ("[sampling]\nbackground-iou = [0.5, 0.1]", "sampling.background-iou: 0.5 0.1: the first must be the smaller"),
        ("[model]\nclass-agnostic = 'no'", 'model.class-agnostic: "no" is not true or false'),
        ("[data]\nclasses = 'a,b'", 'data.classes: "a,b" is not a list of texts'),
        ("[data]\nvoc = 3", "data.voc: 3 is not a text"),
    ],
)
def test_a_fault_names_the_file_and_the_key(config, text, fault):
    path = config(text)
    with pytest.raises(UsageError) as caught:
        options("--config", path)
    assert str(caught.value).startswith(f"{path}: ")
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"[data", "not TOML ("),
        (b"[run]\nseed = 1\nseed = 2", "not TOML ("),
        (b'[data]\nvoc = "\xff"', "cannot be read ("),
        (None, "no such file"),
    ],
)
def test_a_file_that_is_none(tmp_path, content, fault):
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        options("--config", path)
    assert str(caught.value).startswith(f"{path}: {fault}")
    assert "\n" not in str(caught.value)


def test_where_it_cannot_be_written(tmp_path):
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(DataError, match=r"config\.toml: cannot be written"):
        write_config(tmp_path / "config.toml", train.params, context().params)
