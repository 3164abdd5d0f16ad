"""The page in a real browser: a file dropped, events clicked, a microphone that is fed from a file, light and dark.

``make test-browser``; it needs Chromium (Debian's package, or $CHROMIUM) and Playwright. Screenshots are left in
``build/browser``.
"""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from browser import SCREENSHOTS, chromium

SIZES = {"wide": (1300, 1500), "narrow": (390, 1700)}

pytestmark = pytest.mark.skipif(not os.environ.get("BROWSER_TEST"), reason="needs a browser: make test-browser")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Three seconds of silence and three sounds, 15 s; half an hour of them; and what is none."""
    from freesound_tagging.demo import SOUNDS

    folder = tmp_path_factory.mktemp("sounds")
    kinds = list(SOUNDS.values())[:3]
    signal = np.concatenate([kind(np.random.default_rng(0), 4.0) for kind in kinds])
    signal = np.r_[np.zeros(3 * 44_100), 0.5 * signal / np.abs(signal).max()].astype(np.float32)
    sf.write(folder / "three sounds.wav", signal, 44_100)
    sf.write(folder / "half an hour.flac", np.tile(signal, 120), 44_100)
    (folder / "bad.wav").write_text("no sound")
    return folder


@pytest.fixture(scope="module")
def address(serve, tmp_path_factory):
    with serve(tmp_path_factory.mktemp("served")) as address:
        yield address


@pytest.fixture(scope="module")
def browser(sounds):
    with chromium("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
                  f"--use-file-for-fake-audio-capture={sounds / 'three sounds.wav'}") as browser:
        yield browser


@pytest.fixture
def visit(browser, address):
    """Opens the page in a window; what it asks other machines for, and what its script complains of, is a failure."""
    contexts, asked, errors = [], [], []

    def visit(size="wide", scheme="light"):
        contexts.append(browser.new_context(viewport=dict(zip(("width", "height"), SIZES[size])), color_scheme=scheme,
                                            permissions=["microphone"]))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector("text=What is to be heard?")
        return page

    yield visit
    for context in contexts:
        context.close()
    own = (address, "data:", "blob:", address.replace("http", "ws", 1))
    assert [url for url in asked if not url.startswith(own)] == []
    assert errors == []


def drop(page, path):
    page.locator("input[type=file]").first.set_input_files(path)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_shown_heard_and_taken_home(visit, sounds, size, scheme):
    page = visit(size, scheme)
    page.screenshot(path=SCREENSHOTS / f"page-empty-{size}-{scheme}.png")
    drop(page, sounds / "three sounds.wav")
    page.wait_for_selector("#view .bars")
    page.wait_for_selector("#events .downloads")
    page.wait_for_function("document.querySelector('#view img').complete")
    page.screenshot(path=SCREENSHOTS / f"page-{size}-{scheme}.png", full_page=True)
    assert page.locator("#view .bar").count() == 5
    assert page.locator("#view img").evaluate("image => image.naturalWidth") > 800
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    button, player = page.locator("#events button").last, page.locator("#view audio")
    begins = float(button.inner_text())
    assert begins >= 2.9, "after the silence"
    button.click()
    page.wait_for_function("player => !player.paused && player.currentTime > 0", arg=player.element_handle())
    assert begins - 0.1 <= player.evaluate("player => player.currentTime") < begins + 3
    for ending in ("txt", "csv", "json"):
        with page.expect_download() as download:
            page.locator(f"#events .downloads a[href*='/{ending}?']").click()
        assert download.value.suggested_filename == f"three sounds.wav.{ending}"
        assert Path(download.value.path()).stat().st_size > 0


def test_a_bad_file_gets_its_line_and_the_next_one_is_taken(visit, sounds):
    page = visit()
    drop(page, sounds / "bad.wav")
    page.wait_for_selector("#view .said")
    assert page.locator("#view .said").inner_text().startswith("bad.wav cannot be read as audio")
    page.screenshot(path=SCREENSHOTS / "page-bad.png")
    drop(page, sounds / "three sounds.wav")
    page.wait_for_selector("#view .bars")


def test_a_long_sound_shows_progress_is_stopped_and_keeps_nobody_waiting(visit, sounds):
    long, short = visit(), visit()
    drop(long, sounds / "half an hour.flac")
    long.wait_for_selector("text=/heard \\d/")
    long.screenshot(path=SCREENSHOTS / "page-progress.png")
    drop(short, sounds / "three sounds.wav")
    short.wait_for_selector("#view .bars")
    assert long.locator("#view .bars").count() == 0, "the long one goes on"
    long.locator("button:has-text('Stop listening')").click()
    long.wait_for_selector("text=Stopped; the sound is deleted within 80 seconds.")


def test_the_microphone_is_recorded_and_heard(visit):
    page = visit()
    page.locator("button:has-text('Record')").first.click()
    page.wait_for_timeout(4000)  # so long is the recording
    page.locator("button:has-text('Stop'):not([disabled])").first.click()
    page.wait_for_selector("#view .bars")
    page.screenshot(path=SCREENSHOTS / "page-recorded.png", full_page=True)


def test_the_strip_moves_while_the_microphone_runs(visit):
    page = visit("narrow", "dark")
    page.get_by_role("tab", name="Live").click()
    page.locator("button:has-text('Record'):visible").first.click()
    page.wait_for_selector("#strip .strip")
    first = int(page.locator("#strip .strip").get_attribute("data-windows"))
    page.wait_for_function("least => document.querySelector('#strip .strip')?.dataset.windows >= least", arg=first + 5)
    page.screenshot(path=SCREENSHOTS / "page-live.png")
    assert re.search(r"<rect", page.locator("#strip").inner_html())
