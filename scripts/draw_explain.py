"""Draw what `frcnn explain` makes: two pages as a browser shows them, one at a desk and one on a phone.

    python scripts/draw_explain.py scripts/figures/explain.jpg

Needs Chromium and its driver, and selenium (`pip install -e '.[dev]'`).
"""

from __future__ import annotations

import base64
import io
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
from PIL import Image
from selenium import webdriver

from frcnn_cli.data.images import save_image
from frcnn_cli.engine.detector import BUNDLED_MODEL
from frcnn_cli.explain.page import explain

PHOTOGRAPHS = Path(__file__).parent.parent / "tests" / "data" / "JPEGImages"
HEIGHT, GAP = 1250, 24
VIEWS = (("dog_bicycle", "pooling", 980, False), ("dog_bicycle", "backward", 430, True))
"""Photograph, section, width of the window, whether it is dark."""


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
def main(output: Path) -> None:
    """Make the pages, look at them, and put the pictures side by side."""
    browser = open_browser()
    try:
        with TemporaryDirectory() as folder:
            pages = {}
            for name in {name for name, *_ in VIEWS}:
                pages[name] = Path(folder) / f"{name}.html"
                pages[name].write_text(explain(PHOTOGRAPHS / f"{name}.jpg", BUNDLED_MODEL), encoding="utf-8")
            pictures = [view(browser, pages[name], *rest) for name, *rest in VIEWS]
    finally:
        browser.quit()
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    together = Image.new("RGB", (width, HEIGHT), "white")
    left = 0
    for picture in pictures:
        together.paste(picture, (left, 0))
        left += picture.width + GAP
    save_image(output, np.asarray(together))


def open_browser() -> webdriver.Chrome:
    """A headless Chromium of this machine."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


def view(browser: webdriver.Chrome, page: Path, section: str, width: int, dark: bool) -> Image.Image:
    """The beginning of a section, `HEIGHT` pixels of it."""
    metrics = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})
    browser.get(page.as_uri())
    top = browser.execute_script(
        f"return document.querySelector('#{section} h2').getBoundingClientRect().top + scrollY"
    )
    clip = {"x": 0, "y": top, "width": width, "height": HEIGHT, "scale": 1}
    data = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})["data"]
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


if __name__ == "__main__":
    main()
