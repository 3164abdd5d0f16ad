"""The notebooks in JupyterLab in a real browser: every cell runs, the explorer's widgets move, no figure is empty.

``make test-browser``; it needs Chromium (Debian's package, or $CHROMIUM) and Playwright. Screenshots are left in
``build/browser``.
"""

import io
import os
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from browser import SCREENSHOTS, chromium
from helpers import ROOT, nbformat
from PIL import Image

PARAMETERS = {
    "training-cnn-model1": 'profile = "tiny"', "training-vgg16": 'profile = "tiny"',
    "inference-kernel": 'submission_file = "../run/submission.csv"'}

pytestmark = pytest.mark.skipif(not os.environ.get("BROWSER_TEST"), reason="takes minutes and a browser: "
                                                                           "make test-browser")


@pytest.fixture(scope="module")
def lab(demo, tmp_path_factory):
    """JupyterLab on copies of the notebooks, set to the tiny profile and to the tiny demo set."""
    folder = tmp_path_factory.mktemp("lab")
    notebooks = folder / "notebooks"
    notebooks.mkdir()
    for name, own in PARAMETERS.items():
        notebook = nbformat.read(ROOT / f"notebooks/{name}.ipynb", 4)
        cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
        cell.source += f'\ninput_folder = {str(demo.root)!r}\nweights_folder, work_folder = "../run/weights", ' \
                       f'"../run/work"\n{own}'
        nbformat.write(notebook, notebooks / f"{name}.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1",
         "--IdentityProvider.token=", f"--notebook-dir={notebooks}", "--LabApp.check_for_updates_class="
         "jupyterlab.NeverCheckForUpdate", f"--LabApp.workspaces_dir={folder / 'workspaces'}",
         f"--LabApp.user_settings_dir={folder / 'settings'}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"HOME": str(folder)})
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/api", timeout=2)
            break
        except OSError:
            time.sleep(0.5)
    yield notebooks, address
    server.terminate()
    server.wait(30)


@pytest.fixture(scope="module")
def page(lab):
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(60_000)
        yield page


def run_all(page, lab, name, seconds=900):
    """Open a notebook, run all its cells, and wait until the last one has run."""
    from nbconvert.preprocessors import ClearOutputPreprocessor

    notebooks, address = lab
    path, until = notebooks / f"{name}.ipynb", time.monotonic() + seconds
    notebook, _ = ClearOutputPreprocessor().preprocess(nbformat.read(path, 4), {})  # what is there then is new
    nbformat.write(notebook, path)
    page.goto(f"{address}/lab/tree/{name}.ipynb?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_selector("text=Python 3 (ipykernel) | Idle")
    page.click("text=Run >> nth=0")
    page.click("text=Restart Kernel and Run All Cells")
    page.click(".jp-Dialog button:has-text('Restart')")
    while time.monotonic() < until:
        time.sleep(2)
        page.keyboard.press("Control+s")
        cells = saved_cells(path)
        if cells and (cells[-1].execution_count == len(cells) or any(
                output.output_type == "error" for cell in cells for output in cell.outputs)):
            return cells
    pytest.fail(f"{name} has not come to its end in {seconds} s")


def saved_cells(path):
    """The code cells of a notebook as JupyterLab has saved it; none while it writes, as the file is empty then."""
    try:
        notebook = nbformat.read(path, 4)
    except nbformat.reader.NotJSONError:
        return []
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def settle(page):
    """Wait until the page has drawn what is in view now, and has read all its images."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.wait_for_function("() => [...document.querySelectorAll('.jp-RenderedImage img')].every(one => one.complete)")


def look(page, name):
    """Scroll through the notebook and keep screenshots; the sizes of the figures that the browser shows."""
    for toast in page.locator(".Toastify__toast button:has-text('No')").all():  # Jupyter's news
        toast.click()
    seen = {}
    scroller = page.locator(".jp-WindowedPanel-outer").first
    height = scroller.evaluate("panel => panel.scrollHeight")
    for top in range(0, int(height), 800):
        scroller.evaluate("(panel, top) => panel.scrollTo(0, top)", top)
        settle(page)
        page.screenshot(path=SCREENSHOTS / f"{name}-{top // 800:02}.png")
        for image in page.locator(".jp-RenderedImage img").all():
            seen[image.get_attribute("src")[:200] + str(len(image.get_attribute("src")))] = image.evaluate(
                "image => [image.naturalWidth, image.naturalHeight, image.getBoundingClientRect().right]")
    return seen


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_cell_runs_and_every_figure_is_seen(page, lab, name):
    code = run_all(page, lab, name)
    errors = [output for cell in code for output in cell.outputs
              if output.output_type == "error" or output.get("name") == "stderr"]
    assert not errors
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    figures = [output["data"]["image/jpeg"] for cell in code for output in cell.outputs
               if "image/jpeg" in output.get("data", {})]
    assert len(figures) >= 6
    assert min(map(len, figures)) > 10_000, "an empty figure"
    seen = look(page, name)
    assert seen and all(width > 300 and height > 100 and right < 1300 for width, height, right in seen.values())


def test_the_explorer_moves(page, lab):
    """Another augmentation, another draw, another setting: each time another picture, and the sliders that fit."""
    from playwright.sync_api import expect

    run_all(page, lab, "training-cnn-model1")
    picture = page.locator(".jp-Notebook img.widget-image")
    scroll_to(page, picture)
    explorer = page.locator(".widget-vbox:has(img.widget-image)").first
    pictures = []

    def changed():
        for _ in range(240):
            now = shown(page, picture)
            if not pictures or now.shape != pictures[-1].shape or np.abs(now - pictures[-1]).max() > 20:
                pictures.append(now)
                assert now.std() > 20, "an empty picture"
                return
            page.wait_for_timeout(250)
        pytest.fail(f"the picture stayed as it was after change {len(pictures)}")

    changed()
    dropdowns, sliders = explorer.locator("select"), explorer.locator(".noUi-handle")
    expect(sliders).to_have_count(1 + 8)  # the draw, and all settings of the full chain
    for name, count in (("SpecMix", 4), ("mixup", 1), ("SpecAugment", 4), ("zoom and crop", 2), ("lighting", 2)):
        dropdowns.nth(2).select_option(label=name)
        changed()
        explorer.screenshot(path=SCREENSHOTS / f"explorer-{name.replace(' ', '-')}.png")
        expect(sliders).to_have_count(1 + count)
    dropdowns.nth(2).select_option(label="SpecMix")
    changed()
    for _ in range(3):
        sliders.nth(0).press("ArrowRight")
    changed()
    sliders.nth(2).press("End")  # the widest stripe may fill the excerpt
    changed()
    dropdowns.nth(1).select_option(index=7)
    changed()
    expect(explorer.locator("audio")).to_have_count(2)
    # In a narrow window every slider can still be moved, and nothing sticks out.
    page.set_viewport_size({"width": 700, "height": 1000})
    scroll_to(page, picture)
    settle(page)
    explorer.screenshot(path=SCREENSHOTS / "explorer-narrow.png")
    right = explorer.evaluate("box => box.getBoundingClientRect().right")
    for track in explorer.locator(".noUi-target").all():
        box = track.bounding_box()
        assert box["width"] > 60 and box["x"] + box["width"] <= right + 1
    for part in explorer.locator("select, audio, img").all():
        box = part.bounding_box()
        assert box["x"] + box["width"] <= right + 1
    before = pictures[-1]
    sliders.nth(2).press("Home")
    changed()
    assert np.abs(pictures[-1] - before).max() > 20
    page.set_viewport_size({"width": 1300, "height": 1000})


def scroll_to(page, what):
    """Bring something into view that the notebook may not have drawn yet, as it draws what is near."""
    scroller = page.locator(".jp-WindowedPanel-outer").first
    for top in range(0, 20_000, 400):
        scroller.evaluate("(panel, top) => panel.scrollTo(0, top)", top)
        settle(page)
        if what.count():
            break
    what.scroll_into_view_if_needed()


def shown(page, picture):
    """The explorer's picture, in grey."""
    source = picture.evaluate("""async image => {
        const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
        return Array.from(bytes)}""")
    return np.asarray(Image.open(io.BytesIO(bytes(source))).convert("L"), float)


def test_the_player_jumps_to_an_event_that_is_clicked(page, lab):
    """With the networks that the notebooks before have left."""
    run_all(page, lab, "inference-kernel")
    heard = page.locator(".heard").first
    scroll_to(page, heard)
    heard.screenshot(path=SCREENSHOTS / "player.png")
    button, player = heard.locator("button:not([disabled])").last, heard.locator("audio")
    begins = float(button.inner_text())
    assert player.evaluate("player => player.paused")
    button.click()
    page.wait_for_function("player => !player.paused && player.currentTime > 0", arg=player.element_handle())
    assert begins - 0.1 <= player.evaluate("player => player.currentTime") < begins + 5
