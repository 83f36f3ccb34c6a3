"""Kills the commands at random moments, fills disks, takes files away, starts two at once, and looks what is lost.

Every command is first done once in peace. Then, until the time is over, it is done again and again, disturbed, given
once more after each disturbance (`train` by --resume) until it comes to its end, and what it made is compared with what
the undisturbed one made: bit for bit, but for the seconds that something took. Also counted are processes that
outlast a command by more than ten seconds, files left behind at the end, and faults that are more than lines of ours.

    python scripts/soak.py --minutes 60 [--seed 0] [--folder DIR]

A table in Markdown goes to stdout, one row a command and kind of disturbance. The exit code is 1 if anything was lost.
Needs POSIX. A command is a fork of this process, which has imported everything and computed nothing.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import json
import multiprocessing.util
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from frcnn_cli.cli import COMMANDS, cli, main

IMPORTS = (
    "torch",
    "frcnn_cli.drawing.training_plot",
    "frcnn_cli.engine.beginning",
    "frcnn_cli.engine.compression",
    "frcnn_cli.engine.runtimes.torch_engine",
    "frcnn_cli.engine.trainer",
    "proposals.search",
)
"""What the commands import only when they need it, imported before the first fork. Not above, as processes that a
command spawns import this file again."""

DATA = Path(__file__).parent.parent / "tests" / "data"

PHOTOGRAPHS = 3
"""Of the repository's, for all commands."""

HANGING = 600
"""Seconds after which a command is taken for one that hangs."""

ATTEMPTS = 8
"""Disturbances of a command, at most, before it is left in peace."""

KILLS = {
    "kill -9, all": (signal.SIGKILL, True),
    "kill -9, the parent": (signal.SIGKILL, False),
    "kill -15, all": (signal.SIGTERM, True),
    "kill -15, the parent": (signal.SIGTERM, False),
    "kill -1, all": (signal.SIGHUP, True),
    "Ctrl-C": (signal.SIGINT, True),
}
"""Kind -> the signal, and whether the whole group gets it."""

OTHERS = ("full disk", "a file gone", "two at once")


@dataclass(frozen=True)
class Task:
    """A command to be disturbed.

    Attributes:
        name: of the command.
        words: the call, whose output is ``OUT``.
        again: the call that goes on after a disturbance, if another.
        made: what of ``OUT`` is compared, by name.
    """

    name: str
    words: tuple[str, ...]
    made: Callable[[Path], dict[str, object]]
    again: tuple[str, ...] = ()


def files_of(folder: Path) -> dict[str, object]:
    """Every file's bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def run_of(folder: Path) -> dict[str, object]:
    """Of a training run: weights, the state to go on from, and the log without its speeds."""
    import torch

    run = folder / "run"
    state = torch.load(run / "training_state.pt", weights_only=True)
    state.pop("window")  # seconds
    with (run / "log.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if not k.endswith("_per_second")} for row in csv.DictReader(file)]
    made: dict[str, object] = {"state": plain(state), "log": rows}
    made |= {name: (run / name).read_bytes() for name in ("model.safetensors", "best.safetensors")}
    names = {path.name for path in run.iterdir() if not path.name.startswith("events")}
    return made | {"files": sorted(names)}


def plain(value: object) -> object:
    """Tensors as bytes, so that == compares them."""
    if hasattr(value, "numpy"):
        return value.numpy().tobytes()
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value


SMALL = (
    "--backbone", "alexnet", "--backbone-weights", "none", "--fc-width", "16", "--roi-size", "2", "--short-side",
    "48,64", "--long-side", "96", "--rois-per-batch", "16", "--lr", "0.002", "--optimizer", "adamw", "--ema", "0.9",
    "--iterations", "8", "--checkpoint-every", "3", "--eval-every", "0", "--log-every", "2", "--loaders", "1",
)  # fmt: skip


def tasks(folder: Path) -> list[Task]:
    """The commands; each but the first uses what the first two made in peace."""
    boxes, model = folder / "propose" / "p.npz", folder / "train" / "run" / "model.safetensors"
    voc = ("--voc", str(folder / "data"), "--split", "test")
    given = ("--proposals", str(boxes))
    train = ("train", *voc, "--val-split", "test", *given, "--val-proposals", str(boxes), "--output", "OUT/run")
    return [
        Task("propose", ("propose", *voc, "--mode", "single", "--workers", "2", "-o", "OUT/p.npz"), files_of),
        Task("train", (*train, *SMALL), run_of, ("train", "--resume", "OUT/run")),
        Task("eval", ("eval", *voc, *given, "--weights", str(model), "-o", "OUT/found.csv"), files_of),
        Task("compress-svd", ("compress-svd", str(model), "--fc6", "8", "-o", "OUT/s.safetensors"), files_of),
        Task(
            "detect",
            ("detect", str(folder / "data" / "JPEGImages"), "--weights", str(model), "--mode", "single", "--score",
             "0.05", "-o", "OUT/found.csv", "--save-dir", "OUT/pictures"),
            files_of,
        ),
    ]  # fmt: skip


@dataclass
class Ended:
    """How a command ended: its exit code, less than 0 for a signal, whether a disturbance met it, what it wrote."""

    code: int
    met: bool
    text: str
    left: bool


def start(words: tuple[str, ...], out: Path, log: Path, file_size: int | None = None) -> int:
    """Fork a command with a group of its own; the process id."""
    child = os.fork()
    if child:
        with suppress(OSError):
            os.setpgid(child, child)
        return child
    os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if file_size is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
    code = 1
    try:
        code = main([word.replace("OUT", str(out)) for word in words])
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    multiprocessing.util._exit_function()  # what a process does at its end, ended by os._exit or not
    os._exit(code)


def finish(child: int, after: float | None, kill: tuple[int, bool] | None, log: Path) -> Ended:
    """Wait for a command, and disturb it by a signal after so many seconds."""
    began = time.monotonic()
    until = None if after is None else began + after
    met, hangs = False, ""
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if kill and until is not None and time.monotonic() >= until:
            (os.killpg if kill[1] else os.kill)(child, kill[0])
            met, until = True, None
        if time.monotonic() - began > HANGING and not hangs:
            hangs = f"Traceback: hangs for {HANGING} s\n"
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.005)
    text = hangs + (log.read_text(errors="replace") if log.exists() else "")
    log.unlink(missing_ok=True)
    return Ended(os.waitstatus_to_exitcode(status), met, text, not group_ends(child))


def group_ends(group: int) -> bool:
    """Whether all processes of a group end within ten seconds. A dead one that nobody has asked after is one."""
    until = time.monotonic() + 10
    while True:
        rows = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True).stdout.splitlines()
        alive = [row for row in map(str.split, rows) if row[0] == str(group) and not row[1].startswith("Z")]
        if not alive:
            return True
        if time.monotonic() > until:
            os.killpg(group, signal.SIGKILL)
            return False
        time.sleep(0.05)


class Soak:
    """Tasks, what each makes in peace, and what came of disturbing them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.draw = random.Random(seed)
        self.tasks = tasks(folder)
        self.whole: dict[str, dict[str, object]] = {}
        self.seconds: dict[str, float] = {}
        self.counts: dict[tuple[str, str], Counter[str]] = {}
        self.notes: list[str] = []

    def in_peace(self) -> None:
        """Do every task once, undisturbed, on a copy of the data."""
        data = self.folder / "data"
        shutil.copytree(DATA, data)
        photographs = sorted((data / "JPEGImages").iterdir())
        for path in photographs[PHOTOGRAPHS:]:
            path.unlink()
        names = "\n".join(path.stem for path in photographs[:PHOTOGRAPHS])
        (data / "ImageSets" / "Main" / "test.txt").write_text(f"{names}\n")
        for task in self.tasks:
            out = self.folder / task.name
            out.mkdir()
            began = time.monotonic()
            ended = finish(start(task.words, out, self.folder / "log"), None, None, self.folder / "log")
            self.seconds[task.name] = time.monotonic() - began
            if ended.code != 0:
                sys.exit(f"{task.name}: {ended.text}")
            self.whole[task.name] = task.made(out)
            print(f"{task.name}: {self.seconds[task.name]:.1f} s in peace", file=sys.stderr)

    def round(self, task: Task) -> None:
        """Do a task disturbed, as often as it takes to come to its end, and compare."""
        out = self.folder / "disturbed"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        kinds: list[str] = []
        for attempt in range(2 * ATTEMPTS):
            kind = self.draw.choice((*KILLS, *KILLS, *OTHERS)) if attempt < ATTEMPTS else ""
            # compress-svd reads none, and detect is given a folder, whatever is in it.
            if kind == "a file gone" and task.name in ("compress-svd", "detect"):
                kind = ""
            words = task.again if task.again and (out / "run" / "config.toml").exists() else task.words
            ended = self.disturbed(kind, words, out)
            if ended.met:
                kinds.append(kind)
                self.note(task, kind, ended)
            if ended.code == 0 and not ended.left:
                break
        else:
            self.notes.append(f"{task.name} after {kinds}: never came to its end: {ended.text[-300:]}")
        with suppress(OSError, RuntimeError):
            same = task.made(out) == self.whole[task.name]
            left = [path for path in out.rglob(".*") if path.suffix in (".tmp", ".lock")]
            for kind in set(kinds):
                self.counts[task.name, kind]["lost"] += not same
                self.counts[task.name, kind]["files left"] += bool(left)
            if not same or left:
                self.notes.append(f"{task.name} after {kinds}: same {same}, left {[path.name for path in left]}")

    def disturbed(self, kind: str, words: tuple[str, ...], out: Path) -> Ended:
        """One attempt."""
        log, after = self.folder / "log", self.draw.uniform(0, 0.8 * self.seconds[words[0]])
        if kind == "full disk":
            ended = finish(start(words, out, log, self.draw.randrange(0, 60_000)), None, None, log)
            return Ended(ended.code, ended.code != 0, ended.text, ended.left)
        if kind == "a file gone":
            taken = self.draw.choice(sorted((self.folder / "data" / "JPEGImages").iterdir()))
            hidden = shutil.move(taken, self.folder / taken.name)
            try:
                ended = finish(start(words, out, log), None, None, log)
            finally:
                shutil.move(hidden, taken)
            return Ended(ended.code, True, ended.text, ended.left)
        if kind == "two at once":
            second_log = self.folder / "second"
            pair = [start(words, out, log), start(words, out, second_log)]
            ended, second = (
                finish(child, None, None, path) for child, path in zip(pair, (log, second_log), strict=True)
            )
            codes = sorted((ended.code, second.code))
            text = ended.text + second.text if codes in ([0, 0], [0, 1], [0, 2]) else f"Traceback {codes} {ended.text}"
            return Ended(codes[0], True, text, ended.left or second.left)
        return finish(start(words, out, log), after, KILLS.get(kind), log)

    def note(self, task: Task, kind: str, ended: Ended) -> None:
        """Count a disturbance, and what was wrong about the way the command ended."""
        counts = self.counts.setdefault((task.name, kind), Counter())
        counts["rounds"] += 1
        counts["processes left"] += ended.left
        if re.search(r"Traceback|a fault of the program|Exception ignored", ended.text):
            counts["faults"] += 1
            self.notes.append(f"{task.name}, {kind}: {ended.text[-600:]}")

    def table(self) -> str:
        """The counts in Markdown."""
        columns = ("rounds", "lost", "processes left", "files left", "faults")
        lines = [f"| command | disturbed by | {' | '.join(columns)} |", f"|---|---|{'--:|' * len(columns)}"]
        for task in self.tasks:
            for kind in (*KILLS, *OTHERS):
                counts = self.counts.get((task.name, kind))
                if counts:
                    lines.append(f"| {task.name} | {kind} | {' | '.join(str(counts[name]) for name in columns)} |")
        total = sum(self.counts.values(), Counter())
        lines.append(f"| all | | {' | '.join(f'**{total[name]}**' for name in columns)} |")
        return "\n".join(lines)

    @property
    def good(self) -> bool:
        total = sum(self.counts.values(), Counter())
        return not (self.notes or any(total[name] for name in ("lost", "processes left", "files left", "faults")))


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="how long (60)")
    parser.add_argument("--rounds", type=int, default=10**9, help="of tasks, at most")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and kinds (0)")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary one")
    return parser.parse_args(words)


def run(options: argparse.Namespace) -> bool:
    """Soak, print the table, and say whether nothing was lost."""
    for name in COMMANDS:
        cli.get_command(None, name)
    for name in IMPORTS:
        importlib.import_module(name)
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=options.folder))
    soak = Soak(folder, options.seed)
    try:
        soak.in_peace()
        until = time.monotonic() + 60 * options.minutes
        done = 0
        while time.monotonic() < until and done < options.rounds:
            soak.round(soak.tasks[done % len(soak.tasks)])
            done += 1
            print(f"{done} tasks, {sum(c['rounds'] for c in soak.counts.values())} disturbances", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(soak.table())
    for note in soak.notes:
        print(json.dumps(note), file=sys.stderr)
    return soak.good


if __name__ == "__main__":
    sys.exit(0 if run(parse()) else 1)
