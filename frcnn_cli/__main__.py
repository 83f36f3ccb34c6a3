"""`python -m frcnn_cli` is `frcnn`."""

import sys

from frcnn_cli.cli import main

sys.exit(main())
