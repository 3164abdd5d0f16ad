"""Make a Hugging Face Space of the page: ``python notebooks/for_space.py FOLDER --weights WEIGHTS``.

FOLDER holds what a Space wants: app.py, the package, its requirements, the front matter and the weights. `make space`
calls this.
"""

import argparse
import shutil
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

from freesound_tagging.machine.commands import command
from freesound_tagging.networks.weights import load_tagger, save_tagger, weights_path, weights_to_upload
from freesound_tagging.prediction import Ensemble
from freesound_tagging.prediction.calibration import CALIBRATION
from freesound_tagging.training.portable import copy_profile
from freesound_tagging.training.profile import load_profile

ROOT = Path(__file__).resolve().parents[1]
# A Space installs its requirements before it has the other files, so that the package lies beside app.py as it is.
LEFT_OUT = ("fastai", "requests")  # for training and downloads
APP = '''"""The page, as a Space wants it: all of the machine's addresses, port 7860."""

from freesound_tagging.app.__main__ import main

raise SystemExit(main(["--weights", "weights", "--host", "0.0.0.0", "--port", "7860", "--max-minutes", "20"{own}]))
'''
FRONT = """---
title: What is to be heard?
emoji: 👂
colorFrom: blue
colorTo: gray
sdk: gradio
sdk_version: {gradio}
python_version: "3.11"
app_file: app.py
license: mit
short_description: Tags any sound with {labels} labels
---

# What is to be heard?

{networks} network{s} for {labels} labels: a rebuild of Bouteillon's system for Freesound Audio Tagging 2019.
"""


@command
def main(arguments=None):
    """Build the folder anew and say how it is uploaded."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, default=ROOT / "weights", help="ours or the author's")
    parser.add_argument("--profile", default="full", help="the file by which networks of one's own were trained")
    options = parser.parse_args(arguments)
    load_profile(options.profile)
    networks = weights_to_upload(options.weights)
    ensemble = Ensemble.load(networks, "cpu")  # they belong together, or it says what is wrong
    for part in ("freesound_tagging", "weights", "profiles"):  # and nothing else of a folder that was given by mistake
        shutil.rmtree(options.folder / part, ignore_errors=True)
    shutil.copytree(ROOT / "freesound_tagging", options.folder / "freesound_tagging",
                    ignore=shutil.ignore_patterns("__pycache__"))
    folders = sorted({path.parent for path in networks})
    for path in networks:
        tagger = load_tagger(path)
        copy = weights_path(options.folder / "weights" / str(folders.index(path.parent)), tagger.spec.stage,
                            tagger.spec.fold)
        copy.parent.mkdir(parents=True, exist_ok=True)
        save_tagger(tagger, copy)
        if (beside := path.with_name(CALIBRATION)).is_file():
            shutil.copy(beside, copy.with_name(CALIBRATION))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = ["app"] + ["timm"] * any(tagger.spec.network.startswith("timm:") for tagger in ensemble.taggers)
    needed = sum((project["optional-dependencies"][extra] for extra in extras), project["dependencies"])
    (options.folder / "requirements.txt").write_text("".join(
        f"{needs}\n" for needs in needed if not needs.startswith(LEFT_OUT)))
    own = copy_profile(options.profile, options.folder / "profiles")
    named = "" if own is None else f', "--profile", "profiles/{own.name}"'
    (options.folder / "app.py").write_text(APP.format(own=named), encoding="utf-8")
    (options.folder / "README.md").write_text(FRONT.format(
        gradio=version("gradio"), networks=len(networks), s="s" * (len(networks) > 1), labels=len(ensemble.vocabulary)),
        encoding="utf-8")
    print(f"{len(networks)} networks and the page in {options.folder}. To upload it:\n"
          f"  hf upload NAME/freesound-tagging {options.folder} . --repo-type space")


if __name__ == "__main__":
    sys.exit(main())
