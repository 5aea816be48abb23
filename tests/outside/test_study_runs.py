"""Each study except schedule_search, run in its smallest form on a Ray cluster that it joins."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from paths import ROOT
from ray.cluster_utils import Cluster

from analysis.results import load
from sweeps.content import ContentOptions, content
from sweeps.content_long import LongOptions, content_long
from sweeps.engine.cli import main
from sweeps.engine.protocol import TeachersOptions
from sweeps.engine.specs.comparison import Comparison
from sweeps.engine.study import TeacherOptions
from sweeps.small_teacher import small_teacher
from sweeps.teacher_order import teacher_order
from trainable import names

SEARCHES = {"schedule_search", "content", "content_long", "teacher_order", "small_teacher"}
STUDIES = sorted({path.stem for path in (ROOT / "sweeps").glob("*.py")} - {"__init__", *SEARCHES})


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Ray cluster on this machine, which studies join as users join theirs.

    It has a head that runs no trial and a node with one CPU, so that a study starts one process for its trials.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        nodes.add_node(num_cpus=1)
        yield nodes.address
        nodes.shutdown()


@pytest.mark.parametrize("name", STUDIES)
def test_study_runs_to_its_report(name: str, cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study joins the cluster of RAY_ADDRESS, runs every trial, and writes tables, figures and a summary."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    module = importlib.import_module(f"sweeps.{name}")
    arguments = ["--smoke-test", "--results", str(tmp_path / "results")]
    assert main(getattr(module, name), TeacherOptions, "Study.", arguments) == 0
    (run,) = (tmp_path / "results" / name).iterdir()
    trials, curves = load(run)
    planned = getattr(module, name)(TeacherOptions(smoke_test=True))
    assert isinstance(planned, Comparison)
    assert set(trials["trial"]) == {plan.name for plan in planned.plans}
    assert set(trials["state"]) == {names.FINISHED}
    assert set(trials["arm"]) == set(planned.arms)
    guided = trials[trials["role"] == names.ARM].merge(curves, on="trial", suffixes=("", "_curve"))
    start = guided[guided["step_curve"] == 0]
    assert (
        pd.Series(start["gain_curve"]).abs().max() == 0 if len(start) else name in ("validation_size", "content_gate")
    )
    summary = (run / names.SUMMARY_FILE).read_text()
    assert all(
        f"| {arm} |" in summary or f"| {arm}, " in summary for arm in planned.arms
    )  # or the arm with its setting
    assert {path.name for path in (run / names.FIGURES_FOLDER).iterdir()} >= {"curves.png", "curves_tail.png"}


def test_content_runs_and_then_content_long_with_the_answer_of_content(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run content, which tunes and confirms each arm asked for; then run content_long with the confirmed settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    common = ["--smoke-test", "--results", str(tmp_path / "results"), "--run", "it"]
    assert main(content, ContentOptions, "Study.", [*common, "--arms", "uniform", "bigram with bias"]) == 0
    run = tmp_path / "results" / "content" / "it"
    confirmations = load(run).trials.query("`corpus.eval_half` == 'reporting'")
    assert list(confirmations.groupby("arm").size().sort_index().items()) == [
        *(("bigram with bias", 1), ("control", 1), ("uniform", 1))
    ]
    assert "bigram with bias" in (run / names.SUMMARY_FILE).read_text()
    assert main(content_long, LongOptions, "Study.", [*common, "--answer", str(run)]) == 0
    trials = load(tmp_path / "results" / "content_long" / "it").trials
    assert set(trials["arm"]) == {"none", "uniform", "bigram with bias"}
    assert set(trials["state"]) == {names.FINISHED}


def test_teacher_order_runs_to_its_summary(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    common = ["--smoke-test", "--results", str(tmp_path / "results"), "--run", "it"]
    assert main(teacher_order, TeachersOptions, "Study.", [*common, "--arms", "unigram", "4-gram"]) == 0
    run = tmp_path / "results" / "teacher_order" / "it"
    confirmations = load(run).trials.query("`corpus.eval_half` == 'reporting'")
    assert set(confirmations["arm"]) == {"control", "unigram", "4-gram"}
    assert set(confirmations["state"]) == {names.FINISHED}
    assert "modified_kneser_ney of order 4" in (run / names.SUMMARY_FILE).read_text()


def test_small_teacher_trains_its_models_and_runs_to_its_summary(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    common = ["--smoke-test", "--results", str(tmp_path / "results"), "--run", "it"]
    assert main(small_teacher, TeachersOptions, "Study.", [*common, "--arms", "model 32", "model 64"]) == 0
    run = tmp_path / "results" / "small_teacher" / "it"
    confirmations = load(run).trials.query("`corpus.eval_half` == 'reporting'")
    assert set(confirmations["arm"]) == {"control", "model 32", "model 64"}
    assert set(confirmations["state"]) == {names.FINISHED}
    summary = (run / names.SUMMARY_FILE).read_text()
    assert (
        "1 layer, model 32: before the first trial, its teacher took" in summary
        and "1 layer, model 64: before the first trial, its teacher took" in summary
    )
