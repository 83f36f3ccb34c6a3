"""Runs `frcnn` in processes that are killed, at moments that are told: a program of its own, for the tests.

It reads a line of JSON for each command from stdin and answers with one. It has imported everything and computed
nothing, so a command is a fork away, not seconds of imports. A command and its workers are a group of their own.

    {"arguments": ["train", ...], "folder": "run", "kill": {"write": 7}, "output": "out.txt"}
    -> {"code": -9, "left": false}

"kill" may be: null; {"write": n}: the group, at the n-th time that a file is to be opened for writing, renamed or
removed in the folder; {"rows": n, "later": seconds, "signal": s, "who": "group" | "worker"}: so long after log.csv has
n lines. `left` says whether processes of the group were there moments after the command had ended.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

# What the commands import only when they need it.
import frcnn_cli.drawing.training_plot
import frcnn_cli.engine.beginning
import frcnn_cli.engine.trainer  # noqa: F401
import proposals.search  # noqa: F401
from frcnn_cli.cli import COMMANDS, cli, main

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def kill_at_write(folder: str, count: int) -> None:
    """In the process to be killed: Python tells of a write before it makes it."""
    seen = 0

    def listen(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event == "open":
            writes = bool(arguments[2] & WRITING) or any(letter in (arguments[1] or "") for letter in "wax+")
        else:
            writes = event in ("os.rename", "os.remove")
        if writes and str(arguments[0]).startswith(folder):
            seen += 1
            if seen == count:
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(listen)


def kill_at_row(log: Path, rows: int, later: float, signal: int, who: str) -> None:
    """In the process to be killed: when the log has so many lines, or later."""

    def watch() -> None:
        while not (log.exists() and log.read_bytes().count(b"\n") >= rows):
            time.sleep(0.01)
        time.sleep(later)
        if who == "group":
            os.killpg(0, signal)
        else:
            os.kill(multiprocessing.active_children()[0].pid, signal)

    threading.Thread(target=watch, daemon=True).start()


def still_there(group: int, patience: float = 5) -> bool:
    """Whether processes of a group outlast its first by more than the moments they need to notice that it has ended."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.01)
    return True


def run(order: dict) -> dict:
    kill = order["kill"] or {}
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        signal.alarm(300)  # rather than wait for ever
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):  # whatever the tests were started by may ignore them
            signal.signal(number, signal.SIG_DFL)
        sys.stdin.close()
        with open(order["output"], "w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        if "write" in kill:
            kill_at_write(order["folder"], kill["write"])
        if "rows" in kill:
            kill_at_row(Path(order["folder"]) / "log.csv", **kill)
        try:
            code = main(order["arguments"])
        except BaseException:
            sys.excepthook(*sys.exc_info())
            code = 1
        sys.stderr.flush()
        multiprocessing.util._exit_function()  # what a process does at its end, ended by os._exit or not
        os._exit(code)
    with suppress(OSError):
        os.setpgid(child, child)  # whoever comes first
    _, status = os.waitpid(child, 0)
    left = still_there(child)
    if left:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    return {"code": os.waitstatus_to_exitcode(status), "left": left}


if __name__ == "__main__":
    for name in COMMANDS:
        cli.get_command(None, name)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
