"""Published runs beside their controls: gains, steps and seconds; folders and studies without runs."""

from pathlib import Path

import numpy as np
import pytest
from published_files import CONTROL, GUIDED, LOSSES, add_run, row_of

from analysis.published.studies import read, read_study
from analysis.published_runs import text
from trainable import names
from trainable.errors import InputError


def test_seconds_of_training_leave_out_evaluations(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, LOSSES)
    row = row_of(tmp_path, CONTROL)
    assert (row["train_seconds"], row["eval_seconds"], row["wall_seconds"]) == (180.0, 30.0, 210.0)


def test_steps_and_seconds_to_the_control_lie_on_the_line_between_evaluations(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, LOSSES)
    add_run(tmp_path, GUIDED, {30: 7.0, 60: 5.4, 90: 5.0})
    row = row_of(tmp_path, GUIDED)
    assert row["gain"] == pytest.approx(0.2)
    assert (row["steps_to_control"], row["steps_saved"]) == (pytest.approx(75), pytest.approx(15))
    assert (row["seconds_to_control"], row["seconds_saved"]) == (pytest.approx(150), pytest.approx(30))


def test_a_run_without_a_control_has_no_gain_and_says_so(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL.replace("bigram_1", "bigram_1_l_3"), LOSSES)
    add_run(tmp_path, GUIDED, LOSSES)
    row = row_of(tmp_path, GUIDED)
    assert (row["control"], row["state"]) == ("", names.FINISHED)
    assert np.isnan(row["gain"])
    assert "no control of its depth, fold and validation rows" in row["reason"]


def test_a_finished_control_is_preferred_to_one_cut_short(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, LOSSES, ends=False)
    again = CONTROL.replace("10-00", "12-00")
    add_run(tmp_path, again, LOSSES)
    add_run(tmp_path, GUIDED, LOSSES)
    assert row_of(tmp_path, GUIDED)["control"] == again


def test_a_folder_without_studies_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no study"):
        read(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        read(tmp_path / "nowhere")


def test_a_study_without_runs_has_tables_without_rows(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    results = read_study(tmp_path)
    assert (len(results.trials), len(results.curves)) == (0, 0)
    assert text("mine", results).startswith("mine: 0 runs")
