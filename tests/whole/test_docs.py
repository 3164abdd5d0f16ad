import re
from pathlib import Path

import torch

import freesound_tagging

ROOT = Path(__file__).resolve().parents[2]


def test_every_test_that_a_promise_names_is_there():
    tests = re.findall(r"^def (test_\w+)", "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py")), re.M)
    named = re.findall(r"`(test_\w+|(?:test_\w*)?\.\.\.\w+)(?:\.\.\.)?`", (ROOT / "docs/reliability.md").read_text())
    assert len(named) > 20
    for name in named:
        part = name.strip(".").removesuffix("_")
        assert any(part in test for test in tests), name


def test_every_file_that_the_readme_and_the_docs_link_to_is_there():
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_room_is_in_the_readme_and_every_module_in_the_page_on_architecture():
    readme = (ROOT / "README.md").read_text()
    rows = dict(re.findall(r"^\| (.+?) \| (.+) \|$", (ROOT / "docs/architecture.md").read_text(), re.M))
    for path in (ROOT / "freesound_tagging").rglob("[!_]*.py"):
        room = path.parent.name if path.parent != ROOT / "freesound_tagging" else path.stem
        assert f"`{room}`" in readme, room
        assert f"`{path.stem}`" in rows.get(f"`{room}`", rows["the hall"]), path


def test_the_readme_is_a_front_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in (ROOT / "README.md").read_text(), page.name


def test_the_loop_of_the_readme_trains_a_network():
    (loop,) = re.findall(r"```python\n([^`]*\bloader\b[^`]*)```", (ROOT / "README.md").read_text())
    assert len(loop.strip().splitlines()) <= 5
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16 * 12, 4))
    before = network[1].weight.detach().clone()
    loader = [(torch.rand(4, 1, 16, 12), torch.eye(4)) for _ in range(2)]
    names = {"torch": torch, "loader": loader, "network": network,
             "optimizer": torch.optim.SGD(network.parameters(), 0.1)}
    exec(loop, names)
    assert not torch.equal(network[1].weight, before)
    assert not torch.equal(names["images"], loader[-1][0]), "mixed"
    assert names["targets"].max() < 1
    torch.testing.assert_close(names["targets"].sum(1), torch.ones(4))  # an image is as much of one as less of another


def test_the_studys_rows_in_the_readme_are_those_of_its_page():
    rows = re.findall(r"^(\|.*\| [+-]0\.\d{3} \(.*\)) \| (.+) \|$", (ROOT / "README.md").read_text(), re.M)
    assert len(rows) == 5
    for row, verdict in rows:
        assert f"{row} | {verdict} |" in (ROOT / "docs/evidence.md").read_text()


def test_the_errors_that_are_explained_are_those_that_people_see():
    source = "".join(path.read_text() for path in sorted((ROOT / "freesound_tagging").rglob("*.py")))
    source = re.sub(r'"\s+f?"', "", source)  # literals that are continued on the next line
    rows = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)
    ours = [row for row in rows if row != "operator torchvision::nms does not exist"]
    assert len(ours) >= 7
    for row in ours:
        for part in filter(None, (part.strip() for part in row.replace("process 123 on host is", "...").split("..."))):
            assert part in source, part


def test_the_version_of_ruff_that_reads_a_commit_is_that_of_the_environment():
    (pinned,) = re.findall(r"^ruff==(\S+)", (ROOT / "requirements.txt").read_text(), re.M)
    assert f"ruff-pre-commit\n    rev: v{pinned}\n" in (ROOT / ".pre-commit-config.yaml").read_text()


def test_the_changelog_has_this_version():
    assert f"\n## {freesound_tagging.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()
