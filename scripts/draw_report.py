"""Draw the picture of a report: its first screen as a browser shows it, light and dark side by side, and on a phone.

    frcnn eval --voc VOC2007 --split test --metric voc07 --report report
    python scripts/draw_report.py report/index.html scripts/figures/report.jpg

Needs Chromium with its driver on this machine, and selenium.
"""

from __future__ import annotations

import base64
import io
import shutil
from pathlib import Path

import click
from PIL import Image
from selenium import webdriver

WIDTH, HEIGHT, PHONE, GAP = 1180, 1010, 400, 24
BACKGROUND = (203, 205, 203)


@click.command()
@click.argument("report", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("output", type=click.Path(path_type=Path))
def main(report: Path, output: Path) -> None:
    """Open the page three times, and paste what is seen together."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        views = [
            screenshot(driver, report, WIDTH, "light"),
            screenshot(driver, report, WIDTH, "dark", "#cases"),
            screenshot(driver, report, PHONE, "light"),
        ]
    finally:
        driver.quit()
    canvas = Image.new(
        "RGB", (sum(view.width for view in views) + GAP * (len(views) + 1), HEIGHT + 2 * GAP), BACKGROUND
    )
    left = GAP
    for view in views:
        canvas.paste(view, (left, GAP))
        left += view.width + GAP
    canvas = canvas.resize((canvas.width * 2 // 3, canvas.height * 2 // 3), Image.Resampling.LANCZOS)
    canvas.save(output, quality=88, subsampling=0)


def screenshot(driver: webdriver.Chrome, report: Path, width: int, theme: str, place: str = "") -> Image.Image:
    """What is seen of the page, at a width, in a theme, from a place on."""
    view = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)
    features = [
        {"name": "prefers-color-scheme", "value": theme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    driver.get(report.resolve().as_uri() + place)
    data = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


if __name__ == "__main__":
    main()
