"""What the package needs is declared, and all of it has an exact version."""

import ast
import importlib.metadata
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "freesound_tagging"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = {"the package": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
PINNED = [Requirement(line) for line in (ROOT / "requirements.txt").read_text().splitlines() if line[0] != "#"]


def names(requirements):
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def test_the_requirements_are_exact_versions_and_name_no_place():
    assert len(PINNED) > 150
    for pin in PINNED:
        assert [spec.operator for spec in pin.specifier] == ["=="], pin
        assert not pin.url, pin
    text = (ROOT / "requirements.txt").read_text()
    for place in ("://", "index", "find-links", "file:", "/home", "/tmp"):
        assert place not in text, place


@pytest.mark.parametrize("of", [part for part in DECLARED if part != "browser"])
def test_what_is_declared_has_an_exact_version_that_will_do(of):
    pins = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in PINNED}
    for line in DECLARED[of]:
        need = Requirement(line)
        if need.name != PROJECT["name"]:
            assert need.specifier.contains(pins[canonicalize_name(need.name)]), line


def test_whatever_the_pinned_packages_need_is_pinned_too():
    """Each requirement of each package that is installed by a pin, on this machine."""
    pins = {canonicalize_name(pin.name) for pin in PINNED}
    for pin in PINNED:
        if pin.marker and not pin.marker.evaluate():
            continue
        for line in importlib.metadata.requires(pin.name) or ():
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert canonicalize_name(need.name) in pins, f"{pin.name} needs {line}"


def imported(paths):
    """The distributions of other people that modules import, also inside of functions."""
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_text()))]
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    of_module = importlib.metadata.packages_distributions()
    return {canonicalize_name(of_module[module][0]) for module in {name.split(".")[0] for name in modules}
            if module in of_module} - {PROJECT["name"]}


def test_whatever_is_imported_is_declared():
    package, notebooks = names(DECLARED["the package"]), names(DECLARED["notebooks"])
    modules = {*PACKAGE.rglob("*.py")}
    page, shown = {*(PACKAGE / "app").rglob("*.py")}, {*(PACKAGE / "notebook").rglob("*.py")}
    optional = {"ray", "tensorboard", "timm"}  # they have extras of their own
    assert imported(page) - {"starlette"} <= package | names(DECLARED["app"]), "Gradio stands on starlette"
    modules -= page
    assert imported(modules - shown) - optional <= package
    assert imported(modules) - optional <= package | notebooks
    assert imported((ROOT / "notebooks").glob("*.py")) <= package | notebooks
    assert imported((ROOT / "tests").rglob("*.py")) - optional - {"playwright"} <= package | notebooks | names(
        DECLARED["tests"])
    assert package <= imported(modules), "nothing is declared that is not imported"
