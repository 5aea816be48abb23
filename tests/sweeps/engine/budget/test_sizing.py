"""The option --minutes: it chooses steps first, then trials, so that the predicted time fits; with made-up rates."""

from dataclasses import replace

import pytest
from made_up_rates import made_up_rates, made_up_size

from sweeps.engine.budget import sizing
from sweeps.engine.budget.calibration import CannotMeasure
from sweeps.engine.budget.sizing import Room, Sized, round_steps
from sweeps.engine.checks import check_minutes
from sweeps.engine.options import Options, base_config, sampled, with_size
from sweeps.engine.settings import LAPTOP, SMALL_LLAMA2, TINY, stretched
from sweeps.engine.specs.comparison import Arm, Comparison, grid, paired_plans
from sweeps.engine.specs.search import Sweep
from sweeps.engine.study import StudyOptions, TeacherOptions, in_proportion
from sweeps.schedule_search import SearchOptions, schedule_search
from sweeps.training_budget import training_budget
from trainable.config import TrialConfig, override
from trainable.errors import InputError

MINUTES = (2.0, 3.0, 5.0, 10.0, 30.0, 120.0)


def study(options: Options) -> Comparison:
    """A comparison on three seeds: a control, and a linear arm whose T is to the steps as 240 is to 588."""
    base = base_config(options, LAPTOP)
    units = grid(base, {"seed": range(3)})
    changes = {"teacher.schedule": "linear", "teacher.steps": in_proportion(240, base)}
    plans = paired_plans(units, lambda unit: [Arm("linear", changes)])
    return Comparison(study="study", question="Does it?", base=base, plans=plans)


SEARCH = SearchOptions(layers=(1,), teachers=("bigram",), confirm_seeds=(1,), asha=False)


def fill(options: Options, minutes: float, train_blocks: int = 400_000) -> Sized:
    """The run that --minutes chooses for the study of these options, with the made-up rates."""
    of = schedule_search if isinstance(options, SearchOptions) else study
    given = replace(options, minutes=minutes)
    spec = of(given)  # type: ignore[arg-type]
    return Room(of, given, spec, made_up_rates(spec), made_up_size(spec, train_blocks)).fill(60 * minutes, minutes)  # type: ignore[arg-type]


def test_more_minutes_give_more_steps_and_the_predicted_time_fills_the_minutes() -> None:
    chosen = [fill(Options(), minutes) for minutes in MINUTES[1:]]
    steps = [one.spec.base.loop.steps for one in chosen]
    assert steps == sorted(steps) and len(set(steps)) == len(steps)
    for one, minutes in zip(chosen, MINUTES[1:], strict=True):
        assert 0.8 * 60 * minutes < one.prediction.seconds <= 60 * minutes


def test_evaluations_checkpoints_and_warm_up_grow_with_the_steps_and_are_printed() -> None:
    chosen = fill(Options(), 10)
    steps = chosen.spec.base.loop.steps
    base = chosen.spec.base
    assert steps % base.loop.eval_every == 0 and steps // base.loop.eval_every == 21  # as in the study's own run
    assert base.loop.checkpoint_every == 3 * base.loop.eval_every
    assert base.optimizer.warmup_steps == round(25 * steps / 147)
    every = f"loop.eval_every={base.loop.eval_every} loop.checkpoint_every={base.loop.checkpoint_every}"
    warmup = f"optimizer.warmup_steps={base.optimizer.warmup_steps}"
    assert chosen.said == f"--minutes 10 chose: --steps {steps} --set {every} {warmup}"


def test_the_chosen_options_given_by_hand_give_the_same_run() -> None:
    chosen = fill(Options(), 10)
    words = chosen.said.removeprefix("--minutes 10 chose: ").split()
    by_hand = Options(steps=int(words[1]), set=tuple(words[3:]))
    assert study(by_hand).to_dict() == chosen.spec.to_dict()


def test_a_setting_that_the_user_gives_stays_as_it_is() -> None:
    assert fill(Options(set=("optimizer.warmup_steps=9",)), 10).spec.base.optimizer.warmup_steps == 9


def test_steps_end_at_one_epoch_and_more_minutes_then_add_trials() -> None:
    few, many = fill(SEARCH, 15, train_blocks=1600), fill(SEARCH, 20, train_blocks=1600)
    assert few.spec.base.loop.steps == many.spec.base.loop.steps == 198 <= 1600 // 8
    assert isinstance(few.spec, Sweep) and isinstance(many.spec, Sweep)
    assert 6 < few.spec.num_samples < many.spec.num_samples
    assert f"--steps 198 --num-samples {few.spec.num_samples}" in few.said
    assert "with more steps it would read the training rows twice" in few.said


def test_trials_end_at_the_size_of_the_spaces() -> None:
    """The control has 9 settings and the bigram arm 3 rates x 2 schedules, so more than 9 samples add no trial."""
    few = replace(SEARCH, schedules=("linear", "step"), schedule_steps=(16, 16, 1), min_weight=(0.0, 0.0, 0.1))
    chosen = fill(few, 600, train_blocks=1600)
    assert isinstance(chosen.spec, Sweep) and chosen.spec.num_samples == 9


def test_few_minutes_give_fewer_trials_and_too_few_minutes_are_refused_with_the_least_size() -> None:
    least = fill(SEARCH, 1.1)
    assert isinstance(least.spec, Sweep) and 2 <= least.spec.num_samples < 6
    with pytest.raises(InputError, match=r"--minutes is 0.5 but 24 steps and --num-samples 2, the least .* --minutes"):
        fill(SEARCH, 0.5)


def test_the_least_minutes_that_the_error_names_suffice() -> None:
    with pytest.raises(InputError, match="give at least --minutes") as error:
        fill(Options(), 0.1)
    least = int(str(error.value).partition("at least --minutes ")[2].partition(",")[0])
    assert fill(Options(), least).prediction.seconds <= 60 * least


@pytest.mark.parametrize("setting", [LAPTOP, TINY, SMALL_LLAMA2])
def test_possible_steps_are_whole_evaluations_from_a_quarter_of_the_studys_steps_to_one_epoch(
    setting: TrialConfig,
) -> None:
    size = made_up_size(study(Options()), train_blocks=2000 * setting.loop.batch_blocks * setting.loop.accumulation)
    steps = list(round_steps(setting, size))
    assert steps == sorted(set(steps)) and setting.loop.steps / 4 <= steps[0] and steps[-1] <= 2000
    for number in steps:
        changed = override(setting, {"loop.steps": number, **stretched(setting, number)})
        assert number % changed.loop.eval_every == 0
        assert changed.optimizer.warmup_steps <= number


def test_a_run_that_has_begun_keeps_its_own_sizes() -> None:
    begun = fill(SEARCH, 10, train_blocks=1600).spec
    later = replace(SEARCH, minutes=10)
    same = with_size(later, begun.base.loop.steps, sampled(later, begun))
    assert schedule_search(same).to_dict() == begun.to_dict()


def test_the_main_study_is_sized_with_its_default_options() -> None:
    options = SearchOptions(minutes=10)
    spec = schedule_search(options)
    room = Room(schedule_search, options, spec, made_up_rates(spec), made_up_size(spec))
    chosen = room.fill(600, 10)
    assert 0.6 * 600 < chosen.prediction.seconds <= 600
    again = with_size(options, chosen.spec.base.loop.steps, sampled(options, chosen.spec))
    assert schedule_search(again).to_dict() == chosen.spec.to_dict()


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), 1e9, float("inf")])
def test_impossible_minutes_are_refused_in_a_sentence(minutes: float) -> None:
    with pytest.raises(InputError, match=r"^--minutes is .*: give a positive number of minutes, up to 527,040"):
        check_minutes(Options(minutes=minutes))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(minutes=5, steps=20), "--steps"),
        (SearchOptions(minutes=5, num_samples=3), "--num-samples"),
        (Options(minutes=5, set=("loop.steps=20",)), "--set loop.steps"),
        (Options(minutes=5, smoke_test=True), "--smoke-test"),
    ],
)
def test_minutes_are_refused_beside_an_option_that_sets_the_size(options: Options, said: str) -> None:
    with pytest.raises(InputError, match=f"--minutes chooses the size of the run, and {said} sets it"):
        check_minutes(options)


def test_a_study_that_decides_the_steps_itself_refuses_minutes() -> None:
    options = TeacherOptions(minutes=5)
    with pytest.raises(InputError, match="which study training_budget decides itself: give --steps"):
        sizing.sized(training_budget, options, training_budget(options))


def test_minutes_are_refused_with_the_reason_if_nothing_can_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise CannotMeasure("it is too hot")

    monkeypatch.setattr(sizing, "data_size", lambda spec, places: made_up_size(spec))
    monkeypatch.setattr(sizing, "calibrate", fails)
    options = StudyOptions(minutes=5)
    with pytest.raises(InputError, match="--minutes cannot tell how large a run fits, for it is too hot: give --steps"):
        sizing.sized(study, options, study(options))


def test_minutes_are_refused_for_trials_on_a_cluster() -> None:
    options = StudyOptions(minutes=5, address="10.0.0.1:6379")
    with pytest.raises(InputError, match=r"the trials run on the cluster at 10\.0\.0\.1:6379"):
        sizing.sized(study, options, study(options))
