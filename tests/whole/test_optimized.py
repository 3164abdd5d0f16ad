"""`python -O` leaves assertions out: none of the package or the notebooks may guard a result."""

import ast
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def assertions(source):
    return [node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("folder", ["freesound_tagging", "notebooks", "benchmarks", "docs"])
def test_no_module_asserts(folder):
    paths = list((ROOT / folder).rglob("*.py"))
    assert paths
    assert not {str(path): lines for path in paths if (lines := assertions(path.read_text()))}


def test_no_notebook_asserts():
    notebooks = list((ROOT / "notebooks").glob("*.ipynb"))
    assert notebooks
    for path in notebooks:
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code":
                lines = [line for line in "".join(cell["source"]).splitlines() if not line.startswith("%")]
                assert not assertions("\n".join(lines)), path


def test_an_assertion_would_be_seen():
    assert assertions("def f(x):\n    assert x\n") == [2]
