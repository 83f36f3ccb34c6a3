"""The command line as a whole: help, faults in one line, exit codes."""

from __future__ import annotations

import re

import pytest

from frcnn_cli import __version__
from frcnn_cli.cli import COMMANDS

ALL = list(COMMANDS)


@pytest.mark.parametrize("command", ALL)
def test_every_command_has_help_with_an_example(run_frcnn, command):
    outcome = run_frcnn(command, "--help")
    assert outcome.code == 0
    assert outcome.err == ""
    examples = [line for line in outcome.out.splitlines() if line.strip().startswith(f"frcnn {command} ")]
    assert len(examples) >= 2
    # every option says what it does: its name is followed by text, on its line or the next
    options = outcome.out.split("Options:")[1]
    for entry in re.split(r"\n(?=  -)", options)[1:]:
        words = re.sub(r"^\s*-\S+(, --\S+)?|\[default: [^]]*\]|\[required\]", "", entry).split()
        assert len(words) >= 2 or "-h, --help" in entry, entry


@pytest.mark.parametrize("command", ALL)
def test_examples_name_real_options(run_frcnn, command):
    text = run_frcnn(command, "--help").out
    description, options = text.split("Options:")
    for example in re.findall(rf"^\s*frcnn {command} .*$", description, flags=re.MULTILINE):
        for name in re.findall(r"(?<= )--?[a-z][\w-]*", example):
            assert re.search(rf"(^|[ ,]){name}\b", options, flags=re.MULTILINE), (example, name)


def test_help_and_version(run_frcnn):
    outcome = run_frcnn("--help")
    assert outcome.code == 0
    for name, summary in COMMANDS.items():
        assert re.search(rf"{name} +{re.escape(summary)}", outcome.out)
    assert run_frcnn("--version").out.split()[-1] == __version__


def test_no_command_shows_the_help(run_frcnn):
    outcome = run_frcnn()
    assert outcome.code == 2
    assert outcome.err.startswith("Usage: frcnn ")
    assert "compress-svd" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["find"], f"no such command 'find'; there are {', '.join(COMMANDS)}"),
        (["--nonsense"], "No such option"),
        (["detect"], "Missing argument 'IMAGE...'"),
        (["detect", "a.jpg", "--colour"], "No such option"),
        (["detect", "a.jpg", "--score", "3"], "'--score'"),
        (["detect", "a.jpg", "--score", "high"], "'--score'"),
        (["detect", "a.jpg", "--max-detections", "0"], "'--max-detections'"),
        (["detect", "a.jpg", "--nms", "2"], "'--nms'"),
        (["detect", "a.jpg", "--short-side", "0"], "'--short-side'"),
        (["detect", "a.jpg", "--long-side", "-5"], "'--long-side'"),
        (["detect", "a.jpg", "--scales", "480;576"], "'--scales': '480;576' is not a list of whole numbers"),
        (["detect", "a.jpg", "--scales", "480,0"], "'--scales': numbers start at 1"),
        (["detect", "a.jpg", "--scales", ","], "--scales needs a number"),
        (["eval", "--voc", ".", "--scales", "1.5"], "'--scales'"),
        (["eval", "--voc", ".", "--scales", "480", "--short-side", "480"], "give one of the two"),
        (["detect", "a.jpg", "--flip-test=yes"], "--flip-test"),
        (["detect", "a.jpg", "--weights"], "'--weights' requires an argument"),
        (["eval", "--voc", ".", "--metric", "lvis"], "'--metric'"),
        (["eval", "--voc", ".", "fast"], "fast: what for? to compare several, give --compare too"),
        (["eval", "--voc", ".", "--compare", "fast"], "--compare needs two or more"),
        (["eval", "--voc", ".", "--compare"], "--compare needs two or more"),
        (["eval", "--voc", ".", "--compare", "fast", "fast"], "--compare fast fast: give each once"),
        (["eval", "--voc", ".", "--compare", "fast", "single", "--report", "r"], "--report is of one model"),
        (["eval", "--voc", ".", "--compare", "fast", "single", "-o", "r.csv"], "--output is of one model"),
        (["eval", "--voc", ".", "--compare", "fast", "single", "--mode", "quality"], "fast of --compare has its own"),
        (["eval"], "give --voc ROOT, or --coco"),
        (["eval", "--coco", "a.json"], "--coco needs --images"),
        (["eval", "--voc", ".", "--coco", "a.json"], "give one"),
        (["propose", "-o", "p.npz"], "give images or folders, or a data set"),
        (["propose", "a.jpg", "--voc", ".", "-o", "p.npz"], "give images or folders, or a data set"),
        (["propose", "a.jpg", "-o", "p.txt"], "p.txt: proposals are in .npz, .mat or .pkl files"),
        (["propose", "a.jpg", "-o", "p.npz", "--shard", "0/4"], "'--shard': '0/4' is not I/N with 1 <= I <= N"),
        (["propose", "a.jpg", "-o", "p.npz", "--shard", "5/4"], "'--shard'"),
        (["propose", "a.jpg", "-o", "p.npz", "--shard", "a/b"], "'--shard'"),
        (["propose", "a.jpg", "-o", "p.pkl", "--shard", "1/2"], "--shard needs -o FILE.npz"),
        (["propose", "a.jpg", "--shard", "1/2"], "--shard needs -o FILE.npz"),
        (["propose", "--proposals", "p.npz", "-o", "q.npz", "--shard", "1/2"], "--shard is for making proposals"),
        (["propose", "--proposals", "p.txt", "-o", "p.npz"], "p.txt: proposals are in .npz, .mat or .pkl files"),
        (["detect", "a.jpg", "--proposals", "p.txt"], "p.txt: proposals are in .npz, .mat or .pkl files"),
        (["propose", "a.jpg"], "'-o'"),
        (["propose", "a.jpg", "-o", "p.npz", "--mode", "slow"], "'--mode'"),
        (["propose", "a.jpg", "-o", "p.npz", "--workers", "0"], "'--workers'"),
        (["propose", "a.jpg", "-o", "p.npz", "--seed", "-1"], "'--seed'"),
        (["export", "a.safetensors"], "'-o'"),
        (["export", "a.safetensors", "-o", "a.onnx", "--calibration-images", "0"], "'--calibration-images'"),
        (["compress-svd", "a.safetensors"], "'-o'"),
        (["compress-svd", "a.safetensors", "-o", "b"], "give ranks"),
        (["compress-svd", "a.safetensors", "-o", "b", "--fc6", "3", "--energy", "0.5"], "give ranks"),
        (["compress-svd", "a.safetensors", "-o", "b", "--energy", "1.5"], "'--energy'"),
        (["compress-svd", "a.safetensors", "-o", "b", "--fc6", "0"], "'--fc6'"),
        (["train"], "--output"),
        (["train", "--output", "run"], "give --voc ROOT, or --coco"),
        (["train", "--output", "run", "--short-side", "wide"], "'--short-side'"),
        (["train", "--output", "run", "--short-side", ","], "--short-side"),
        (["train", "--output", "run", "--background-iou", "0.5", "0.1"], "--background-iou"),
        (["train", "--output", "run", "--rois-per-batch", "1"], "--rois-per-batch"),
        (["detect", "a.jpg", "--device", "abacus"], "--device abacus"),
        (["detect", "a.jpg", "--runtime", "abacus"], "'--runtime': 'abacus' is not one of 'auto', 'torch', 'onnx'"),
        (["detect", "a.jpg", "--mode", "slow"], "'--mode': 'slow' is not one of 'single', 'fast', 'quality'"),
        (["detect", "a.jpg", "--score", "nan"], "'--score': nan is not a finite number"),
        (["eval", "--voc", ".", "--nms", "NaN"], "'--nms': NaN is not a finite number"),
        (["detect", "a.jpg", "--nms", "-inf"], "'--nms'"),
        (["compress-svd", "a.safetensors", "-o", "b", "--energy", "nan"], "'--energy': nan is not a finite number"),
        (["detect", "a.jpg", "--format", "csv"], "--format csv: where to? give --output too"),
        (["eval", "--voc", ".", "--format", "voc"], "--format voc: where to? give --output too"),
        (["detect", "a.jpg", "-o", "b", "--format", "xml"], "'--format'"),
        (["explain", "a.jpg"], "'-o'"),
        (["explain", "a.jpg", "-o", "page.html", "--language", "tlh"], "'--language': 'tlh' is not one of 'en', 'ko'"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(run_frcnn, tmp_path, monkeypatch, arguments, fault):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").touch()
    outcome = run_frcnn(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("frcnn: ")
    assert fault in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def test_as_a_module(run_process):
    outcome = run_process("-m", "frcnn_cli", "--version")
    assert outcome == (0, f"frcnn, version {__version__}\n", "")
    wrong = run_process("-m", "frcnn_cli", "find")
    assert wrong.code == 2
    assert len(wrong.err.splitlines()) == 1


HEAVY = ("torch", "torchvision", "timm", "numba")
"""What takes seconds to import; nothing that computes with none of them waits for any."""

AT_ONCE = {
    "lineage": [["--voc", "gone", "-o", "run"], ["--voc", "DATA", "--split", "gone", "-o", "run"]],
    "propose": [
        ["gone.jpg", "-o", "p.npz"],
        ["--voc", "gone", "-o", "p.npz"],
        ["--coco", "gone.json", "--images", ".", "-o", "p.npz"],
        ["--proposals", "gone.npz", "-o", "p.pkl"],
    ],
    "train": [
        ["--voc", "gone", "--output", "run"],
        ["--voc", "DATA", "--split", "gone", "--output", "run"],
        ["--coco", "gone.json", "--images", ".", "--output", "run"],
        ["--voc", "DATA", "--output", "run", "--init", "gone.safetensors"],
        ["--voc", "DATA", "--output", "run", "--backbone-weights", "gone.pth"],
        ["--config", "gone.toml"],
        ["--resume", "gone"],
    ],
    "export": [["gone.safetensors", "-o", "model.onnx"]],
    "compress-svd": [["gone.safetensors", "-o", "small.safetensors", "--fc6", "3"]],
    "explain": [["gone.jpg", "-o", "page.html"], ["IMAGE", "-o", "page.html", "--weights", "gone.safetensors"]],
    "detect": [
        ["gone.jpg"],
        ["IMAGE", "--weights", "gone.safetensors"],
        ["IMAGE", "--proposals", "gone.npz"],
        ["IMAGE", "--proposals", "gone.mat"],
    ],
    "eval": [
        ["--voc", "gone"],
        ["--coco", "gone.json", "--images", "."],
        ["--voc", "DATA", "--weights", "gone.safetensors"],
        ["--voc", "DATA", "--proposals", "gone.pkl"],
        ["--voc", "DATA", "--compare", "gone.safetensors", "fast"],
        ["--voc", "DATA", "--compare", "fast", "gone.npz"],
    ],
    "doctor": [],
}
"""Calls of each command that name a file that is missing."""


@pytest.mark.parametrize("command", ALL)
def test_help_a_wrong_option_and_a_missing_file_wait_for_nothing(run_process, tiny_voc, tmp_path, command):
    names = {"DATA": str(tiny_voc), "IMAGE": str(tiny_voc / "JPEGImages" / "cow.jpg")}
    missing = [[names.get(word, word) for word in call] for call in AT_ONCE[command]]
    calls = [[command, *words] for words in (["--help"], ["--no-such-option"], *missing)]
    code = f"import sys; from frcnn_cli.cli import main; codes = [main(call) for call in {calls}]; "
    outcome = run_process("-c", f"{code}print(codes, [name for name in {HEAVY} if name in sys.modules])", cwd=tmp_path)
    assert outcome.out.startswith(f"Usage: frcnn {command}")
    assert outcome.out.splitlines()[-1] == f"{[0, 2, *[1] * len(missing)]} []", outcome.err
    assert sum("gone" in line for line in outcome.err.splitlines()) == len(missing)
    assert {path.name for path in tmp_path.iterdir()} == {"process.out", "process.err"}


def test_the_group_s_help_and_the_package_itself_wait_for_nothing(run_process):
    code = "import sys, frcnn_cli; print('numpy' in sys.modules); from frcnn_cli.cli import main; main(['--help']); "
    outcome = run_process("-c", f"{code}print([name for name in {(*HEAVY, 'numpy')} if name in sys.modules])")
    assert outcome.out.startswith("False\nUsage: frcnn")
    assert outcome.out.splitlines()[-1] == "[]", outcome.err


def test_proposing_does_not_wait_for_torch(run_process, tiny_voc, tmp_path):
    image = str(tiny_voc / "JPEGImages" / "chair.jpg")
    call = ["propose", image, "-o", str(tmp_path / "p.npz"), "--mode", "single"]
    outcome = run_process(
        "-c", f"import sys; from frcnn_cli.cli import main; print(main({call}), 'torch' in sys.modules)"
    )
    assert outcome.out == "0 False\n", outcome.err
