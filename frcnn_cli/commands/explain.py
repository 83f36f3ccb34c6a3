"""`frcnn explain`: a photograph in, one page out that takes it through Fast R-CNN."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from frcnn_cli.commands.console import out, progress_bar
from frcnn_cli.commands.fields import PATH, option_group
from frcnn_cli.data.images import read_header
from frcnn_cli.engine.detector import find_model
from frcnn_cli.explain.words import ENGLISH, languages
from frcnn_cli.files import atomic_write, check_writable
from frcnn_cli.replacing import FORCE_HELP, check_apart, check_replaced
from frcnn_cli.settings import setting


@dataclass(frozen=True)
class ExplainOptions:
    """What is explained, and in which words.

    Attributes:
        weights: a checkpoint; None for the bundled one.
        language: a file of `explain/words`.
        force: replace what is there and not ours.
    """

    weights: Path | None = setting(None, "A trained model.", metavar="CHECKPOINT", shown_default="the bundled one")
    language: str = setting(ENGLISH, "The language of the page.", choices=languages())
    force: bool = setting(False, FORCE_HELP)


@click.command()
@click.argument("image", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE", help="The page, in HTML.")
@option_group(ExplainOptions, "options")
def explain(image: Path, output: Path, options: ExplainOptions) -> None:
    """Explain Fast R-CNN on a photograph: one page, formula by formula, with the numbers of this photograph.

    The page needs no network and no program but a browser. It shows what R-CNN, SPPnet, Fast R-CNN and Faster R-CNN
    would compute; proposals; RoI pooling and its gradient; the loss; sampling; regression and suppression; truncated
    SVD; and where the time goes.

    \b
    frcnn explain photo.jpg -o page.html
    frcnn explain photo.jpg -o page.html --weights run/model.safetensors
    frcnn explain photo.jpg -o page.html --language ko
    """
    read_header(image)
    weights = find_model(options.weights)
    check_writable(output)
    check_apart([output], [image, weights])
    check_replaced([output], options.force)
    from frcnn_cli.explain.page import explain as page_of  # brings torch

    text = page_of(image, weights, options.language, progress_bar("explain", "section"))
    with atomic_write(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    out.print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
