"""The studies content_gate, content and content_long: trials, settings taken from the study before, and refusals."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sweep_specs import run_record

from sweeps.content import ContentOptions, content
from sweeps.content_gate import content_gate, passed_gate
from sweeps.content_long import LongOptions, confirmed_settings, content_long
from sweeps.engine.folder import RunFolder
from sweeps.engine.specs.groups import REPORTING
from sweeps.engine.specs.spec import Spec, spec_from_dict
from sweeps.engine.study import StudyOptions
from trainable import names
from trainable.errors import InputError
from trainable.plan import TrialPlan
from trainable.record.ledger import append_row
from trainable.record.run_record import TeacherFacts
from trainable.record.trial_files import write_status


def finished_run(
    path: Path, spec: Spec, plans: list[TrialPlan], loss: Callable[[TrialPlan], float], own_loss: float | None = 4.8
) -> str:
    """Make a complete run folder whose trials ended at the given losses; return its path."""
    folder = RunFolder.at(path)
    folder.make()
    teacher = TeacherFacts(
        rows="student",
        smoothing="mle",
        bigrams=9,
        counted_tokens=9,
        checksum="0",
        eval_loss=None,
        kneser_ney_loss=own_loss,
    )
    folder.write_record(replace(run_record(spec), complete=True, teacher=teacher))
    for plan in plans:
        folder.open_trial(plan)
        append_row(
            folder.trial(plan.name) / names.LEDGER_FILE,
            {names.STEP: plan.config.loop.steps, names.EVAL_LOSS: loss(plan)},
        )
        write_status(folder.trial(plan.name), names.FINISHED)
    return str(folder.path)


def gate_run(path: Path, best: float, own_loss: float | None = 4.8, **options: int) -> str:
    gate = content_gate(StudyOptions(**options))
    wanted = ("beta2_0.95", "lr0.002")
    return finished_run(
        path, gate, list(gate.plans), lambda plan: best if all(w in plan.name for w in wanted) else 4.79, own_loss
    )


def answer_run(path: Path) -> str:
    """A finished run of content.py: 'uniform with bias' is the best rival, 'bigram' the best teacher with content."""
    sweep = content(ContentOptions())
    losses = {"control": 4.7, "uniform with bias": 4.65, "bigram": 4.5, "bigram with bias": 4.55}
    plans = []
    for group in sweep.groups:
        winner = group.search_plan(group.dearest)
        control = None if group.control is None else group.control.confirmation_plan(winner, 1, None)
        plans += [winner, *(group.confirmation_plan(winner, seed, control) for seed in group.arm.seeds)]
    # Searched trials get lower losses than all confirmations; a study that chose by these losses would choose wrongly.
    searched_flatters = {True: 0.0, False: 1.0}  # {is it a confirmation: how much lower the loss is}

    def loss(plan: TrialPlan) -> float:
        confirmation = plan.config.corpus.eval_half == REPORTING
        return losses.get(plan.arm, 4.9) - searched_flatters[confirmation]

    return finished_run(path, sweep, plans, loss)


# ---- the gate ----------------------------------------------------------------------------------------------------


def test_gate_runs_four_controls_on_the_choosing_half() -> None:
    gate = content_gate(StudyOptions())
    settings = {(p.config.optimizer.lr, p.config.optimizer.beta2) for p in gate.plans}
    assert settings == {(0.002, 0.95), (0.002, 0.999), (0.004, 0.95), (0.004, 0.999)}
    assert {p.role for p in gate.plans} == {names.CONTROL}
    assert {p.config.corpus.eval_half for p in gate.plans} == {"choosing"}
    assert {p.config.loop.steps for p in gate.plans} == {704}


def test_all_arms_take_beta2_and_steps_of_the_best_control_of_a_passed_gate(tmp_path: Path) -> None:
    run = gate_run(tmp_path / "gate", best=4.69, steps=1408)
    assert passed_gate(run).optimizer.beta2 == 0.95
    sweep = content(ContentOptions(gate=run))
    assert sweep.base.loop.steps == 1408 and sweep.base.optimizer.beta2 == 0.95
    assert {group.search_plan(group.dearest).config.optimizer.beta2 for group in sweep.groups} == {0.95}


@pytest.mark.parametrize(("best", "own_loss"), [(4.71, 4.8), (4.0, None)])
def test_gate_that_was_not_passed_is_refused_and_twice_the_steps_are_proposed(
    tmp_path: Path, best: float, own_loss: float | None
) -> None:
    run = gate_run(tmp_path / "gate", best, own_loss)
    with pytest.raises(InputError, match=r"cannot say whether anything lasts; .* --steps 1408"):
        content(ContentOptions(gate=run))


def test_gate_of_other_steps_or_of_another_study_is_refused(tmp_path: Path) -> None:
    run = gate_run(tmp_path / "gate", best=4.5)
    with pytest.raises(InputError, match="--steps is 100 but the gate ran 704"):
        content(ContentOptions(gate=run, steps=100))
    with pytest.raises(InputError, match=r"no complete run of sweeps/content_gate\.py"):
        content(ContentOptions(gate=answer_run(tmp_path / "answer")))


# ---- content.py ----------------------------------------------------------------------------------------------------


def test_every_arm_is_tuned_alike_at_half_length_and_confirmed_at_full_length() -> None:
    sweep = content(ContentOptions())
    assert [arm.name for arm in sweep.arms] == [
        *("control", "uniform", "bigram"),
        *("control with bias", "uniform with bias", "bigram with bias"),
        *("shuffled", "ramp"),
    ]
    assert {arm.size for arm in sweep.arms} == {6}
    assert (sweep.search_steps, sweep.base.loop.steps, sweep.extend_rates, sweep.asha) == (352, 704, True, None)
    assert {len(arm.seeds) for arm in sweep.arms[:6]} == {6} and {len(arm.seeds) for arm in sweep.arms[6:]} == {3}
    bigram = sweep.groups[2]
    searched = bigram.search_plan(bigram.dearest).config
    confirmation = bigram.confirmation_plan(bigram.search_plan(bigram.dearest), 1, None).config
    assert (searched.loop.steps, searched.teacher.steps, searched.optimizer.warmup_steps) == (352, 352, 35)
    assert (confirmation.loop.steps, confirmation.teacher.steps, confirmation.optimizer.warmup_steps) == (704, 704, 70)
    assert (confirmation.teacher.schedule, confirmation.teacher.min_weight, confirmation.teacher.smoothing) == (
        *("linear", 0.0),
        "modified_kneser_ney",
    )
    shorter = bigram.search_plan({**bigram.dearest, "teacher.steps": 141})
    assert bigram.confirmation_plan(shorter, 1, None).config.teacher.steps == 282  # 40 % of 352 steps and of 704


def test_student_reads_an_epoch_at_most_and_the_teacher_counts_the_same_rows() -> None:
    base = content(ContentOptions()).base
    assert base.corpus.train_rows == 108_000  # the books have 27 tokens a row; 704 steps of 4,096 tokens read 2.9 M
    assert base.teacher.rows == "student"
    assert content(ContentOptions(steps=1408)).base.corpus.train_rows == 216_000
    assert content(ContentOptions(train_rows=5)).base.corpus.train_rows == 5


def test_content_survives_run_json() -> None:
    sweep = content(ContentOptions(margin=0.05))
    read = spec_from_dict(json.loads(json.dumps(sweep.to_dict())))
    assert read == sweep and read.registered


def test_arms_are_chosen_by_name_and_unknown_ones_refused() -> None:
    sweep = content(ContentOptions(arms=("ramp", "bigram with bias")))
    assert [arm.name for arm in sweep.arms] == ["control", "bigram with bias", "ramp"]
    with pytest.raises(InputError, match="content has no arm 'trigram': give some of 'uniform', 'bigram'"):
        content(ContentOptions(arms=("trigram",)))


# ---- content_long.py -----------------------------------------------------------------------------------------------


def test_content_long_takes_control_best_rival_and_best_teacher_of_the_confirmations(tmp_path: Path) -> None:
    run = answer_run(tmp_path / "answer")
    assert list(confirmed_settings(run)) == ["control", "uniform with bias", "bigram"]
    pair = content_long(LongOptions(answer=run))
    assert pair.arms == ["none", "uniform with bias", "bigram"]
    assert {plan.config.seed for plan in pair.plans} == {0, 1}
    assert {plan.config.loop.steps for plan in pair.plans} == {4_640}
    assert {plan.config.corpus.eval_half for plan in pair.plans} == {REPORTING}
    bigram = next(plan.config for plan in pair.plans if plan.arm == "bigram")
    assert (bigram.teacher.kind, bigram.teacher.steps, bigram.model.output_bias) == ("bigram", 4_640, "none")
    assert bigram.corpus.train_rows == round(4_640 * 108_000 / 704)
    rival = next(plan.config for plan in pair.plans if plan.arm == "uniform with bias")
    assert (rival.teacher.kind, rival.model.output_bias) == ("uniform", "unigram")


def test_content_long_without_a_finished_run_of_content_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--answer is missing"):
        content_long(LongOptions())
    with pytest.raises(InputError, match=r"no complete run of sweeps/content\.py"):
        content_long(LongOptions(answer=gate_run(tmp_path / "gate", best=4.5)))
