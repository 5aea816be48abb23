"""Calibration: steps and teachers are measured in separate processes."""

from dataclasses import replace

import pytest
from small_study import SmallOptions, small_study

from sweeps.engine.budget.calibration import CannotMeasure, calibrate, phases, table_shape, teacher_shape
from sweeps.engine.budget.data_size import DataSize
from sweeps.engine.cluster.ray_start import Machine
from sweeps.engine.specs.spec import Spec
from trainable.config import override
from trainable.names import CONTROL
from trainable.plan import data_key

SPEC = small_study(SmallOptions())


def size_of(spec: Spec, vocab_size: int = 512) -> DataSize:
    blocks = {data_key(config): (500, 4) for config in spec.configs()}
    return DataSize(vocab_size=vocab_size, train_tokens=10_000, blocks=blocks, seconds=0.0, teachers={})


def test_each_shape_is_measured_with_a_slot_for_each_cpu() -> None:
    rates = calibrate(SPEC, Machine(cpus=2), size_of(SPEC))
    assert rates.slots == 2 and rates.reused and rates.imports > 0
    assert all(rates.of(config, guided).step > 0 for config in SPEC.configs() for guided in phases(config))


def test_tables_and_models_that_teach_are_measured() -> None:
    ngrams = {"teacher.kind": "ngram", "teacher.order": 3, "teacher.smoothing": "modified_kneser_ney"}
    for changes in (ngrams, {"teacher.kind": "model"}):
        plans = [
            plan if plan.role == CONTROL else replace(plan, config=override(plan.config, changes))
            for plan in SPEC.plans
        ]
        spec, taught = replace(SPEC, plans=tuple(plans)), plans[-1].config
        rates = calibrate(spec, Machine(cpus=1), size_of(spec))
        if changes == ngrams:
            assert rates.of_table[table_shape(taught)] > 0
        else:
            rate = rates.of_teacher[teacher_shape(taught)]
            assert rate.step > 0 and rate.answer > 0


def test_a_step_that_fails_is_reported_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.engine.budget.calibration.stand_in_table", lambda *_: None)
    with pytest.raises(CannotMeasure, match=r"its first steps failed \(.*needs a teacher table"):
        calibrate(SPEC, Machine(cpus=1), size_of(SPEC))
