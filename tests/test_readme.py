"""What the README says of the code is so: its file tree, its one-liners, its study table."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ONE_LINERS = re.findall(r'^python -c "(.+)"  # (.+)$', README, flags=re.MULTILINE)


def named_files() -> set[str]:
    """Paths of the Python files in the README's tree."""
    tree = README.split("## The files")[1].split("```")[1]
    paths, folders = set(), [""]
    for line in tree.strip().splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders = [*folders[: depth + 1], f"{folders[depth]}{name}"]
        if name.endswith(".py"):
            paths.add(folders[-1])
    return paths


def test_the_file_tree_is_the_tree() -> None:
    packages = ("sweeps", "trainable", "analysis")
    files = {path.relative_to(ROOT).as_posix() for name in packages for path in (ROOT / name).rglob("*.py")}
    assert named_files() == {file for file in files if not file.endswith("__init__.py")}


def test_every_study_is_in_the_table_of_studies() -> None:
    table = README.split("## Studies")[1].split("\n## ")[0]
    studies = {path.stem for path in (ROOT / "sweeps").glob("*.py")} - {"__init__"}
    assert set(re.findall(r"^\| \[(\w+)\]\(sweeps/\1\.py\)", table, flags=re.MULTILINE)) == studies


@pytest.mark.parametrize(("code", "printed"), ONE_LINERS)
def test_one_liner_prints_what_the_readme_says(code: str, printed: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == printed


def test_there_are_one_liners() -> None:
    assert len(ONE_LINERS) >= 3


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#][^)]*)\)", README))))
def test_links_lead_somewhere(path: str) -> None:
    assert path.startswith("http") or (ROOT / path.split("#")[0]).exists()
