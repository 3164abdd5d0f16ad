"""The site of ``make docs``: built whole, once, with warnings as errors."""

import importlib
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Page(HTMLParser):
    """What a page links to, what it loads, and the places in it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.places, self.players = [], [], {""}, 0
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.places.add(attributes.get("id"))
        self.players += tag == "audio"
        if tag in ("a", "link"):
            (self.links if tag == "a" else self.loaded).append(attributes.get("href") or "")
        if "src" in attributes:
            self.loaded.append(attributes["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for module in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "-d",
                           folder / "doctrees", ".", folder / "html"], cwd=ROOT, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    html = folder / "html"
    return {path.relative_to(html): Page(path) for path in html.rglob("*.html")}, html


def test_every_link_and_image_of_the_site_is_there(site):
    pages, folder = site
    for name, page in pages.items():
        for target in (*page.links, *page.loaded):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            path = (folder / name).parent / unquote(parts.path) if parts.path else folder / name
            assert path.exists(), f"{name}: {target}"
            if path.suffix == ".html" and parts.fragment:
                assert unquote(parts.fragment) in pages[path.resolve().relative_to(folder.resolve())].places, (
                    f"{name}: {target}")


def test_no_page_loads_anything_from_elsewhere(site):
    pages, folder = site
    for name, page in pages.items():
        assert not [target for target in page.loaded if urlsplit(target).scheme not in ("", "data")
                    or urlsplit(target).netloc], name
    for path in folder.rglob("*.css"):
        assert "url(http" not in path.read_text().replace('"', "").replace("'", ""), path


def test_the_site_has_every_page_and_every_notebook_with_its_figures_and_players(site):
    pages, _ = site
    front = {link.partition("#")[0] for link in pages[Path("index.html")].links}
    for path in (*(ROOT / "docs").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb"), ROOT / "CHANGELOG.md"):
        name = path.relative_to(ROOT).with_suffix(".html")
        assert name in pages and str(name) in front, name
    kept = pages[Path("notebooks/training-cnn-model1.html")]
    assert sum("_images/" in target for target in kept.loaded) >= 13 and kept.players >= 1


def test_every_name_on_a_face_is_in_the_reference(site):
    pages, _ = site
    for room in ("annotations", "app", "clips", "demo", "images", "machine", "networks", "notebook", "prediction",
                 "training"):
        names = importlib.import_module(f"freesound_tagging.{room}").__all__
        assert {f"freesound_tagging.{room}.{name}" for name in names} <= pages[Path(f"docs/api/{room}.html")].places
    assert "freesound_tagging.augment.specmix" in pages[Path("docs/api/augment.html")].places
    assert "freesound_tagging.lwlrap.lwlrap" in pages[Path("docs/api/lwlrap.html")].places
