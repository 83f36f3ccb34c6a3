"""What a command looks like from outside: streams that cannot be written, signals, names that a terminal would obey,
and faults that nobody foresaw."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frcnn_cli import cli, edge
from frcnn_cli.errors import DataError, Interrupted, LostProcess, Terminated, causes, ran_out_of_memory
from frcnn_cli.text import visible

REPOSITORY = Path(__file__).parent.parent
PROGRAM = (sys.executable, "-m", "frcnn_cli")


def run_shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """A line of sh in which "$@" is the program."""
    return subprocess.run(
        ["sh", "-c", line, "sh", *PROGRAM],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        timeout=300,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_stdout_is_one_line_and_exit_code_1(tmp_path, unbuffered):
    ended = run_shell('"$@" --help > /dev/full', tmp_path, PYTHONUNBUFFERED=unbuffered)
    assert (ended.returncode, ended.stderr.decode()) == (
        1,
        "frcnn: stdout: cannot be written (no space left on device)\n",
    )


def test_a_closed_stdout_is_one_line_and_exit_code_1(tmp_path):
    ended = run_shell('"$@" --version >&-', tmp_path)
    assert (ended.returncode, ended.stderr.decode()) == (1, "frcnn: stdout: cannot be written (it is closed)\n")
    assert run_shell('"$@" --version 2>&- >&-', tmp_path).returncode == 1
    assert run_shell('"$@" --version <&- 2>&-', tmp_path).returncode == 0


def test_a_reader_that_goes_is_no_fault_to_tell(tmp_path):
    ended = run_shell('("$@" --help; echo $? > code) | true', tmp_path)
    assert ended.stderr == b""
    assert (tmp_path / "code").read_text() in ("0\n", "1\n")  # whoever comes first


@given(st.text(st.characters(exclude_categories=()), max_size=30))
def test_what_a_terminal_obeys_is_escaped_and_nothing_else(text):
    shown = visible(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    shown.encode()  # no lone surrogates
    if text.isprintable():
        assert shown == text


def test_no_command_sends_control_characters_of_names_to_a_terminal(run_frcnn, tiny_checkpoint, tiny_voc, tmp_path):
    name = "a\x1b]0;title\x07\u202eb.jpg"
    shutil.copy(tiny_voc / "JPEGImages" / "cow.jpg", tmp_path / name)
    found = run_frcnn("detect", tmp_path / name, "--weights", tiny_checkpoint, "--mode", "single", "--score", 0.99)
    assert found.code == 0, found.err
    gone = run_frcnn("detect", tmp_path / "gone\x1b[31m.jpg")
    wrong = run_frcnn("detect", tmp_path / name, "--score", "\x1b[31m")
    usage = run_frcnn("fi\x1b[31mnd")
    for outcome in (found, gone, wrong, usage):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", outcome.out + outcome.err)
    assert "gone\\x1b[31m.jpg: no such file" in gone.err


def test_a_name_that_is_no_text(tmp_path):
    if sys.platform == "darwin":
        pytest.skip("names are UTF-8 there")
    ended = run_shell('"$@" detect "$(printf "gone\\377.jpg")"', tmp_path)
    assert (ended.returncode, ended.stderr) == (1, b"frcnn: gone\\xff.jpg: no such file\n")


def test_a_fault_that_nobody_foresaw_is_one_line(run_frcnn, monkeypatch):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(cli.LazyGroup, "get_command", fail)
    outcome = run_frcnn("detect", "a.jpg")
    assert outcome.code == 1
    assert re.fullmatch(
        r"frcnn: a fault of the program \(ZeroDivisionError: division by zero, in test_edge.py:\d+\); "
        "please report it, with what the same command shows with --debug\n",
        outcome.err,
    )
    for call in (("detect", "a.jpg", "--debug"), ("--debug", "detect", "a.jpg")):
        shown = run_frcnn(*call)
        assert shown.err.startswith("Traceback (most recent call last)")
        assert shown.err.endswith(outcome.err)
    monkeypatch.setenv(edge.DEBUG, "1")
    assert run_frcnn("detect", "a.jpg").err.startswith("Traceback")
    monkeypatch.setenv(edge.DEBUG, "0")
    assert run_frcnn("detect", "a.jpg").err == outcome.err


@pytest.mark.parametrize(
    ("words", "rest", "debug"),
    [
        (["detect", "a"], ["detect", "a"], False),
        (["detect", "--debug", "a"], ["detect", "a"], True),
        (["detect", "--", "--debug"], ["detect", "--", "--debug"], False),
    ],
)
def test_debug_may_stand_anywhere_among_the_options(words, rest, debug):
    assert edge.take_debug(words) == (rest, debug)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
    ],
)
def test_memory_that_is_not_to_be_had_is_told_as_that(error):
    assert ran_out_of_memory(error)
    text, code = edge.outcome(error)
    assert text.startswith("out of memory (")
    assert code == 1
    wrapped = ValueError("wrapped")
    wrapped.__cause__ = error
    assert ran_out_of_memory(wrapped)
    assert not ran_out_of_memory(ValueError("wrapped"))


def test_a_full_disk_in_a_place_of_a_library_s_is_no_fault_of_the_program():
    error = RuntimeError("matplotlib needs a folder")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/tmp/cache")
    said = "the system refuses what a library wants to do: no space left on device (/tmp/cache)"
    assert edge.outcome(error) == (said, 1)
    assert edge.outcome(PermissionError(errno.EACCES, "Permission denied"))[0].endswith("to do: permission denied")


def test_causes_of_a_circle_come_to_an_end():
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert list(causes(first)) == [first, second]


@pytest.mark.parametrize(("error", "code"), [(Terminated(15), 143), (Terminated(1), 129), (KeyboardInterrupt(), 130)])
def test_an_interruption_in_a_compiled_kernel_is_one_all_the_same(error, code):
    outer = SystemError("returned a result with an exception set")
    outer.__cause__ = error
    assert edge.outcome(outer) == edge.outcome(error) == ("interrupted", code)


def test_a_fault_of_the_data_that_came_of_an_interruption_is_its_own():
    error = DataError("a.jpg: truncated image")
    error.__context__ = KeyboardInterrupt()
    assert edge.outcome(error) == ("a.jpg: truncated image", 1)


def test_libraries_are_kept_quiet_in_a_program_and_its_children(tmp_path):
    code = (
        "import logging, subprocess, sys, warnings; from frcnn_cli.edge import quieten; quieten(); "
        "warnings.warn('leaks'); logging.getLogger('PIL.TiffImagePlugin').error('leaks'); "
        "subprocess.run([sys.executable, '-c', 'import warnings; warnings.warn(1)'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"},
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


# What schedulers and closed terminals send.


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    """`start(folder, "eval", ...)`: the program, which is ended with all its children when the test is over."""
    processes: list[subprocess.Popen] = []

    def run(folder: Path, *arguments: object) -> subprocess.Popen:
        processes.append(begin(folder, *arguments))
        return processes[-1]

    yield run
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):  # macOS has the latter for groups of dead ones
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def begin(folder: Path, *arguments: object) -> subprocess.Popen:
    """The program in a group of its own, which hears of the signals that whatever started the tests may ignore."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    try:
        with (folder / "err").open("w") as file:
            return subprocess.Popen(
                [*PROGRAM, *map(str, arguments)],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                start_new_session=True,
                stderr=file,
                stdout=subprocess.DEVNULL,
            )
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def wait_for(condition, seconds: float = 600) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def group_of(process: subprocess.Popen) -> list[str]:
    """The processes of a group that are more than a name."""
    lines = subprocess.run(["ps", "-ww", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in lines.splitlines()]
    return [row[-1] for row in rows if row[0] == str(process.pid) and not row[1].startswith("Z")]


@pytest.fixture(scope="module")
def many_images(tiny_voc, tmp_path_factory) -> Path:
    """A data set of 200 small images."""
    root = tmp_path_factory.mktemp("many")
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    ids = [f"{number:03}" for number in range(200)]
    for number in ids:
        os.link(tiny_voc / "JPEGImages" / "cow.jpg", root / "JPEGImages" / f"{number}.jpg")
        os.link(tiny_voc / "Annotations" / "cow.xml", root / "Annotations" / f"{number}.xml")
    (root / "ImageSets" / "Main" / "test.txt").write_text("\n".join(ids))
    return root


def test_workers_end_with_a_parent_that_is_killed(start, many_images, tmp_path):
    process = start(tmp_path, "propose", "--voc", many_images, "--split", "test", "-o", "p.npz", "--workers", 2)
    wait_for(lambda: len(list(tmp_path.glob("p.npz.partial/*.npz"))) >= 2)
    assert len(group_of(process)) >= 3
    process.kill()
    process.wait()
    wait_for(lambda: not group_of(process), 60)


def test_loaders_end_with_a_parent_that_is_killed(start, tiny_voc, tiny_proposals_path, tmp_path):
    process = start(
        tmp_path, "train", "--voc", tiny_voc, "--proposals", tiny_proposals_path, "--output", "run", "--loaders", 2,
        "--backbone", "alexnet", "--backbone-weights", "none", "--fc-width", 16, "--roi-size", 2, "--short-side", 64,
        "--rois-per-batch", 16, "--log-every", 1,
    )  # fmt: skip
    log = tmp_path / "run" / "log.csv"
    wait_for(lambda: log.exists() and log.read_bytes().count(b"\n") >= 2)
    assert len(group_of(process)) >= 3
    process.kill()
    process.wait()
    wait_for(lambda: not group_of(process), 60)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_eval_that_is_stopped_leaves_what_is_whole(start, many_images, tiny_checkpoint, tmp_path, number, code):
    output = tmp_path / "found.json"
    output.write_text("[]")
    process = start(
        tmp_path, "eval", "--voc", many_images, "--weights", tiny_checkpoint, "--mode", "single", "-o", output
    )  # fmt: skip
    wait_for(lambda: list(tmp_path.glob(".found.json.*")))
    time.sleep(0.3)
    process.send_signal(number)
    assert process.wait(300) == code
    said = (tmp_path / "err").read_text()
    assert re.fullmatch(
        r"frcnn: interrupted with \d+ of 200 images done; nothing is written; the same command begins anew\n", said
    )
    assert output.read_text() == "[]"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["err", "found.json"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_propose_that_is_stopped_goes_on(start, many_images, tmp_path, number):
    call = ("propose", "--voc", many_images, "--split", "test", "-o", "p.npz", "--workers", 2, "--mode", "single")
    process = start(tmp_path, *call)
    wait_for(lambda: len(list(tmp_path.glob("p.npz.partial/*.npz"))) >= 2)
    os.killpg(process.pid, number)
    assert process.wait(300) == 128 + number
    said = (tmp_path / "err").read_text()
    done = re.fullmatch(
        r"frcnn: interrupted with (\d+) of 200 images done; the same command goes on from there\n", said
    )
    assert done, said
    assert len(list(tmp_path.glob("p.npz.partial/*.npz"))) == int(done[1]) < 200
    wait_for(lambda: not group_of(process), 60)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("could not determine the shape of object type 'torch.storage.UntypedStorage'"),
        ImportError("numpy._core.multiarray failed to import"),
        DataError("a process that prepares batches has ended by signal 15"),
        MemoryError(),
    ],
)
def test_what_comes_of_a_signal_is_told_as_the_signal(error):
    with pytest.raises(type(error)) as raised:
        raise error
    assert edge.outcome(raised.value, noted=signal.SIGHUP) == ("interrupted", 129)
    assert edge.outcome(raised.value)[1] == 1


def test_what_has_its_own_word_for_a_signal_keeps_it():
    saved = Interrupted("stopped after iteration 3; all is saved", signal.SIGTERM)
    assert edge.outcome(saved, noted=signal.SIGINT) == (str(saved), 143)
    lost = LostProcess("process 1: another process of this run has ended")
    assert edge.outcome(lost, noted=signal.SIGTERM) == (str(lost), 1)


DROPPING = """
import ctypes, signal, sys, time
from frcnn_cli import cli

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # whatever the tests were started by may ignore them
    signal.signal(number, signal.SIG_DFL)

class Leaves:
    def __del__(self):
        signal.raise_signal({number})

def in_a_finalizer():
    thing = Leaves()
    del thing

def in_a_callback():
    call = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal({number}))
    call()

def in_a_library():
    try:
        signal.raise_signal({number})
    except BaseException:
        pass

class Command:
    def main(self, *_, **__):
        {where}()
        {then}
        print("went on")

cli.cli = Command()
sys.exit(cli.main())
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
@pytest.mark.parametrize(
    ("where", "then"),
    [
        ("in_a_finalizer", "time.sleep(60)"),
        ("in_a_callback", "time.sleep(60)"),
        ("in_a_library", "[print(item) for item in __import__('frcnn_cli.commands.console').commands.console."
         "progress_bar('eval')([1, 2])]"),
    ],
)  # fmt: skip
def test_a_signal_whose_exception_is_dropped_stops_the_command_all_the_same(tmp_path, number, code, where, then):
    program = DROPPING.format(number=int(number), where=where, then=then)
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "frcnn: interrupted\n")


def test_a_signal_that_nothing_looked_at_is_told_at_the_end():
    program = DROPPING.format(number=int(signal.SIGTERM), where="in_a_library", then="pass")
    ended = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "went on\n", "frcnn: interrupted\n")


def test_half_made_objects_and_threads_complain_of_nothing_after_a_signal():
    program = DROPPING.format(
        number=int(signal.SIGTERM),
        where="in_a_library",
        then="import threading; thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join(); "
        "Leaves.__del__ = lambda self: self.none; Leaves()",
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "went on\n", "frcnn: interrupted\n")
    peace = program.replace("in_a_library()\n", "int()\n", 1)
    ended = subprocess.run([sys.executable, "-c", peace], cwd=REPOSITORY, capture_output=True, text=True)
    assert ended.returncode == 0
    assert "ZeroDivisionError" in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_workers_that_are_still_importing_say_nothing_of_a_signal(start, many_images, tmp_path, number):
    """Again and again, from when they are there to when they work."""
    for moment in (0, 0.3):
        process = start(tmp_path, "propose", "--voc", many_images, "--split", "test", "-o", "p.npz", "--workers", 2)
        wait_for(lambda p=process: any("spawn_main" in line for line in group_of(p)))
        time.sleep(moment)
        os.killpg(process.pid, number)
        assert process.wait(300) == 128 + number
        said = (tmp_path / "err").read_text()
        assert re.fullmatch(r"frcnn: interrupted with \d+ of 200 images done; the same .*\n", said), said


def test_workers_that_are_still_importing_end_without_a_word_with_a_parent_that_is_killed(start, many_images, tmp_path):
    for moment in (0, 0.3):
        process = start(tmp_path, "propose", "--voc", many_images, "--split", "test", "-o", "p.npz", "--workers", 2)
        wait_for(lambda p=process: any("spawn_main" in line for line in group_of(p)))
        time.sleep(moment)
        process.kill()
        process.wait()
        wait_for(lambda p=process: not group_of(p), 60)
        assert (tmp_path / "err").read_text() == ""


def test_loaders_in_the_middle_of_a_message_end_without_a_word_with_a_parent_that_is_killed(tmp_path):
    """The parent does not read, so the loaders' pipe is full, and they wait in the middle of writing into it."""
    program = """
import os, signal, sys, time
import torch
from frcnn_cli.engine.loading import prepared_batches
class Long(torch.utils.data.Dataset):
    def __getitem__(self, number):
        return Batch()
class Batch:
    def __init__(self):
        self.data = b"0" * 2**24
if __name__ == "__main__":
    batches = prepared_batches(Long(), 0, 100, 2)
    next(batches)
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    (tmp_path / "program.py").write_text(program)
    with (tmp_path / "err").open("w") as file:
        process = subprocess.Popen(
            [sys.executable, tmp_path / "program.py"], start_new_session=True, stderr=file, stdout=file,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip
        assert process.wait(300) == -signal.SIGKILL
    wait_for(lambda: not group_of(process), 30)
    assert (tmp_path / "err").read_text() == ""


def test_a_signal_in_the_middle_of_the_programs_imports_is_no_traceback():
    program = """
import builtins, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
own = builtins.__import__
def importing(name, *rest):
    if name == "click":
        signal.raise_signal(signal.SIGINT)
    return own(name, *rest)
builtins.__import__ = importing
from frcnn_cli.__main__ import main
sys.exit(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")
