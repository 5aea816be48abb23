"""Pictures do not depend on the user's settings of matplotlib, and no command fails for lack of a backend."""

import subprocess
import sys
from pathlib import Path

import pytest
from comparisons import comparison
from paths import child_environment

STYLE = """text.usetex: True
font.size: 30
font.family: Nonexistent
figure.dpi: 10
lines.linewidth: 9
axes.facecolor: black
"""


def curves_of(run: Path, out: str, working_directory: Path, **environment: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "analysis.curves", str(run), "--out", str(run.parent / out)],
        cwd=working_directory,
        env=child_environment(**environment),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return (run.parent / out / "curves.png").read_bytes()


def test_a_notebooks_backend_and_a_style_in_the_working_directory_change_no_picture(tmp_path: Path) -> None:
    """A picture is the same beside a matplotlibrc and with a backend that is not installed, as Jupyter may name one."""
    run = comparison(tmp_path / "run")
    plain = curves_of(run, "plain", tmp_path)
    (tmp_path / "styled").mkdir()
    (tmp_path / "styled" / "matplotlibrc").write_text(STYLE)
    notebook = curves_of(run, "notebook", tmp_path / "styled", MPLBACKEND="module://not_installed.backend_inline")
    assert notebook == plain


def test_importing_analysis_leaves_the_variable_mplbackend_unchanged() -> None:
    code = "import os, analysis.summary; print(os.environ['MPLBACKEND'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(MPLBACKEND="module://x"), capture_output=True, text=True
    )
    assert done.stdout == "module://x\n", done.stderr


@pytest.mark.parametrize(("named", "taken"), [("svg", "svg"), ("not_installed", "agg")])
def test_plots_of_a_notebook_use_the_backend_that_it_names_or_agg_if_that_is_not_installed(
    named: str, taken: str
) -> None:
    code = "import analysis.figures, matplotlib; print(matplotlib.get_backend())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={key: value for key, value in child_environment(MPLBACKEND=named).items() if key != "DISPLAY"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{taken}\n", done.stderr
