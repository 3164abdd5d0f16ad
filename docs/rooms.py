"""Draw the rooms of the package, and of the benchmarks, and who imports whom, from the imports: ``make docs``.

Writes ``docs/rooms.png``. `tests/whole/test_rooms.py` holds the package to the order that is drawn here.
"""

import ast
import json
import textwrap
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "freesound_tagging"
HALL = ("augment", "lwlrap")  # modules outside of all rooms, which import nothing of ours
ORDER = ("machine", "annotations", "clips", "demo", "images", "networks", "prediction", "training", "notebook", "app")
BENCHMARKS = ("speed", "gpu", "rehearsal", "evidence")  # folders beside the package, which import any room


def imports(path):
    """The full names of what a module imports, also inside of functions: ``"freesound_tagging.images.mel"``."""
    package = ["freesound_tagging", *path.relative_to(PACKAGE).parent.parts] if PACKAGE in path.parents else []
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[:len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def modules(room):
    """The files of a room, of the hall (``"augment"``), or of a folder of the benchmarks."""
    if room in BENCHMARKS:
        return sorted((PACKAGE.parent / "benchmarks" / room).glob("*.py"))
    return [PACKAGE / f"{room}.py"] if room in HALL else sorted((PACKAGE / room).glob("*.py"))


def rooms_imported(room):
    """The rooms, and modules of the hall, that a room imports."""
    names = {name for path in modules(room) for name in imports(path)}
    return {other for other in (*HALL, *ORDER) for name in names
            if other != room and f"{name}.".startswith(f"freesound_tagging.{other}.")}


def drawn():
    """What the picture shows: the modules of each room, and the rooms that it imports."""
    return {room: [[path.stem for path in modules(room) if path.stem[0] != "_"], sorted(rooms_imported(room))]
            for room in (*HALL, *ORDER, *BENCHMARKS)}


def draw(rooms):
    """A step a room, going down; a dot in a room's row below every room that it imports, all left of the steps."""
    import matplotlib.pyplot as plt

    names = list(rooms)
    figure, axes = plt.subplots(figsize=(12.5, 7.6), layout="constrained")
    for row, (room, (files, imported)) in enumerate(rooms.items()):
        colour = "0.93" if room in HALL else "#f3e3c3" if room in BENCHMARKS else "#cfe3f7"
        axes.text(row, -row, room, ha="center", va="center", weight="bold", family="monospace", fontsize=9,
                  bbox={"boxstyle": "round", "fc": colour, "ec": "0.5"})
        names_of_files = "" if room in HALL else textwrap.fill(", ".join(files), 100)
        axes.annotate(names_of_files, (row, -row), (10 + 2.8 * len(room), 0), textcoords="offset points", va="center",
                      fontsize=9, color="0.25")  # beside the room's box, whose letters are 5.5 points wide
        for column in map(names.index, imported):
            axes.plot([column, column], [-row, -column - 0.3], color="0.85", lw=1, zorder=0)
            axes.plot([column, row], [-row, -row], color="0.85", lw=1, zorder=0)
            axes.plot(column, -row, "o", color="tab:blue", ms=6)
    axes.set(xlim=(-0.7, len(names) + 3), ylim=(-len(names) + 0.5, 0.5))
    axes.axis("off")
    return figure


if __name__ == "__main__":
    import matplotlib

    matplotlib.use("Agg")
    rooms = drawn()
    draw(rooms).savefig(Path(__file__).with_name("rooms.png"), dpi=110, bbox_inches="tight",
                        metadata={"Drawn": json.dumps(rooms)})  # so that a test sees when it is out of date
