"""`frcnn compress-svd`: the table's numbers, and a result like any other checkpoint."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from frcnn_cli.engine.checkpoint import load_checkpoint
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.runtimes.torch_engine import TorchEngine

PHOTOGRAPHS = Path(__file__).parents[1] / "data" / "JPEGImages"


def rows(text: str) -> dict[str, list[str]]:
    """{first cell: the other cells} of a table."""
    cells = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in text.splitlines()]
    return {row[0]: row[1:] for row in cells if len(row) > 3}


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_ranks(run_frcnn, tiny_checkpoint, tmp_path):
    small = tmp_path / "small.safetensors"
    outcome = run_frcnn("compress-svd", tiny_checkpoint, "-o", small, "--fc6", 8, "--fc7", 4)
    assert outcome.code == 0
    table = rows(outcome.out)
    weights = load_checkpoint(tiny_checkpoint).state
    total = {"both": 0, "->": 0}
    for name, rank in (("fc6", 8), ("fc7", 4)):
        weight = weights[f"head.{name}.weight"].double().numpy()
        u, v = weight.shape
        squares = np.linalg.svd(weight, compute_uv=False) ** 2
        assert table[name] == [f"{u}x{v}", "100%", f"{u * v + u:,}", f"{u * v:,}"]
        shapes, energy, parameters, multiply_adds = table[f"-> t={rank}"]
        assert shapes == f"{rank}x{v}, {u}x{rank}"
        assert float(energy.rstrip("%")) == pytest.approx(100 * squares[:rank].sum() / squares.sum(), abs=0.006)
        assert number(multiply_adds) == rank * (u + v)
        assert number(parameters) == rank * (u + v) + u  # the bias is kept
        total["both"] += u * v + u
        total["->"] += rank * (u + v) + u
    for name, parameters in total.items():
        assert number(table[name][2]) == parameters
    assert small.stat().st_size < tiny_checkpoint.stat().st_size
    assert f"{small.stat().st_size / 1e6:.1f} MB" in outcome.out


def test_one_layer_at_a_time(run_frcnn, tiny_checkpoint, tmp_path):
    once, twice = tmp_path / "once.safetensors", tmp_path / "twice.safetensors"
    assert run_frcnn("compress-svd", tiny_checkpoint, "-o", once, "--fc7", 4).code == 0
    assert load_checkpoint(once).architecture.fc6_rank is None
    assert run_frcnn("compress-svd", once, "-o", twice, "--fc6", 8).code == 0
    assert (load_checkpoint(twice).architecture.fc6_rank, load_checkpoint(twice).architecture.fc7_rank) == (8, 4)
    for arguments in (("--fc6", 4), ("--energy", 0.5)):
        outcome = run_frcnn("compress-svd", twice, "-o", tmp_path / "no.safetensors", *arguments)
        assert outcome.code == 2
        assert "compressed already" in outcome.err
    assert not (tmp_path / "no.safetensors").exists()


@pytest.mark.parametrize("fraction", [0.5, 0.99, 1])
def test_energy(run_frcnn, tiny_checkpoint, tmp_path, fraction):
    small = tmp_path / "small.safetensors"
    assert run_frcnn("compress-svd", tiny_checkpoint, "-o", small, "--energy", fraction).code == 0
    architecture = load_checkpoint(small).architecture
    state = load_checkpoint(tiny_checkpoint).state
    for name, rank in (("fc6", architecture.fc6_rank), ("fc7", architecture.fc7_rank)):
        squares = torch.linalg.svdvals(state[f"head.{name}.weight"].double()).square()
        kept = squares.cumsum(0) / squares.sum()
        assert kept[rank - 1] >= fraction - 1e-5
        assert rank == 1 or kept[rank - 2] < fraction + 1e-5


def test_half(run_frcnn, tiny_checkpoint, tmp_path):
    for name, options in (("full", []), ("half", ["--half"])):
        run_frcnn("compress-svd", tiny_checkpoint, "-o", tmp_path / name, "--fc6", 8, *options)
    sizes = [(tmp_path / name).stat().st_size for name in ("half", "full")]
    assert sizes[0] == pytest.approx(sizes[1] / 2, rel=0.02)


@pytest.mark.parametrize("rank", [33, 1000])
def test_ranks_out_of_range(run_frcnn, tiny_checkpoint, tmp_path, rank):
    outcome = run_frcnn("compress-svd", tiny_checkpoint, "-o", tmp_path / "a", "--fc7", rank)
    assert outcome.code == 2
    assert outcome.err.startswith("frcnn: --fc7: rank must be 1 to 32")
    assert len(outcome.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_full_rank_changes_nothing_and_detect_and_eval_read_it(
    run_frcnn, tiny_checkpoint, tiny_voc, tiny_proposals_path, tmp_path
):
    same = tmp_path / "same.safetensors"
    assert run_frcnn("compress-svd", tiny_checkpoint, "-o", same, "--fc6", 32, "--fc7", 32).code == 0
    results = []
    for weights in (tiny_checkpoint, same):
        common = ("--weights", weights, "--proposals", tiny_proposals_path, "--json")
        found = json.loads(run_frcnn("detect", tiny_voc / "JPEGImages" / "cow.jpg", "--score", 0.1, *common).out)
        measured = json.loads(run_frcnn("eval", "--voc", tiny_voc, "--split", "val", *common).out)
        results.append((found[0]["detections"], measured["mAP"]))
    (before, mean_before), (after, mean_after) = results
    assert [entry["class"] for entry in before[:3]] == [entry["class"] for entry in after[:3]]
    np.testing.assert_allclose([e["score"] for e in before[:3]], [e["score"] for e in after[:3]], atol=0.002)
    assert mean_before == pytest.approx(mean_after, abs=0.02)


def test_files_that_are_no_checkpoint(run_frcnn, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("a letter")
    for path in (wrong, tmp_path / "gone"):
        outcome = run_frcnn("compress-svd", path, "-o", tmp_path / "a", "--fc6", 3)
        assert outcome.code == 1
        assert outcome.err.startswith(f"frcnn: {path}: ")
        assert len(outcome.err.splitlines()) == 1


@pytest.fixture
def seen(tmp_path):
    """A folder of three."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for path in sorted(PHOTOGRAPHS.glob("*.jpg"))[:3]:
        (folder / path.name).symlink_to(path)
    return folder


def test_less_is_lost_by_responses(run_frcnn, tiny_checkpoint, tmp_path, seen):
    """At the same rank, what the model says of a photograph is nearer to what it said."""
    words = ("--fc6", 4, "--fc7", 3)
    ways = {"weights": words, "responses": (*words, "--calibrate", seen)}
    outcomes = {
        name: run_frcnn("compress-svd", tiny_checkpoint, "-o", tmp_path / name, *way) for name, way in ways.items()
    }
    assert [outcome.code for outcome in outcomes.values()] == [0, 0], outcomes
    assert "energy: share of the variance" in outcomes["responses"].out
    engine = TorchEngine.of(load_checkpoint(tiny_checkpoint))
    whole, pooled = engine.model, {}

    def keep(layer, inputs, output):
        pooled.setdefault("x", inputs[0])

    whole.head.fc6.register_forward_hook(keep)
    Detector(engine).detect(next(seen.glob("*.jpg")))
    lost = {}
    for name in ways:
        smaller = load_checkpoint(tmp_path / name).build().eval()
        with torch.no_grad():
            lost[name] = (smaller.head.fc7_of(pooled["x"]) - whole.head.fc7_of(pooled["x"])).square().mean().item()
    assert lost["responses"] < 0.5 * lost["weights"]


def test_energy_of_responses(run_frcnn, tiny_checkpoint, tmp_path, seen):
    """A share of the variance takes fewer directions than the same share of the squared singular values."""
    ranks = {}
    for name, way in {"weights": (), "responses": ("--calibrate", seen, "--calibration-images", 2)}.items():
        outcome = run_frcnn("compress-svd", tiny_checkpoint, "-o", tmp_path / name, "--energy", 0.95, *way)
        assert outcome.code == 0, outcome.err
        architecture = load_checkpoint(tmp_path / name).architecture
        ranks[name] = architecture.fc6_rank, architecture.fc7_rank
    assert all(few < many for few, many in zip(ranks["responses"], ranks["weights"], strict=True))


def test_one_layer_is_compressed_already(run_frcnn, tiny_checkpoint, tmp_path, seen):
    once, twice = tmp_path / "once.safetensors", tmp_path / "twice.safetensors"
    assert run_frcnn("compress-svd", tiny_checkpoint, "-o", once, "--fc6", 8).code == 0
    outcome = run_frcnn("compress-svd", once, "-o", twice, "--fc7", 4, "--calibrate", seen)
    assert outcome.code == 0, outcome.err
    architecture = load_checkpoint(twice).architecture
    assert (architecture.fc6_rank, architecture.fc7_rank) == (8, 4)


def test_wrong_calls_are_told_before_a_photograph_is_looked_at(run_frcnn, tiny_checkpoint, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"no photograph")
    call = ("compress-svd", tiny_checkpoint, "-o", tmp_path / "no.safetensors")
    for options, fault in (
        (("--calibrate", tmp_path / "broken", "--fc7", 99), "--fc7: rank must be 1 to 32"),
        (("--calibration-images", 5, "--fc7", 4), "--calibration-images 5: of which folder? give --calibrate too"),
    ):
        outcome = run_frcnn(*call, *options)
        assert outcome.code == 2
        assert outcome.err.startswith(f"frcnn: {fault}")


def test_photographs_that_are_none(run_frcnn, tiny_checkpoint, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.jpg").write_bytes(b"no photograph")
    for folder, fault in (
        (empty, f"{empty}: no image"),
        (broken, f"{broken / 'a.jpg'}: "),
        (tmp_path / "none", f"{tmp_path / 'none'}: no such file"),
    ):
        output = tmp_path / "small.safetensors"
        outcome = run_frcnn("compress-svd", tiny_checkpoint, "-o", output, "--fc6", 4, "--calibrate", folder)
        assert outcome.code == 1
        assert outcome.err.splitlines()[-1].startswith(f"frcnn: {fault}")
        assert not output.exists()
