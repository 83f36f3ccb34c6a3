"""Memory that glibc keeps."""

from __future__ import annotations

import platform
import subprocess
import sys

SCRIPT = """
import sys
import torch
from frcnn_cli.engine.allocator import keep_freed_memory

def resident():  # bytes
    return int(open("/proc/self/statm").read().split()[1]) * 4096

kept = keep_freed_memory() if sys.argv[1] == "keep" else False
torch.ones(2**20)  # starts the threads
size = 2**28
before = resident()
tensor = torch.ones(size // 4)
held = resident() - before
del tensor
after = resident() - before
print(kept, held > 0.9 * size, after > 0.9 * size)
"""


def outcome(mode: str) -> list[str]:
    call = [sys.executable, "-c", SCRIPT, mode]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()


def test_freed_memory_is_kept_where_there_is_glibc():
    if platform.libc_ver()[0] == "glibc":
        assert outcome("keep") == ["True", "True", "True"]
        assert outcome("hand back") == ["False", "True", "False"]
    else:
        from frcnn_cli.engine.allocator import keep_freed_memory

        assert not keep_freed_memory()
