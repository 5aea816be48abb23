"""Measuring: shapes, rates from reports, and the real loop on stand-in data (in processes: tests/outside)."""

from pathlib import Path

import pytest
from small_llama import LLAMA
from transformers import LlamaConfig, LlamaForCausalLM

from sweeps.engine.budget.calibration import (
    CannotMeasure,
    check_measurable,
    extremes,
    phases,
    shape_of,
    teacher_shape,
)
from sweeps.engine.budget.measure import Rate, Task, measured, rate_of
from sweeps.engine.budget.stand_in import drawn_text, drawn_tokens, stand_in_blocks, stand_in_table
from sweeps.engine.cluster.ray_start import Machine
from trainable import names
from trainable.config import TeacherConfig, TrialConfig, override
from trainable.student.run_data import RunData
from trainable.teacher.answers import Answers

TINY = override(TrialConfig(), {"tokens.context": 16, "loop.batch_blocks": 2, "loop.eval_batch_blocks": 2})


def test_a_shape_has_only_the_settings_that_change_the_cost_of_a_step() -> None:
    guided = {"teacher.schedule": "linear", "teacher.steps": 20}
    same = {"seed": 7, "optimizer.lr": 0.01, "corpus.eval_rows": 9, "loop.steps": 60, "teacher.steps": 40}
    assert shape_of(override(TINY, guided), True) == shape_of(override(TINY, guided | same), True)
    for key, value in {"model.layers": 2, "loop.batch_blocks": 4, "teacher.kind": "uniform"}.items():
        assert shape_of(override(TINY, guided), True) != shape_of(override(TINY, guided | {key: value}), True)
    assert shape_of(override(TINY, guided), False) == shape_of(TINY, False)


def test_the_teachers_weight_of_a_guided_shape_is_1_at_each_step() -> None:
    shape = shape_of(override(TINY, {"teacher.schedule": "exponential", "teacher.steps": 20}), True)
    assert shape.teacher.min_weight == 1.0


BLOCKS = stand_in_blocks(512, 16, 4, seed=1)


def test_a_control_has_only_plain_steps_and_a_guided_trial_has_both_kinds() -> None:
    assert phases(TINY) == (False,)
    assert phases(override(TINY, {"teacher.schedule": "step", "teacher.steps": 5})) == (False, True)


def test_only_the_least_and_the_greatest_depth_are_measured() -> None:
    shapes = [shape_of(override(TINY, {"model.layers": layers}), False) for layers in (3, 1, 6, 2)]
    assert [shape.model.layers for shape in extremes(shapes)] == [1, 6]
    assert len(list(extremes(shapes[:1]))) == 1


def test_a_rate_counts_the_warm_up_separately_from_the_steps() -> None:
    loop = {"loop.steps": 4, "loop.eval_every": 1, "loop.checkpoint_every": 2}
    config = override(TINY, {**loop, "optimizer.warmup_steps": 1})
    steps, evaluation = [5.0, 2.0, 0.5, 0.5], 0.25
    reports, now, spent = [(1.75, {names.STEP: 0, names.TRAIN_SECONDS: 0.0, names.EVAL_SECONDS: 1.0})], 1.75, 0.0
    for number, seconds in enumerate(steps, 1):
        now, spent = now + seconds + evaluation + (0.125 if number % 2 == 0 else 0), spent + seconds
        row = {names.STEP: number, names.TRAIN_SECONDS: spent, names.EVAL_SECONDS: 1.0 + number * evaluation}
        reports.append((now, row))
    rate = rate_of(reports, config, eval_blocks=2, start=0.5)
    assert (rate.step, rate.evaluation, rate.checkpoint, rate.start) == (0.5, 0.125, 0.125, 0.5)
    assert rate.warm_up == (1.75 - 0.25 - 0.5) + (5.0 + 2.0 - 2 * 0.5)


@pytest.mark.parametrize("kind", ["bigram", "model"])
def test_a_rate_is_measured_in_the_real_loop(kind: str) -> None:
    changes = {"teacher.kind": kind, "teacher.schedule": "linear", "teacher.steps": 5}
    config = shape_of(override(TINY, changes), True)
    train = stand_in_blocks(512, 16, 16, seed=1)
    data = RunData(
        train=train,
        eval=stand_in_blocks(512, 16, 2, seed=2),
        table=stand_in_table(config.teacher, drawn_text(512, 10_000), train),
    )
    rate = measured(Task(config=config, data=data, seconds=0.0, threads=1))
    assert rate.step > 0 and rate.evaluation > 0 and rate.start > 0 and rate.checkpoint >= 0 and rate.warm_up >= 0


TAUGHT = override(TINY, {"teacher.kind": "model", "teacher.model.hidden": 16})


def teaching(config: TrialConfig) -> Rate:
    """Measure the rate of the model that teaches in a trial with these settings."""
    data = RunData(train=stand_in_blocks(512, 16, 16, seed=1), eval=stand_in_blocks(512, 16, 2, seed=2))
    return measured(Task(config=teacher_shape(config), data=data, seconds=0.0, threads=1, teaches=True))


def test_steps_and_answers_of_a_model_that_teaches_are_measured() -> None:
    rate = teaching(TAUGHT)
    assert rate.step > 0 and rate.answer > 0


def test_only_the_answers_of_a_model_from_a_folder_are_measured(tmp_path: Path) -> None:
    llama = LlamaConfig(**(LLAMA | {"vocab_size": 512, "num_hidden_layers": 1}))
    LlamaForCausalLM(llama).save_pretrained(tmp_path)
    rate = teaching(override(TAUGHT, {"teacher.model.folder": str(tmp_path)}))
    assert rate.answer > 0 and (rate.step, rate.warm_up) == (0, 0)


def test_the_shape_of_a_model_that_teaches_has_its_width_its_top_k_and_the_batch() -> None:
    longer = {"teacher.model.steps": 9, "teacher.model.lr": 0.01, "teacher.steps": 7, "loop.steps": 60}
    assert teacher_shape(override(TAUGHT, longer)) == teacher_shape(TAUGHT)
    for key in ("teacher.model.hidden", "teacher.model.top_k", "loop.batch_blocks"):
        assert teacher_shape(override(TAUGHT, {key: 8})) != teacher_shape(TAUGHT)


def test_a_ramp_has_no_stand_in_table() -> None:
    assert stand_in_table(TeacherConfig(kind="ramp"), drawn_text(512, 1000), BLOCKS) is None


@pytest.mark.parametrize("kind", ["bigram", "shuffled", "unigram", "uniform"])
def test_a_stand_in_table_has_probabilities_and_has_bigrams_only_if_its_kind_has_them(kind: str) -> None:
    table = stand_in_table(TeacherConfig(kind=kind, smoothing="modified_kneser_ney"), drawn_text(512, 50_000), BLOCKS)
    assert table is not None and table.vocab_size == 512
    assert table.row(3).sum() == pytest.approx(1, abs=1e-5)
    assert (len(table.values) > 1000) == (kind in ("bigram", "shuffled"))


def test_stand_in_answers_have_the_shape_of_real_answers_and_sum_to_one() -> None:
    table = stand_in_table(TeacherConfig(kind="model"), drawn_text(512, 1000), BLOCKS)
    assert isinstance(table, Answers)
    assert table.ids_BxTxk.shape == (4, 15, 16)
    assert table.row(3, 14, token=7).sum() == pytest.approx(1, abs=1e-5)


def test_a_step_of_stand_in_text_reads_about_as_many_bigrams_as_a_step_of_real_text() -> None:
    """A step of 4,096 tokens of the books (2.7 M tokens, vocabulary 8,192) has 1,377 contexts with 258 k bigrams."""
    blocks = stand_in_blocks(8192, 16, 4, seed=1)
    table = stand_in_table(TeacherConfig(), drawn_text(8192, 2_700_000), blocks)
    assert table is not None
    contexts = sorted(set(drawn_tokens(8192, 4096, seed=5).tolist()))
    touched = sum(int(table.indptr[one + 1] - table.indptr[one]) for one in contexts)
    assert 1377 / 1.3 < len(contexts) < 1377 * 1.3
    assert 258_000 / 1.5 < touched < 258_000 * 1.5


def test_trials_on_a_cluster_or_with_several_workers_are_not_measured() -> None:
    with pytest.raises(CannotMeasure, match="the trials run on the cluster at far:1"):
        check_measurable(Machine(address="far:1"))
    with pytest.raises(CannotMeasure, match="what workers of one trial send each other"):
        check_measurable(Machine(workers_per_trial=2))
