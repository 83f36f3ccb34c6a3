"""`python -m frcnn_cli` is `frcnn`, and so is `main` here."""

from __future__ import annotations

import signal
import sys

if "__mp_main__" in sys.modules:
    # A process that the program has started imports the program first; its parent may be killed meanwhile.
    from frcnn_cli.engine.children import be_silent

    be_silent()


def main() -> int:
    """The command line of this process, from its first import on without a traceback of Ctrl-C.

    Returns:
        The exit code, see `frcnn_cli.cli.main`.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `frcnn_cli.edge` hears it, and when that has ended
    from frcnn_cli.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
