"""`frcnn propose`: over images, folders and data sets."""

from __future__ import annotations

from frcnn_cli.data.proposal_files import ProposalFile

QUICK = ("--mode", "single", "--max-proposals", 40, "--workers", 1)


def test_images_and_folders(run_frcnn, tiny_voc, tmp_path):
    folder = tiny_voc / "JPEGImages"
    outcome = run_frcnn("propose", folder / "cow.jpg", folder / "chair.jpg", "-o", tmp_path / "two.npz", *QUICK)
    assert (outcome.code, outcome.out) == (0, "")
    assert "boxes of 2 images" in outcome.err
    two = ProposalFile(tmp_path / "two.npz")
    assert set(two.ids) == {"cow", "chair"}
    assert run_frcnn("propose", folder, "-o", tmp_path / "all.npz", *QUICK).code == 0
    everything = ProposalFile(tmp_path / "all.npz")
    assert len(everything) == 10
    assert 0 < len(everything.get("cow", 128, 96)) <= 40
    assert everything.get("cow", 128, 96).tolist() == two.get("cow", 128, 96).tolist()
    assert (everything.meta["mode"], everything.meta["max_proposals"], everything.meta["seed"]) == ("single", 40, 0)


def test_a_split_of_a_data_set(run_frcnn, tiny_voc, tmp_path):
    path = tmp_path / "val.npz"
    outcome = run_frcnn("propose", "--voc", tiny_voc, "--split", "val", "-o", path, *QUICK, "--seed", 4)
    assert outcome.code == 0
    file = ProposalFile(path)
    assert file.ids == ("sheep", "wine")
    assert file.meta["seed"] == 4
    wrong = run_frcnn("propose", "--voc", tiny_voc, "--split", "minival", "-o", tmp_path / "no.npz")
    assert wrong.code == 1
    assert "splits there are: test, train, val" in wrong.err
    assert not (tmp_path / "no.npz").exists()


def test_bad_images(run_frcnn, tiny_voc, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("a letter")
    output = tmp_path / "out.npz"
    outcome = run_frcnn("propose", tiny_voc / "JPEGImages" / "cow.jpg", bad, "-o", output, *QUICK)
    assert outcome.code == 1
    assert f"{bad}: " in outcome.err
    assert "1 of 2 images" in outcome.err
    assert "Traceback" not in outcome.err
    assert not output.exists()
    assert run_frcnn("propose", tmp_path / "gone.jpg", "-o", output).code == 1
    (tmp_path / "empty").mkdir()
    empty = run_frcnn("propose", tmp_path / "empty", "-o", output)
    assert empty.code == 1
    assert "no image in this folder" in empty.err


def test_where_nothing_can_be_written(run_frcnn, tiny_voc, tmp_path):
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "p.npz"
    outcome = run_frcnn("propose", tiny_voc / "JPEGImages" / "cow.jpg", "-o", output, *QUICK)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert str(output) in outcome.err
