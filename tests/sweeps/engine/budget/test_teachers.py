"""Predicted time of preparing teachers before the first trial, from made-up rates; no time is measured."""

from dataclasses import replace

import pytest
from made_up_rates import TEACHING, made_up_rates, made_up_size

from sweeps.engine.budget.calibration import table_shape
from sweeps.engine.budget.data_size import teacher_key
from sweeps.engine.budget.prediction import predict
from sweeps.engine.budget.teachers import teachers_seconds
from sweeps.engine.specs.comparison import Arm, Comparison, grid, paired_plans
from trainable.config import TrialConfig, override
from trainable.plan import WATCHED_BLOCKS

BASE = override(TrialConfig(), {"loop.steps": 40, "loop.eval_every": 10, "loop.checkpoint_every": 20})
MODEL = {"teacher.kind": "model", "teacher.model.steps": 200}
TRAINING = 0.2 + 1.0 + 200 * 0.05 + 21 * WATCHED_BLOCKS * 0.01 + 20 * 0.5  # start, warm-up, steps, reports, checkpoints
ANSWERS, LOSSES = 4000 * 0.001, 20 * 0.001  # seconds of answers for the training blocks, and for the validation blocks


def study(*teachers: dict[str, object], seeds: int = 2, **axes: tuple[object, ...]) -> Comparison:
    """A control and a linear arm (T 10) for each teacher, on each seed and each value of the axes (__ means a dot)."""
    fading = {"teacher.schedule": "linear", "teacher.steps": 10}
    arms = [Arm(f"arm {number}", fading | teacher) for number, teacher in enumerate(teachers)]
    dotted = {key.replace("__", "."): values for key, values in axes.items()}
    units = grid(BASE, {"seed": range(seeds), **dotted})
    return Comparison(study="study", question="?", base=BASE, plans=paired_plans(units, lambda unit: arms))


def seconds_of(spec: Comparison) -> float:
    """Predicted seconds for the teachers of a study, from the made-up rates."""
    return teachers_seconds(spec, made_up_rates(spec), made_up_size(spec))


def test_the_time_of_a_model_is_that_of_its_training_and_of_its_answers_for_all_blocks() -> None:
    assert seconds_of(study(MODEL)) == pytest.approx(TRAINING + ANSWERS + LOSSES)
    longer = study(MODEL | {"teacher.model.steps": 300})
    assert seconds_of(longer) == pytest.approx(TRAINING + ANSWERS + LOSSES + 100 * TEACHING.step)


def test_the_time_of_a_model_is_counted_once_however_many_trials_have_it() -> None:
    for seeds in (1, 3):
        bigram, model = study({"teacher.kind": "bigram"}, seeds=seeds), study(MODEL, seeds=seeds)
        without, taught = (predict(spec, made_up_rates(spec), made_up_size(spec)).seconds for spec in (bigram, model))
        assert taught - without == pytest.approx(TRAINING + ANSWERS + LOSSES)


def test_each_size_of_a_model_is_trained_and_another_top_k_only_asks_the_same_model_again() -> None:
    once = TRAINING + ANSWERS + LOSSES
    wider = study(MODEL, MODEL | {"teacher.model.hidden": 32})
    assert seconds_of(wider) == pytest.approx(2 * once)
    more_kept = study(MODEL, MODEL | {"teacher.model.top_k": 64})
    assert seconds_of(more_kept) == pytest.approx(once + ANSWERS + LOSSES)


def test_another_validation_text_adds_only_the_time_of_another_loss() -> None:
    sizes = study(MODEL, corpus__eval_rows=(100, 200))
    assert seconds_of(sizes) == pytest.approx(TRAINING + ANSWERS + 2 * LOSSES)


def test_another_training_text_adds_the_time_of_another_teacher() -> None:
    folds = study(MODEL, corpus__folds=(5,), corpus__fold=(0, 1))
    assert seconds_of(folds) == pytest.approx(2 * (TRAINING + ANSWERS + LOSSES))


def test_a_model_from_a_folder_is_asked_and_not_trained() -> None:
    assert seconds_of(study(MODEL | {"teacher.model.folder": "some_model"})) == pytest.approx(ANSWERS + LOSSES)


def test_a_teacher_in_the_cache_takes_only_the_time_of_finding_it() -> None:
    spec = study(MODEL)
    (config,) = {c.teacher: c for c in spec.configs() if c.teacher.kind == "model"}.values()
    size = replace(made_up_size(spec), teachers={teacher_key(config): 0.75})
    assert teachers_seconds(spec, made_up_rates(spec), size) == pytest.approx(0.75)


def test_the_time_of_a_table_of_counts_is_its_time_per_token_counted_once() -> None:
    trigram = {"teacher.kind": "ngram", "teacher.order": 3, "teacher.smoothing": "modified_kneser_ney"}
    spec = study(trigram, trigram | {"teacher.steps": 20})
    rates, size = made_up_rates(spec), made_up_size(spec)
    (config,) = {table_shape(c): c for c in spec.configs() if c.teacher.kind == "ngram"}.values()
    rates = replace(rates, of_table={**rates.of_table, table_shape(config): 1e-5})
    assert teachers_seconds(spec, rates, size) == pytest.approx(1e-5 * size.train_tokens)
