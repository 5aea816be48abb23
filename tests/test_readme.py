"""What the README says of the code is so: its file tree, its one-liners, its study table."""

import io
import json
import re
import subprocess
import sys

import pandas as pd
import pytest
from paths import ROOT

from analysis.results import load

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


# What the first table calls the arms of the sceptic's study.
ARMS = {
    "bigram teacher": "bigram",
    "uniform teacher: knows nothing": "uniform",
    "no teacher; an output bias that starts as the token frequencies": "control with bias",
    "bigram teacher and that bias": "bigram with bias",
    "uniform teacher and that bias": "uniform with bias",
    "bigrams with permuted rows": "shuffled",
    "no teacher; the loss ramped up, times 1 - w": "ramp",
}


def test_the_first_table_is_that_of_the_kept_study() -> None:
    """Gains at 10, 25, 50 % and at the end, the interval and the number of seeds, as `analysis.contrasts` has them."""
    command = [sys.executable, "-m", "analysis.contrasts", "results/record/content_books", "--format", "csv"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    found = pd.read_csv(io.StringIO(done.stdout))
    found = found[found["first"] == "control"]
    lines = [re.split(r" *\| *", line.strip("| ")) for line in README.splitlines() if line.startswith("|")]
    told = {line[0]: [cell.strip("*") for cell in line[1:]] for line in lines if line[0] in ARMS}
    assert set(told) == set(ARMS)
    for name, arm in ARMS.items():
        rows = found[found["second"] == arm].set_index("at")
        end = rows.loc[1.0]
        gains = [f"{rows.loc[at, 'difference']:+.2f}" for at in (0.1, 0.25, 0.5)]
        interval = f"{end['low']:+.3f} to {end['high']:+.3f}"
        assert told[name] == [*gains, f"{end['difference']:+.3f}", interval, str(int(end["pairs"]))], name


def test_what_is_said_of_the_long_pair_is_what_was_kept() -> None:
    trials = load(ROOT / "results" / "record" / "content_long_books").trials
    ends = trials.groupby("arm").eval_loss.mean()
    behind = -trials[trials.arm == "bigram"].sort_values("seed").gain
    text = " ".join(README.split())
    assert (
        f"the control ends at {ends['none']:.3f}, bigrams with permuted rows at {ends['shuffled']:.3f}, and the bigram "
        f"teacher, which stays for the whole run, at {ends['bigram']:.3f}: behind its control by {behind.iloc[0]:.3f} "
        f"and {behind.iloc[1]:.3f} in the two seeds"
    ) in text


def test_there_are_one_liners() -> None:
    assert len(ONE_LINERS) >= 3


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#][^)]*)\)", README))))
def test_links_lead_somewhere(path: str) -> None:
    assert path.startswith("http") or (ROOT / path.split("#")[0]).exists()
