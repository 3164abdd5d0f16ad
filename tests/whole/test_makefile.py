"""The commands of the Makefile: what they hand on, whatever names and environment a user has."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from helpers import ROOT, nbformat

RECORD = """#!{python}
import json, sys
with open({file!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
"""

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="the program make is not installed")


@pytest.fixture
def make(tmp_path):
    """Runs make with a Python that only writes down what it is called with; gives that of the last call.

    Of other programs there are those that every Unix has, macOS among them.
    """
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for program in ("sh", "make", "mkdir", "cat", "test", "python3.11"):
        (tmp_path / "bin" / program).symlink_to(sys.executable if "python" in program else shutil.which(program))
    python, called = tmp_path / "venv/bin/python", tmp_path / "called"
    python.write_text(RECORD.format(python=sys.executable, file=str(called)))
    python.chmod(0o755)
    (tmp_path / "venv/installed").touch()

    def run(target, **variables):
        given = [f"{name}={value}".replace("$", "$$") for name, value in variables.items()]
        # Without the environment of a make that runs this.
        subprocess.run(["make", "--silent", "-C", ROOT, target, f"VENV={tmp_path / 'venv'}", *given], check=True,
                       capture_output=True, env={"PATH": str(tmp_path / "bin"), "USER": "me"})
        return json.loads(called.read_text().splitlines()[-1])
    return run


@pytest.mark.parametrize("name", ["My Sounds", "a 'b' \"c\"", "$HOME; `x` & (y), #z"])
def test_every_command_takes_folders_of_any_name(make, tmp_path, name):
    folder, output = str(tmp_path / "in" / name), str(tmp_path / "out" / name)
    assert make("check", INPUT=folder)[-2:] == ["check", folder]
    assert make("download", INPUT=folder, ONLY="meta test")[-5:] == ["download", folder, "--only", "meta", "test"]
    assert make("score", SUBMISSION=folder, TRUTH=output)[-2:] == [folder, output]
    assert make("prepare", SOURCE=folder, DEST=output, ARGS="--copy")[-4:] == ["prepare", folder, output, "--copy"]
    for target in ("train", "train-both"):
        assert make(target, INPUT=folder, OUTPUT=output)[4:9] == [
            folder, "--output", output, "--weights", f"{output}/weights"]
    assert make("study", INPUT=folder)[-1] == folder
    assert make("bench", INPUT=folder)[-2:] == ["--input", folder]
    assert make("kaggle", WEIGHTS=folder, PROFILE=output, USER="somebody")[-5:] == [
        folder, "--profile", output, "--user", "somebody"]
    assert make("submission", INPUT=folder, OUTPUT=output)[2:] == [
        "notebooks/run.py", "inference-kernel", f"{output}/build/notebooks", f"input_folder={folder}",
        f"weights_folder={output}/weights", f"work_folder={output}/work", f"submission_file={output}/submission.csv"]
    assert make("kaggle", TRAINING="both", USER="somebody", HOURS="2")[-10:] == [
        "--profile", "full", "--training", "both", "--seed", "0", "--hours", "2", "--user", "somebody"]


def test_a_folder_is_made_absolute_for_a_notebook(make, tmp_path):
    called = make("submission", INPUT="../some data", OUTPUT=str(tmp_path))
    assert f"input_folder={ROOT.parent / 'some data'}" in called


def test_the_page_and_its_space_get_the_weights(make, tmp_path):
    weights = str(tmp_path / "my 'weights'")
    called = make("app", WEIGHTS=weights, ARGS="--port 8000")
    assert called[-6:] == ["-m", "freesound_tagging.app", "--weights", weights, "--port", "8000"]
    assert make("space", WEIGHTS=weights, PROFILE="my own.toml") == [
        "notebooks/for_space.py", "build/space", "--weights", weights, "--profile", "my own.toml"]


def test_tests_run_one_more_at_a_time_than_there_are_cores(make):
    if not shutil.which("nproc"):
        pytest.skip("the program nproc, which counts them too, is not installed")
    cores = int(subprocess.run(["nproc"], capture_output=True, check=True, env={"PATH": os.environ["PATH"]}).stdout)
    called = make("test", ARGS="-k nothing")
    assert called[called.index("-n") + 1:] == [str(cores + 1), "-k", "nothing"]


def test_a_profile_of_ones_own_names_its_network_and_others_are_of_the_model(make, tmp_path):
    def networks(target="train", **given):
        called = make(target, OUTPUT=str(tmp_path), **given)
        return called[called.index("--networks") + 1:] if "--networks" in called else None
    assert networks() == ["cnn-model-1"]
    assert networks(MODEL="vgg16", PROFILE="laptop") == ["vgg16"]
    assert networks(PROFILE="mine.toml") is None
    assert networks(PROFILE="mine.toml", MODEL="vgg16") == ["vgg16"]
    assert networks("train-both", PROFILE="mine.toml") == networks("train-both") == ["cnn-model-1", "vgg16"]


def test_a_score_of_nothing_says_what_to_give(make):
    with pytest.raises(subprocess.CalledProcessError) as caught:
        make("score", TRUTH="truth.csv")
    assert b"SUBMISSION" in caught.value.stderr


def test_kernel_and_figures_are_the_environments_own_whatever_is_set_outside():
    show = "show: ; @echo $$JUPYTER_PATH; echo backend $$MPLBACKEND"
    done = subprocess.run(["make", "-s", "-C", ROOT, "--eval", show, "show"], capture_output=True, text=True,
                          check=True, env=os.environ | {"JUPYTER_PATH": "/elsewhere", "MPLBACKEND": "Agg"})
    assert done.stdout.split("\n")[:2] == [f"{ROOT}/.venv/share/jupyter", "backend"]


def test_another_kernel_of_the_same_name_is_not_taken(tmp_path):
    kernel = tmp_path / "jupyter/kernels/python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps({"argv": ["false"], "display_name": "x", "language": "python"}))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import sys; print(sys.prefix)")])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "a.ipynb")
    subprocess.run([sys.executable, ROOT / "notebooks/execute.py", tmp_path / "a.ipynb"], check=True,
                   env=os.environ | {"JUPYTER_PATH": str(tmp_path / "jupyter")})
    assert nbformat.read(tmp_path / "a.ipynb", 4).cells[0].outputs[0].text.strip() == sys.prefix


def test_an_executed_copy_is_shown_without_a_kernel(tmp_path):
    """By nbconvert: a widget is its picture, and a progress bar its last line."""
    for script in ("run.py", "execute.py"):
        shutil.copy(ROOT / "notebooks" / script, tmp_path)
    progress = "import sys\nfor step in range(50):\n    print(f'\\rstep {step} of 50', end='', flush=True)"
    widget = """import ipywidgets
class Picture(ipywidgets.VBox):
    def _repr_mimebundle_(self, **kwargs):
        return super()._repr_mimebundle_(**kwargs) | {"image/png": "UElDVFVSRQ=="}
Picture()"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in (progress, widget)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "a.ipynb")
    subprocess.run([sys.executable, tmp_path / "run.py", "a", tmp_path / "out"], check=True, capture_output=True)
    from nbconvert import HTMLExporter

    html, _ = HTMLExporter().from_filename(tmp_path / "out/a.ipynb")
    assert "step 49 of 50" in html and "step 48 of 50" not in html
    assert "data:image/png;base64,UElDVFVSRQ==" in html and "vnd.jupyter.widget-view" not in html
