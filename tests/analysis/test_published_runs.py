"""Numbers of the published study from its event files and from the kept tables; command analysis.published_runs."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run_module
from pandas.testing import assert_frame_equal
from paths import ROOT
from published_files import CONTROL, GUIDED, LOSSES, add_run

from analysis.published.studies import read, read_study
from analysis.published_runs import write_csv
from analysis.results import Results, load
from trainable import names
from trainable.errors import InputError

KEPT = ROOT / "results" / "published"
SOURCES = ("event files", "kept CSV files")
# Last validation loss of the published runs by layers and arm.
SCHEDULES = {
    (1, "none"): "4.4458",
    (1, "linear 240"): "4.4139",
    (1, "linear 588"): "4.5006",
    (1, "exponential 588"): "4.4636",
    (1, "reciprocal 588"): "4.4440",
    (2, "none"): "4.2138",
    (2, "linear 240"): "4.1819",
    (2, "linear 300"): "4.1923",
    (2, "linear 360"): "4.1819",
    (3, "none"): "4.1323",
    (4, "none"): "4.1021",
    (5, "none"): "4.0812",
}
FOLDS = {
    "none": ["4.4371", "4.4340", "4.4403", "4.4550", "4.4235"],
    "linear 240": ["4.3962", "4.4027", "4.4018", "4.4095", "4.4106"],
}
VALIDATION_ROWS = {200_000: "4.4458", 1_000_000: "4.4324"}


@pytest.fixture(params=SOURCES)
def published(request: pytest.FixtureRequest) -> dict[str, Results]:
    """Return the published studies, read from their event files or from the kept tables."""
    if request.param == SOURCES[1]:
        return {folder.name: load(folder) for folder in sorted(KEPT.iterdir()) if folder.is_dir()}
    return read(request.getfixturevalue("shared_data") / "seed_runs")


def finished(results: Results) -> pd.DataFrame:
    return results.trials[results.trials["state"] == names.FINISHED]


def test_the_last_losses_of_the_schedules_are_those_published(published: dict[str, Results]) -> None:
    trials = finished(published["schedules"])
    keys = zip(trials["model.layers"], trials["arm"], strict=True)
    assert dict(zip(keys, trials["eval_loss"].map("{:.4f}".format), strict=True)) == SCHEDULES
    assert set(trials["step"]) == {570}


def test_the_last_losses_of_the_folds_are_those_published(published: dict[str, Results]) -> None:
    trials = finished(published["k_fold"]).sort_values("corpus.fold")
    by_arm = {arm: list(rows["eval_loss"].map("{:.4f}".format)) for arm, rows in trials.groupby("arm")}
    assert by_arm == FOLDS
    assert set(trials["model.layers"]) == {1}


def test_the_last_losses_by_validation_rows_are_those_published(published: dict[str, Results]) -> None:
    trials = finished(published["validation_size"])
    shallow = trials[trials["model.layers"] == 1]
    losses = shallow["eval_loss"].map("{:.4f}".format)
    assert dict(zip(shallow["corpus.eval_rows"], losses, strict=True)) == VALIDATION_ROWS


def test_the_mean_gain_of_the_folds_and_its_spread_are_those_published(published: dict[str, Results]) -> None:
    trials = published["k_fold"].trials
    gains = trials.loc[trials["arm"] == "linear 240", "gain"]
    assert (f"{gains.mean():.4f}", f"{gains.std():.4f}") == ("0.0338", "0.0128")


def test_guided_runs_reach_the_controls_loss_by_step_480_but_take_4_times_as_long(
    published: dict[str, Results],
) -> None:
    """On average, guided runs reach the control's final loss at step 450 to 480 but need 5,200 s, controls 1,170 s."""
    means = published["k_fold"].trials.groupby("arm")[["steps_to_control", "wall_seconds"]].mean()
    assert 450 < means.loc["linear 240", "steps_to_control"] < 480
    assert means["wall_seconds"].round(-1).to_dict() == {"linear 240": 5200, "none": 1170}


def test_a_guided_step_took_20_times_a_plain_one(published: dict[str, Results]) -> None:
    """A guided step took 17.8 s and a plain step 0.885 s, without evaluations."""
    curves = published["k_fold"].curves
    spent = curves[curves["step"].isin([30, 240])].pivot(index="trial", columns="step", values="train_seconds")
    pace = ((spent[240] - spent[30]) / 210).groupby(curves.groupby("trial")["arm"].first()).mean()
    assert pace.to_dict() == {"linear 240": pytest.approx(17.8, abs=0.3), "none": pytest.approx(0.885, abs=0.01)}


def test_every_guided_run_has_its_control_and_its_gain_is_the_difference(published: dict[str, Results]) -> None:
    for results in published.values():
        trials = results.trials.set_index("trial")
        for _, row in trials.iterrows():
            control = trials.loc[row["control"]]
            assert (control["arm"], control["model.layers"]) == ("none", row["model.layers"])
            assert control["corpus.fold"] == row["corpus.fold"] or np.isnan(row["corpus.fold"])
            if row["state"] == names.FINISHED:
                assert row["gain"] == pytest.approx(control["eval_loss"] - row["eval_loss"], abs=2e-6)


def test_the_one_run_that_was_cut_short_has_an_unknown_schedule_and_its_reason_says_both(
    published: dict[str, Results],
) -> None:
    trials = published["schedules"].trials
    odd = trials[trials["reason"] != ""]
    assert list(odd["trial"]) == ["05_04_15-46-42_588_0.0_1_n"]
    assert odd["reason"].item() == (
        "type 'n' in the name is no schedule of the study; cut short: nothing after step 460"
    )
    assert (odd["state"].item(), odd["step"].item()) == (names.RUNNING, 450)


def test_the_kept_tables_equal_those_made_from_the_event_files(shared_data: Path) -> None:
    for study, results in read(shared_data / "seed_runs").items():
        kept = load(KEPT / study)
        assert_frame_equal(results.trials, kept.trials, check_dtype=False)
        assert_frame_equal(results.curves, kept.curves, check_dtype=False)


def test_the_readme_of_the_kept_tables_documents_exactly_their_columns() -> None:
    parts = (KEPT / "README.md").read_text().split("\n## ")
    for part, table in zip(parts[-2:], load(KEPT / "k_fold"), strict=True):
        documented = [line.split("`")[1] for line in part.splitlines() if line.startswith("| `")]
        assert documented == list(table.columns)


def test_tables_of_unfinished_and_empty_runs_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, LOSSES, ends=False)
    add_run(tmp_path, "my run", LOSSES)
    (tmp_path / "runs" / GUIDED).mkdir()
    results = read_study(tmp_path)
    write_csv(results, tmp_path / "kept")
    for table, kept in zip(results, load(tmp_path / "kept"), strict=True):
        assert_frame_equal(table, kept, check_dtype=False)


def test_a_damaged_table_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text("trial,role,state,step,eval_loss\na,control,running,0,\n")
    (tmp_path / "curves.csv").write_bytes(b'\xff\xfe"')
    with pytest.raises(InputError, match=r"curves\.csv is damaged"):
        load(tmp_path)


def test_the_command_keeps_tables_and_tells_a_mistake_in_a_sentence(tmp_path: Path) -> None:
    add_run(tmp_path / "study", CONTROL, LOSSES)
    done = run_command(str(tmp_path / "study"), "--keep", str(tmp_path / "kept"))
    assert done.returncode == 0 and "study: 1 runs" in done.stdout
    assert len(load(tmp_path / "kept" / "study").trials) == 1
    wrong = run_command(str(tmp_path / "nowhere"))
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


run_command = partial(run_module, "analysis.published_runs")
