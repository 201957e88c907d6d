"""A page in headless Chromium, with everything that it asks of a network and says on its console.

Debian's packages chromium and chromium-driver have to be there.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys

PHONE = (390, 844)


class Browser:
    """One window."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, file: Path) -> None:
        """Open ``file`` from disk, once its scripts have run."""
        self.requests()
        self.driver.get(file.as_uri())
        assert self.run("return document.documentElement.dataset.ready") == "yes", self.complaints()

    def run(self, script: str, *arguments: Any) -> Any:
        """What ``script``, the body of a function, returns."""
        return self.driver.execute_script(script, *arguments)

    def requests(self) -> list[str]:
        """Addresses asked for since the last call, without what the page has in itself."""
        said = [json.loads(line["message"])["message"] for line in self._log("performance")]
        asked = [each["params"] for each in said if each["method"] == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in asked if not each["request"]["url"].startswith("data:")]

    def complaints(self) -> list[str]:
        """What the console has said since the last call, of whatever severity."""
        return [line["message"] for line in self._log("browser")]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return found

    def press(self, *keys: str) -> None:
        """Type into whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def tab(self) -> None:
        """Go on to the next control."""
        webdriver.ActionChains(self.driver).send_keys(Keys.TAB).perform()

    def colours(self, scheme: str) -> None:
        """Prefer ``light`` or ``dark``."""
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            # Nothing can be clicked while the page is still on its way there.
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def size(self, width: int, height: int, *, phone: bool = False, scale: float = 1.0) -> None:
        """Show the page in so many pixels, on a phone as one does."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def pdf(self) -> bytes:
        """The page printed."""
        printed: str = self.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
        return base64.b64decode(printed)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that nobody has used before."""
    binary, driver = which("chromium"), which("chromedriver")
    assert binary, "Debian's package chromium is needed"
    assert driver, "Debian's package chromium-driver is needed"
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        for flag in (
            "headless=new",
            "no-sandbox",
            "disable-gpu",
            "hide-scrollbars",
            f"user-data-dir={profile}",
        ):
            options.add_argument(f"--{flag}")
        window = webdriver.Chrome(options=options, service=Service(driver))
        try:
            window.get("about:blank")
            browser = Browser(window)
            browser.complaints()
            browser.size(1280, 900)
            yield browser
        finally:
            window.quit()
