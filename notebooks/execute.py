"""Execute a notebook in place, as notebooks are kept here: ``python notebooks/execute.py NOTEBOOK...``.

What only a running kernel can show is left out, so that everybody sees a widget's picture, and so are the times at
which cells ran and the steps of progress bars that are over.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

WIDGET = "application/vnd.jupyter.widget-view+json"


def main(paths):
    """Execute each notebook in its folder, by this environment's kernel."""
    os.environ["JUPYTER_PATH"] = f"{sys.prefix}/share/jupyter"
    for path in map(Path, paths):
        notebook = nbformat.read(path, 4)
        NotebookClient(notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": path.parent}},
                       store_widget_state=False).execute()
        notebook = settled(notebook)
        notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
        for cell in notebook.cells:
            cell.metadata = {key: cell.metadata[key] for key in ("tags", "jupyter") if key in cell.metadata}
        nbformat.write(notebook, path)


def settled(notebook):
    """What it shows without a kernel: a widget's picture, and of a progress bar its last state."""
    notebook, _ = CoalesceStreamsPreprocessor().preprocess(notebook, {})
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)
    return notebook


if __name__ == "__main__":
    main(sys.argv[1:])
