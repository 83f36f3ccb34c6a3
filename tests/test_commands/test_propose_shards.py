"""`frcnn propose --shard`: the parts together are what one run makes."""

from __future__ import annotations

import pytest

from frcnn_cli.data.proposals import open_proposals
from frcnn_cli.data.proposals.npz import ProposalFile

QUICK = ("--mode", "single", "--max-proposals", 40, "--workers", 1)


@pytest.fixture(scope="module")
def whole(tiny_voc, tmp_path_factory) -> ProposalFile:
    """All ten images in one run."""
    from frcnn_cli.cli import main

    path = tmp_path_factory.mktemp("whole") / "whole.npz"
    assert main([*map(str, ("propose", tiny_voc / "JPEGImages", *QUICK, "-o", path))]) == 0
    return ProposalFile(path)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 12])
def test_any_number_of_shards_is_the_file_of_one_run(run_frcnn, tiny_voc, whole, tmp_path, count):
    output = tmp_path / "p.npz"
    for number in range(count, 0, -1):
        images = (tiny_voc / "JPEGImages",) if number % 2 else ("--voc", tiny_voc, "--split", "test")
        outcome = run_frcnn("propose", *images, *QUICK, "-o", output, "--shard", f"{number}/{count}")
        assert (outcome.code, outcome.out) == (0, ""), outcome.err
    names = [f"p-{number:05d}-of-{count:05d}.npz" for number in range(1, count + 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    together = open_proposals(output)
    assert together.ids == whole.ids
    assert together.meta == whole.meta
    for name, (width, height) in whole.meta["sizes"].items():
        assert together.get(name, width, height).tobytes() == whole.get(name, width, height).tobytes()
    assert run_frcnn("propose", "--proposals", output, "-o", tmp_path / "joined.npz").code == 0
    assert (tmp_path / "joined.npz").read_bytes() == whole.path.read_bytes()


def test_a_job_reads_only_the_images_of_its_shard(run_frcnn, voc_copy, tmp_path):
    (voc_copy / "JPEGImages" / "wine.jpg").write_bytes((voc_copy / "JPEGImages" / "wine.jpg").read_bytes()[:900])
    job = ("propose", "--voc", voc_copy, "--split", "test", *QUICK, "-o", tmp_path / "p.npz", "--shard")
    assert run_frcnn(*job, "1/2").code == 0
    other = run_frcnn(*job, "2/2")
    assert other.code == 1
    assert "wine.jpg: " in other.err
    assert run_frcnn(*job, "2/2", "--skip-faulty").code == 0
    assert len(open_proposals(tmp_path / "p.npz")) == 9


def test_an_interrupted_shard_goes_on_alone(run_process, run_frcnn, tiny_voc, tmp_path):
    job = ("propose", tiny_voc / "JPEGImages", "--workers", 1, "-o", tmp_path / "p.npz", "--mode", "quality", "--shard")
    partial = tmp_path / "p-00001-of-00002.npz.partial"

    def begun() -> bool:
        return partial.is_dir() and any(path.suffix == ".npz" and path.name[0] != "." for path in partial.iterdir())

    stopped = run_process("-m", "frcnn_cli", *job, "1/2", interrupt=begun)
    assert stopped.code == 130
    assert "of 5 images done; the same command goes on from there" in stopped.err
    assert len(list(partial.glob("*.npz"))) < 5
    reading = run_frcnn("propose", "--proposals", tmp_path / "p.npz", "-o", tmp_path / "q.pkl")
    assert (reading.code, reading.err) == (1, f"frcnn: {tmp_path / 'p.npz'}: no such file\n")
    assert run_frcnn(*job, "1/2").code == 0
    assert [path.name for path in tmp_path.glob("p-*")] == ["p-00001-of-00002.npz"]


def test_a_whole_file_that_would_be_read_instead(run_frcnn, tiny_voc, tmp_path):
    (tmp_path / "p.npz").touch()
    outcome = run_frcnn("propose", tiny_voc / "JPEGImages", *QUICK, "-o", tmp_path / "p.npz", "--shard", "1/2")
    assert outcome.code == 2
    assert f"{tmp_path / 'p.npz'} is there, and would be read instead of shards" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]
