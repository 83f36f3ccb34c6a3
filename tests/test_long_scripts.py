"""The scripts that a person runs seldom: that they run, and what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


def run(*words: object, timeout: int = 300) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*map(str, words)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a shell script")
def test_the_part_of_on_a_gpu_that_needs_none(tmp_path):
    ended = run("sh", "-c", "CUDA_VISIBLE_DEVICES= exec scripts/on_a_gpu.sh $0", tmp_path / "results.json")
    assert ended.returncode == 0, ended.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["roi_pool"]["forward equal"]
    assert results["roi_pool"]["ours: the same bits twice"]
    assert results["roi_pool"]["backward differs by at most"] < 1e-4
    assert results["training_step"].keys() == {"float32", "bfloat16"}
    seconds = results["detection"]["seconds"]
    assert list(seconds["before"]) == list(seconds["after"]) == ["conv", "RoI pool", "fc6", "fc7", "other"]
    assert "fc6 and fc7: " in ended.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")
def test_a_short_soak_loses_nothing(tmp_path):
    ended = run(sys.executable, "scripts/soak.py", "--minutes", 2, "--rounds", 4, "--seed", 2, "--folder", tmp_path)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0] == "| command | disturbed by | rounds | lost | processes left | files left | faults |"
    rounds, *others = [int(cell.strip(" *")) for cell in lines[-1].strip("|").split("|")[2:]]
    assert rounds >= 1
    assert others == [0, 0, 0, 0]
    assert not list(tmp_path.iterdir())
