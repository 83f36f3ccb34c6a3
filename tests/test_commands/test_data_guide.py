"""Every row of the guide to data names options that there are."""

from __future__ import annotations

import re
from pathlib import Path

import frcnn_cli
from frcnn_cli.commands.train import train


def test_the_options_of_the_guide_are_real():
    text = (Path(frcnn_cli.__file__).parent / "DATA.md").read_text(encoding="utf-8")
    known = {name for param in train.params for name in (*param.opts, *param.secondary_opts)}
    named = set(re.findall(r"--[a-z][a-z-]*", text))
    assert len(named) > 10
    assert named <= known
