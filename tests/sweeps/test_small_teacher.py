"""The study small_teacher: its arms, and how the small models that teach are trained."""

import json

import pytest

from sweeps.engine.protocol import TeachersOptions
from sweeps.engine.specs.spec import spec_from_dict
from sweeps.small_teacher import small_teacher
from sweeps.teacher_order import teacher_order
from trainable.errors import InputError


@pytest.mark.parametrize(("scale", "student", "widths"), [("laptop", 128, (32, 64)), ("published", 1024, (256, 512))])
def test_the_arms_are_control_uniform_bigram_trigram_and_models_of_two_widths(
    scale: str, student: int, widths: tuple[int, int]
) -> None:
    sweep = small_teacher(TeachersOptions(scale=scale))
    narrow, wide = (f"model {width}" for width in widths)
    assert [arm.name for arm in sweep.arms] == ["control", "uniform", "bigram", "trigram", narrow, wide]
    for group, width in zip(sweep.groups[4:], widths, strict=True):
        confirmation = group.confirmation_plan(group.search_plan(group.dearest), 1, None).config
        searched = group.search_plan(group.dearest).config
        for config in (confirmation, searched):  # both have the same teacher, trained for the steps of a confirmation
            model = config.teacher.model
            assert (config.teacher.kind, model.hidden, model.layers) == ("model", width, 1)
            assert model.steps == sweep.base.loop.steps
            assert model.lr * width == sweep.base.optimizer.lr * student  # muP


def test_every_arm_is_tuned_as_in_teacher_order() -> None:
    ours, theirs = small_teacher(TeachersOptions()), teacher_order(TeachersOptions())
    assert ours.base == theirs.base
    spaces = {arm.name: arm.space for arm in theirs.arms}
    assert all(arm.space == spaces.get(arm.name, spaces["trigram"]) for arm in ours.arms)
    assert {arm.seeds for arm in ours.arms} == {(1, 2, 3)}


def test_the_study_survives_run_json_and_takes_arms_by_name() -> None:
    sweep = small_teacher(TeachersOptions(arms=("model 64",)))
    assert [arm.name for arm in sweep.arms] == ["control", "model 64"]
    assert spec_from_dict(json.loads(json.dumps(sweep.to_dict()))) == sweep
    with pytest.raises(InputError, match="small_teacher has no arm 'model 128'"):
        small_teacher(TeachersOptions(arms=("model 128",)))
