"""The site: Sphinx reads README, these pages, the kept notebooks and the docstrings of the rooms (``make docs``).

Its source is the whole repository, so that a page's links are the same here and on GitHub. Nothing is fetched, neither
while it is built nor by the pages.
"""

import importlib
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from rooms import HALL, ORDER, modules  # noqa: E402
from sphinx.addnodes import pending_xref  # noqa: E402

import freesound_tagging  # noqa: E402

project = "Freesound tagging"
html_title = f"{project} {freesound_tagging.__version__}"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "README"
READ = {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs", "notebooks"}
exclude_patterns = [path.name for path in ROOT.iterdir() if path.name not in READ]

nb_execution_mode = "off"  # notebooks are kept executed
nb_ipywidgets_js = {}  # which are addresses on the net
myst_heading_anchors = 3  # as on GitHub
suppress_warnings = ["myst.header"]  # levels that a page leaves out

default_role = "py:obj"  # `name` is code, and a link where the name is documented
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_use_rtype = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False

# What the site shows beside the pages that README's table names.
NOTEBOOKS = ("training-cnn-model1", "training-vgg16", "inference-kernel")
PAGES = ("data", "recordings", "page", "profiles", "reproduce", "evidence", "speed", "scaling", "kaggle", "reliability",
         "troubleshooting", "architecture")


def contents():
    """The site's table of contents, as MyST."""
    parts = {"Notebooks": [f"notebooks/{name}" for name in NOTEBOOKS], "Pages": [f"docs/{name}" for name in PAGES],
             "Reference": [f"docs/api/{name}" for name in (*HALL, *ORDER)], "Project": ["CONTRIBUTING", "CHANGELOG"]}
    return "".join(f"\n```{{toctree}}\n:hidden:\n:caption: {part}\n\n" + "\n".join(names) + "\n```\n"
                   for part, names in parts.items())


def room_page(room):
    """The page of a room: what its face hands on; of a module of the hall: its functions."""
    module = importlib.import_module(f"freesound_tagging.{room}")
    lines = [f"# `{room}`", "", "```{eval-rst}", f".. automodule:: freesound_tagging.{room}", "   :no-members:", ""]
    for name in public(module) if room in HALL else sorted(module.__all__, key=str.lower):
        thing = getattr(module, name)
        if isinstance(thing, type):
            lines += [f".. autoclass:: freesound_tagging.{room}.{name}", "   :members:", ""]
        elif callable(thing):
            lines += [f".. autofunction:: freesound_tagging.{room}.{name}", ""]
        else:
            lines += [f".. py:data:: {name}", f"   :module: {module.__name__}", "", f"   {comment(room, name)}", ""]
    return "\n".join([*lines, "```", ""])


def public(module):
    """The functions of a module, in its order."""
    return [name for name, thing in vars(module).items()
            if callable(thing) and thing.__module__ == module.__name__ and name[0] != "_"]


def comment(room, name):
    """The comment above a constant of a room: its value has no docstring of its own."""
    source = "\n".join(path.read_text() for path in modules(room))
    (above,) = re.findall(rf"((?:^# .*\n)+)^{name} = ", source, re.M)
    return above.replace("# ", "").replace("\n", " ").strip()


def write_rooms(app, config):
    """Write a page a room into docs/api, which git ignores."""
    folder = ROOT / "docs/api"
    folder.mkdir(exist_ok=True)
    for room in (*HALL, *ORDER):
        path, text = folder / f"{room}.md", room_page(room)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def front(app, name, source):
    """README as the front page: with the table of contents, without the badges, which are fetched from elsewhere."""
    if name == root_doc:
        kept = [line for line in source[0].splitlines(keepends=True) if not line.startswith("[![")]
        source[0] = "".join(kept) + contents()


def folder_links(app, doctree):
    """Links to folders of the repository are words here, as a site has no pages of them."""
    page = Path(app.env.doc2path(app.env.docname))
    for link in list(doctree.findall(pending_xref)):
        if link.get("reftype") == "myst" and (page.parent / link["reftarget"]).is_dir():
            link.replace_self(link.children)


def index(app, error):
    """The front page by the name that servers look for."""
    if not error and app.builder.format == "html":
        shutil.copy(Path(app.outdir, f"{root_doc}.html"), Path(app.outdir, "index.html"))


def setup(app):
    """Called by Sphinx."""
    app.connect("config-inited", write_rooms)
    app.connect("source-read", front)
    app.connect("doctree-read", folder_links)
    app.connect("build-finished", index)
