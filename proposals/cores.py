"""How many cores there are to use; nothing is compiled here, so that asking is free."""

from __future__ import annotations

import os


def cores() -> int:
    """The cores this process may run on; systems that do not say have all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
