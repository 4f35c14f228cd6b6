"""A headless Chromium, where there is one."""

import json
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@contextmanager
def chromium(profile: Path) -> Generator[Any]:
    """A browser of its own; the test is skipped where Chromium, its driver or selenium are not installed.

    Args:
        profile: an empty folder.
    """
    pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[test]'")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("there is no Chromium with its driver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # With both paths given selenium looks for nothing, and so downloads nothing.
    found = webdriver.Chrome(options=options, service=Service(executable_path=driver))
    try:
        yield found
    finally:
        found.quit()


def requested(driver: Any) -> list[str]:
    """The addresses that the browser has asked for since the last call, but for what lies in the page itself."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith("data:")]


def complaints(driver: Any) -> list[str]:
    """What the console has been told since the last call: errors, warnings, violations of the content policy."""
    return [entry["message"] for entry in driver.get_log("browser")]
