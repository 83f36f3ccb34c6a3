"""`frcnn doctor`: what there is to work with, whether it works, and what is missing."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.table import Table

from frcnn_cli.commands.console import out
from frcnn_cli.errors import DataError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout, and nothing else there.")
def doctor(as_json: bool) -> None:
    """Say what this installation has to work with, and find a cat in a photograph as a test.

    Versions, the processor and its instruction sets, the device, where compiled kernels are kept, the bundled model,
    and what could be installed beside. The exit code is 1 if something does not work.

    \b
    frcnn doctor                          a table
    frcnn doctor --json > machine.json    for programs
    """
    from frcnn_cli.engine.installation import describe_installation

    facts = describe_installation()
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        _print(facts)
    if facts["faults"]:
        raise DataError(*facts["faults"])


def _print(facts: dict[str, Any]) -> None:
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in _rows(facts):
        table.add_row(name, value)
    out.print(table)


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    processor, kernels, model = facts["processor"], facts["kernels"], facts["model"]
    memory = processor["memory_bytes"]
    rows = [
        ("frcnn", facts["frcnn"]),
        ("python", facts["python"]),
        ("system", facts["system"]),
        ("packages", ", ".join(f"{name} {version or 'missing'}" for name, version in facts["packages"].items())),
        (
            "processor",
            f"{processor['name']}, {processor['cores']} cores" + (f", {memory / 1e9:.1f} GB" if memory else ""),
        ),
        ("instruction sets", ", ".join(processor["instruction_sets"]) or "not known here"),
    ]
    if device := facts.get("device"):
        cuda = f", CUDA {device['cuda']}" if device["cuda"] else ""
        rows.append(("device", f"{device['name']}{cuda}, {device['threads']} threads, {device['vectors']} vectors"))
    compiled = f"{kernels['files']} files, {kernels['bytes'] / 1e6:.1f} MB"
    where = "kept in" if kernels["kept"] else "cannot be kept (set NUMBA_CACHE_DIR) in"
    rows.append(("compiled kernels", f"{compiled}; {where} {', '.join(kernels['folders'])}"))
    rows.append(("bundled model", f"{model['path']}, {(model['bytes'] or 0) / 1e6:.1f} MB"))
    if test := facts.get("test"):
        rows.append(
            (
                "self-test",
                test["fault"]
                or f"{test['found']} with {test['score']:.2f}, in {test['seconds']:.2f} s "
                f"({test['first_seconds']:.2f} s the first time)",
            )
        )
    rows += [("could be added", f"{item['name']}: {item['use']} ({item['get']})") for item in facts["missing"]]
    return rows
