"""Memory that glibc keeps."""

from __future__ import annotations

import platform
import subprocess
import sys

SCRIPT = """
import sys
import torch
from frcnn_cli.engine.allocator import keep_freed_memory

def resident():  # in bytes
    return int(open("/proc/self/statm").read().split()[1]) * 4096

kept = keep_freed_memory() if sys.argv[1] == "keep" else False
before = resident()
tensor = torch.ones(2**24)
held = resident() - before
address = tensor.data_ptr()
del tensor
print(kept, held >= 2**26, resident() - before >= 2**26, torch.empty(2**24).data_ptr() == address)
"""


def outcome(mode: str) -> list[str]:
    call = [sys.executable, "-c", SCRIPT, mode]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()


def test_freed_memory_is_kept_where_there_is_glibc():
    if platform.libc_ver()[0] == "glibc":
        assert outcome("keep") == ["True", "True", "True", "True"]  # and given again to the next who asks for as much
        assert outcome("hand back")[:3] == ["False", "True", "False"]
    else:
        from frcnn_cli.engine.allocator import keep_freed_memory

        assert not keep_freed_memory()
