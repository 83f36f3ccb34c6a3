"""Pages in a headless Chromium: `open_page`, a fixture that tests/conftest.py hands to every test.

    def test_it_fits_a_phone(open_page):
        page = open_page(path, width=390, height=844, dark=True)
        page.click("#theme")
        assert page.text("h1") == "..."
        assert page.scrolls_sideways() is False
        assert page.errors() == [] and page.requests() == []

One browser serves all tests of a process. Where there is none, the tests are skipped, and the reason says what to
install.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


class Page:
    """A page that is open; every wait is for the browser itself, which answers when it is done."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self._errors: list[str] = []
        self._requests: list[str] = []

    def open(self, path: Path) -> None:
        """Load a file, and forget what earlier pages said."""
        self._read_logs()
        self._errors, self._requests = [], []
        self.driver.get(path.resolve().as_uri())

    def resize(self, width: int, height: int) -> None:
        """Make the viewport so many CSS pixels, narrower than any window if need be."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def emulate(self, *, dark: bool = False, media: str = "screen") -> None:
        """What the page's media queries find: a theme, and ``screen`` or ``print``. Nothing moves smoothly."""
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        features = [theme, {"name": "prefers-reduced-motion", "value": "reduce"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})

    def find(self, css: str) -> WebElement:
        """The first element."""
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str, visible: bool = False) -> list[WebElement]:
        """Every element, or those that are displayed."""
        found = self.driver.find_elements(By.CSS_SELECTOR, css)
        return [element for element in found if element.is_displayed()] if visible else found

    def click(self, css: str) -> None:
        """Click in the middle of the first element, which must be there to be clicked."""
        self.find(css).click()

    def text(self, css: str) -> str:
        """What is read of the first element."""
        return self.find(css).text

    def press(self, *keys: str) -> None:
        """Press keys (of `selenium.webdriver.Keys`) where the focus is."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns (``return ...``)."""
        return self.driver.execute_script(script, *arguments)

    def scrolls_sideways(self) -> bool:
        """Whether anything is wider than the page."""
        return self.run("return document.documentElement.scrollWidth > document.documentElement.clientWidth")

    def faint_texts(self) -> list[str]:
        """Texts that can hardly be read on what they stand on; see contrast.js."""
        return self.run((Path(__file__).parent / "contrast.js").read_text())

    def errors(self) -> list[str]:
        """What the console has said so far that is a warning or worse."""
        self._read_logs()
        return self._errors

    def requests(self) -> list[str]:
        """What has been fetched so far, other than the page itself and what is written in it."""
        self._read_logs()
        return self._requests

    def _read_logs(self) -> None:
        self._errors += [f"{entry['level']}: {entry['message']}" for entry in self.driver.get_log("browser")]
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if message["params"].get("type") != "Document" and not url.startswith(("data:", "blob:", "chrome:")):
                    self._requests.append(url)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Write a .png of what is seen, or of the page from its top to its end."""
        options: dict[str, Any] = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self.run("const e = document.documentElement; return [e.clientWidth, e.scrollHeight]")
            options["clip"] = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        data = self.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]
        path.write_bytes(base64.b64decode(data))

    def pdf(self, path: Path) -> None:
        """Write the page as it is printed, on A4."""
        options = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True}
        path.write_bytes(base64.b64decode(self.driver.execute_cdp_cmd("Page.printToPDF", options)["data"]))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory) -> Iterator[webdriver.Chrome]:
    """A headless browser of this machine; nothing is downloaded."""
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no Chromium with its driver here: apt-get install chromium chromium-driver (Debian)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    profile = tmp_path_factory.mktemp("chromium")
    for argument in (
        "--headless=new",
        "--no-sandbox",  # which root of a container cannot have
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "WARNING", "performance": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


@pytest.fixture
def open_page(chromium) -> Callable[..., Page]:
    """`open_page(path, width=1280, height=900, dark=False, media="screen")`: the file as a `Page`."""
    page = Page(chromium)

    def opened(path: Path, width: int = 1280, height: int = 900, *, dark: bool = False, media: str = "screen") -> Page:
        page.resize(width, height)
        page.emulate(dark=dark, media=media)
        page.open(path)
        return page

    return opened
