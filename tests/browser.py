"""A real browser for ``make test-browser``."""

import contextlib
import os
import shutil

import pytest
from helpers import ROOT

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
SCREENSHOTS = ROOT / "build/browser"


@contextlib.contextmanager
def chromium(*arguments):
    """A Chromium that asks nothing of the network, and a folder for its screenshots."""
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        pytest.fail("there is no Chromium: apt-get install chromium, or name it in $CHROMIUM")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[
            "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", *arguments])
        yield browser
        browser.close()
