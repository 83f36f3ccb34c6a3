"""Where the kernels' compiled code is kept."""

from __future__ import annotations

import os
import subprocess
import sys

KERNEL = """
import numpy as np
from proposals.features import _meetings
pairs, recent = np.empty(16, np.int64), np.full(4096, -1, np.int64)
print(pairs[: _meetings(np.array([[0, 1], [1, 1]], np.int32), 2, recent, pairs)].tolist())
"""
NOWHERE_TO_CACHE = """
import numba.core.caching
for locator in numba.core.caching.CacheImpl._locator_classes:
    locator.from_function = classmethod(lambda cls, *_: None)  # what they say where nothing can be written
"""
STATS = "print(sum(_meetings.stats.cache_hits.values()), sum(_meetings.stats.cache_misses.values()))"


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)


def test_works_where_compiled_code_can_not_be_kept():
    done = run_python(NOWHERE_TO_CACHE + KERNEL)
    assert done.stdout.strip() == "[1]", done.stderr


def test_compiled_code_is_kept_for_other_processes(tmp_path):
    results = [run_python(KERNEL + STATS, NUMBA_CACHE_DIR=str(tmp_path)).stdout.split("\n")[1] for _ in range(2)]
    assert results == ["0 1", "1 0"]
