"""The study teacher_order: its arms, from uniform to 5-grams, and what they share with the study content."""

import json

import pytest

from sweeps.content import ContentOptions, content
from sweeps.engine.protocol import TeachersOptions
from sweeps.engine.specs.spec import spec_from_dict
from sweeps.teacher_order import teacher_order
from trainable.config import override
from trainable.errors import InputError


def test_the_arms_are_uniform_unigram_and_n_grams_up_to_order_5() -> None:
    sweep = teacher_order(TeachersOptions())
    kinds = {arm.name: (arm.changes.get("teacher.kind"), arm.changes.get("teacher.order", 2)) for arm in sweep.arms[1:]}
    assert kinds == {
        "uniform": ("uniform", 2),
        "unigram": ("unigram", 2),
        "bigram": ("bigram", 2),
        "trigram": ("ngram", 3),
        "4-gram": ("ngram", 4),
        "5-gram": ("ngram", 5),
    }
    for group in sweep.groups[1:]:
        teacher = group.search_plan(group.dearest).config.teacher
        assert (teacher.smoothing, teacher.schedule, teacher.rows) == ("modified_kneser_ney", "linear", "student")


def test_every_arm_is_tuned_over_the_space_of_content_but_at_full_length_and_with_an_output_bias() -> None:
    ours, theirs = teacher_order(TeachersOptions()), content(ContentOptions())
    half = {arm.name: arm.space for arm in theirs.arms}
    assert ours.base == override(theirs.base, {"model.output_bias": "unigram"})
    for arm in ours.arms:
        space = dict(half["control" if arm.name == "control" else "bigram"])
        assert set(arm.space) == set(space)
        for key, levels in space.items():
            lengthened = 2 if key.endswith("steps") else 1  # warm-ups and schedules keep their share of the run
            assert arm.space[key].grid() == pytest.approx([lengthened * value for value in levels.grid()], abs=1)
        assert arm.seeds == (1, 2, 3)
    for group in ours.groups:
        searched = group.search_plan(group.dearest).config
        assert (searched.loop.steps, searched.model.output_bias) == (704, "unigram")
    assert (ours.search_steps, ours.extend_rates, ours.asha) == (None, True, None)


def test_the_study_survives_run_json_and_takes_arms_by_name() -> None:
    sweep = teacher_order(TeachersOptions(arms=("5-gram", "uniform"), seeds=(7,)))
    assert [arm.name for arm in sweep.arms] == ["control", "uniform", "5-gram"]
    assert {arm.seeds for arm in sweep.arms} == {(7,)}
    assert spec_from_dict(json.loads(json.dumps(sweep.to_dict()))) == sweep
    with pytest.raises(InputError, match="teacher_order has no arm '6-gram': give some of 'uniform', 'unigram'"):
        teacher_order(TeachersOptions(arms=("6-gram",)))
