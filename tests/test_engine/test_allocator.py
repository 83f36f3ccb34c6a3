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
before = resident()
tensor = torch.ones(2**24)
held = resident() - before
del tensor
after = resident() - before
again = torch.ones(2**24)
print(kept, held >= 2**26, after >= 2**26, resident() - before < 1.5 * 2**26)
"""


def outcome(mode: str) -> list[str]:
    call = [sys.executable, "-c", SCRIPT, mode]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()


def test_freed_memory_is_kept_where_there_is_glibc():
    if platform.libc_ver()[0] == "glibc":
        assert outcome("keep") == ["True", "True", "True", "True"]
        assert outcome("hand back") == ["False", "True", "False", "True"]
    else:
        from frcnn_cli.engine.allocator import keep_freed_memory

        assert not keep_freed_memory()
