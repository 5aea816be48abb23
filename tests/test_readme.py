"""What the README says of the code is so: its file tree, its one-liners, its study table."""

import json
import re
import subprocess
import sys

import pytest
from paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
ONE_LINERS = re.findall(r'^python -c "(.+)"  # (.+)$', README, flags=re.MULTILINE)


def named_folders() -> set[str]:
    """Paths of the folders in the README's map."""
    drawing = README.split("## The house")[1].split("```")[1]
    paths, above = set(), [""]
    for line in drawing.strip().splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        above = [*above[: depth + 1], f"{above[depth]}{name}"]
        paths.add(above[-1].rstrip("/"))
    return paths


def test_the_map_of_the_folders_is_the_tree() -> None:
    packages = ("sweeps", "trainable", "analysis")
    found = {path.parent.relative_to(ROOT).as_posix() for name in packages for path in (ROOT / name).rglob("*.py")}
    drawn = named_folders()
    assert {folder for folder in drawn if folder.startswith(packages)} == found | {"sweeps/recipes"}
    assert all((ROOT / folder).is_dir() for folder in drawn)


def test_the_table_of_studies_names_studies_and_every_kept_one() -> None:
    """A study that is new and has no result yet need not be told of here."""
    table = README.split("## Studies")[1].split("\n## ")[0]
    told = set(re.findall(r"^\| \[(\w+)\]\(sweeps/\1\.py\)", table, flags=re.MULTILINE))
    studies = {path.stem for path in (ROOT / "sweeps").glob("*.py")} - {"__init__"}
    kept = {json.loads(path.read_text())["study"] for path in (ROOT / "results" / "record").glob("*/run.json")}
    assert kept <= told <= studies


@pytest.mark.parametrize(("code", "printed"), ONE_LINERS)
def test_one_liner_prints_what_the_readme_says(code: str, printed: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == printed


def test_there_are_one_liners() -> None:
    assert len(ONE_LINERS) >= 3


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#][^)]*)\)", README))))
def test_links_lead_somewhere(path: str) -> None:
    assert path.startswith("http") or (ROOT / path.split("#")[0]).exists()
