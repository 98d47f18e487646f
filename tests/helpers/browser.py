"""A real browser, headless Chromium, for tests of the page of a report.

Where there is none these tests are skipped; with BNAS_BENCH_BROWSER=required they fail instead.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

SIZES = {"phone": (390, 844), "tablet": (800, 1000), "desktop": (1440, 900)}


def unavailable(reason: str) -> NoReturn:
    if os.environ.get("BNAS_BENCH_BROWSER") == "required":
        pytest.fail(f"BNAS_BENCH_BROWSER=required, but {reason}")
    pytest.skip(reason)


class Browser:
    """One tab, and what these tests do with it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.js = driver.execute_script

    def open(self, file: Path, fragment: str = "", size: str = "desktop") -> None:
        width, height = SIZES[size]
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
        metrics["mobile"] = size == "phone"
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get("about:blank")  # else another fragment alone would not load the page anew
        self.driver.get(f"{file.as_uri()}{fragment}")

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        return self.js(
            "return Array.from(document.querySelectorAll(arguments[0]), e => e.textContent)",
            selector,
        )

    def until(self, script: str) -> Any:
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, 60, 0.02).until(lambda _: self.js(script))

    def runs(self) -> None:
        """Wait until the panel shows a run's command."""
        self.until("return document.querySelector('dialog[open] .commands .copy')")

    def prefers(self, scheme: str) -> None:
        """Have the system be light or dark, with no animations."""
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def console(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]
