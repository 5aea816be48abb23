"""Settings that the search of another run has chosen: the kept search of small_teacher on a GPU is the other run."""

from pathlib import Path

import pytest

from analysis.results import load
from sweeps.engine.protocol import TeachersOptions
from sweeps.engine.specs.groups import CHOOSING
from sweeps.engine.winners import best_of_search, settled_arms
from sweeps.small_teacher import small_teacher
from sweeps.teacher_order import teacher_order
from trainable import names
from trainable.errors import InputError

RECORDS = Path(__file__).parents[3] / "results" / "record"
SEARCH = str(RECORDS / "small_teacher_search_h100")


def test_each_arm_has_the_setting_of_its_search_trial_with_the_lowest_loss() -> None:
    trials, _ = load(SEARCH)
    searched = trials[(trials["corpus.eval_half"] == CHOOSING) & (trials["state"] == names.FINISHED)]
    lowest = searched.sort_values("eval_loss").groupby("arm").first()
    sweep = small_teacher(TeachersOptions(settings_of=SEARCH))
    assert {arm.name for arm in sweep.arms} == set(lowest.index)
    for arm in sweep.arms:
        found = {key: parameter.grid() for key, parameter in arm.space.items()}
        assert found == {key: [lowest.loc[arm.name, key]] for key in arm.space}


def test_nothing_is_tuned_and_each_arm_runs_on_the_fresh_seeds() -> None:
    tuned, settled = small_teacher(TeachersOptions()), small_teacher(TeachersOptions(settings_of=SEARCH))
    assert [arm.size for arm in settled.arms] == [1] * len(tuned.arms) and settled.num_samples == 1
    assert not settled.extend_rates and tuned.extend_rates
    assert settled.base == tuned.base
    assert [(arm.name, arm.changes, arm.seeds) for arm in settled.arms] == [
        (arm.name, arm.changes, arm.seeds) for arm in tuned.arms
    ]


def test_a_run_of_another_study_is_refused() -> None:
    with pytest.raises(InputError, match=r"--settings-of is .*, a run of small_teacher: give a run of teacher_order"):
        teacher_order(TeachersOptions(settings_of=SEARCH))


def test_an_arm_without_a_finished_trial_in_the_search_is_refused() -> None:
    arms = tuple(arm for arm in teacher_order(TeachersOptions()).arms if arm.name in ("trigram", "4-gram"))
    assert "trigram" in best_of_search("small_teacher", SEARCH)
    with pytest.raises(InputError, match="no search trial of arm '4-gram' has finished"):
        settled_arms("small_teacher", arms, SEARCH)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.json"):
        small_teacher(TeachersOptions(settings_of=str(tmp_path)))
