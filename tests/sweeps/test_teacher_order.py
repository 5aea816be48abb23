"""The study of teachers that know more and more: its arms, and what they share with the sceptic's study."""

import json

import pytest

from sweeps.content import ContentOptions, content
from sweeps.engine.specs.spec import spec_from_dict
from sweeps.teacher_order import OrderOptions, teacher_order
from trainable.errors import InputError


def test_arms_know_more_and_more_of_the_text() -> None:
    sweep = teacher_order(OrderOptions())
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


def test_every_arm_is_tuned_as_in_the_sceptics_study() -> None:
    ours, theirs = teacher_order(OrderOptions()), content(ContentOptions())
    spaces = {arm.name: arm.space for arm in theirs.arms}
    assert ours.base == theirs.base
    for arm in ours.arms:
        assert arm.space == spaces["control" if arm.name == "control" else "bigram"]
        assert arm.seeds == (1, 2, 3)
    assert (ours.search_steps, ours.extend_rates, ours.asha) == (theirs.search_steps, True, None)


def test_it_survives_run_json_and_takes_arms_by_name() -> None:
    sweep = teacher_order(OrderOptions(arms=("5-gram", "uniform"), seeds=(7,)))
    assert [arm.name for arm in sweep.arms] == ["control", "uniform", "5-gram"]
    assert {arm.seeds for arm in sweep.arms} == {(7,)}
    assert spec_from_dict(json.loads(json.dumps(sweep.to_dict()))) == sweep
    with pytest.raises(InputError, match="teacher_order has no arm '6-gram': give some of 'uniform', 'unigram'"):
        teacher_order(OrderOptions(arms=("6-gram",)))
