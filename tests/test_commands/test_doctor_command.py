"""`frcnn doctor`, completion in a shell, and what `frcnn train` says at its end."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import frcnn_cli
from frcnn_cli.engine import installation

REPOSITORY = Path(__file__).parent.parent.parent
GUIDE = Path(frcnn_cli.__file__).parent / "OPERATING.md"


def test_this_installation_works(run_frcnn):
    outcome = run_frcnn("doctor", "--json")
    assert outcome.code == 0, outcome.err
    facts = json.loads(outcome.out)
    assert facts["frcnn"] == frcnn_cli.__version__
    assert facts["faults"] == []
    assert facts["test"]["found"] == "cat"
    assert facts["test"]["score"] > 0.5
    assert all(facts["packages"].values())
    assert facts["processor"]["cores"] >= 1
    assert facts["model"]["bytes"] == installation.BUNDLED_MODEL.stat().st_size
    assert Path(facts["kernels"]["folders"][0]).is_dir()


def test_what_does_not_work_is_told(run_frcnn, monkeypatch, tmp_path):
    gone = tmp_path / "gone.safetensors"
    monkeypatch.setattr(installation, "BUNDLED_MODEL", gone)
    monkeypatch.setattr(installation.Detector, "load", lambda: 1 / 0)
    monkeypatch.setattr(installation, "PACKAGES", ("torch", "no-such-package"))
    outcome = run_frcnn("doctor")
    assert outcome.code == 1
    assert outcome.err.splitlines() == [
        "frcnn: no-such-package is not installed: pip install no-such-package",
        f"{gone}: cannot be read (no such file or directory); install the package anew",
    ]
    assert "missing" in outcome.out
    monkeypatch.setattr(installation, "PACKAGES", ("torch",))
    outcome = run_frcnn("doctor")
    assert "frcnn: the self-test failed (ZeroDivisionError: division by zero)" in outcome.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [("frcnn de", "plain,detect"), ("frcnn detect --mo", "plain,--mode"), ("frcnn detect --mode q", "plain,quality")],
)
def test_completion_in_bash(words, expected):
    environment = {"_FRCNN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    ended = subprocess.run(
        [sys.executable, "-m", "frcnn_cli"],
        env={**os.environ, **environment, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert expected in ended.stdout.splitlines(), ended.stderr


def test_the_guide_names_every_variable_that_is_asked_for_and_every_code():
    text = GUIDE.read_text()
    sources = [path.read_text() for path in Path(frcnn_cli.__file__).parent.rglob("*.py")]
    asked = {name for source in sources for name in re.findall(r'environ(?:\.get)?[\[(]"([A-Z_]+)"', source)}
    assert asked
    for name in asked:
        assert f"`{name}`" in text, name
    for code in (0, 1, 2, 129, 130, 143):
        assert re.search(rf"^\| .*\b{code}\b", text, flags=re.MULTILINE), code


def test_train_ends_with_what_to_type_next(run_frcnn, tiny_voc, tiny_proposals_path, tmp_path):
    run = tmp_path / "the run"
    given = ("--proposals", tiny_proposals_path, "--val-proposals", tiny_proposals_path)
    small = (
        "--backbone", "alexnet", "--backbone-weights", "none", "--fc-width", 8, "--roi-size", 2, "--short-side", 48,
        "--rois-per-batch", 8, "--loaders", 0, "--iterations", 1,
    )  # fmt: skip
    ended = run_frcnn("train", "--voc", tiny_voc, *given, "--val-split", "val", *small, "--output", run)
    assert ended.code == 0, ended.err
    detect, evaluate = ended.err.splitlines()[-2:]
    assert detect == f"next: frcnn detect photo.jpg --weights '{run}/best.safetensors' --save-dir found"
    assert shlex.split(evaluate) == [
        "frcnn", "eval", "--voc", str(tiny_voc), "--split", "val", "--weights", f"{run}/best.safetensors",
        "--report", f"{run}/report",
    ]  # fmt: skip
    again = run_frcnn("train", "--voc", tiny_voc, *given[:2], *small, "--output", tmp_path / "unmeasured")
    assert again.err.splitlines()[-1].startswith("next: frcnn detect photo.jpg --weights ")
    assert again.err.splitlines()[-1].endswith("/unmeasured/model.safetensors --save-dir found")
