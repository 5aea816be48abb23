"""Settings: dotted keys, types and ranges are checked, and an error message names the wrong setting."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable import names
from trainable.config import (
    TeacherConfig,
    TeacherModelConfig,
    TrialConfig,
    defaults,
    flatten,
    from_dict,
    from_text,
    identity,
    override,
    to_dict,
)
from trainable.errors import InputError

CHANGED: dict[str, Any] = {
    "corpus.source": "rows.txt",
    "corpus.train_rows": 7,
    "corpus.folds": 5,
    "corpus.fold": 4,
    "tokens.packing": "as_published",
    "teacher.schedule": "reciprocal",
    "teacher.steps": 30,
    "teacher.tau": 2.5,
    "teacher.smoothing": "add_k",
    "teacher.smoothing_strength": 0.1,
    "teacher.min_count": 2,
    "teacher.model.hidden": 96,
    "teacher.model.folder": "trained",
    "model.hidden": 64,
    "optimizer.lr": 0.25,
    "loop.steps": 40,
    "loop.keep_checkpoint": True,
    "seed": 3,
}


def test_settings_survive_json() -> None:
    for config in (TrialConfig(), override(TrialConfig(), CHANGED)):
        assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_missing_settings_take_their_defaults() -> None:
    assert from_dict({}) == TrialConfig()
    assert from_dict({"teacher": {"min_weight": 0.5}}) == TrialConfig(teacher=TeacherConfig(min_weight=0.5))


def leaves(part: Any) -> int:
    """Number of settings in a group and in the groups inside it."""
    if not dataclasses.is_dataclass(part):
        return 1
    return sum(leaves(getattr(part, field.name)) for field in dataclasses.fields(part))


def test_every_setting_can_be_flattened_and_set_again() -> None:
    config = override(TrialConfig(), CHANGED)
    flat = flatten(config)
    assert {key: flat[key] for key in CHANGED} == CHANGED
    assert override(TrialConfig(), flat) == config
    assert len(flat) == leaves(config)
    assert not any(isinstance(value, dict) for value in flat.values())


def test_override_leaves_the_original_and_all_other_settings_alone() -> None:
    config = TrialConfig()
    changed = override(config, {"teacher.min_weight": 0.25})
    assert config == TrialConfig()
    differing = {key for key, value in flatten(changed).items() if value != flatten(config)[key]}
    assert differing == {"teacher.min_weight"}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {"teacher.schedule": "linear", "teacher.steps": 40},
        {"loop.steps": 1000, "teacher.steps": 1000},
        {"loop.eval_every": 7, "loop.checkpoint_every": 14},
        {"corpus.fold": 9, "corpus.folds": 10},
    ],
)
def test_override_makes_all_changes_at_once(changes: dict[str, Any], reverse: bool) -> None:
    """Changes made one after the other would, in one of the two orders, break a rule between two settings."""
    items = list(changes.items())
    config = override(TrialConfig(), dict(items[::-1] if reverse else items))
    assert {key: flatten(config)[key] for key in changes} == changes


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("teacher.step", "teacher.steps"),
        ("teachr.steps", "teacher.steps"),
        ("optimizer.learning_rate", "optimizer"),
        ("loop.batch_block", "loop.batch_blocks"),
        ("sed", "seed"),
    ],
)
def test_the_message_about_an_unknown_setting_suggests_a_similar_one(key: str, near: str) -> None:
    with pytest.raises(InputError, match=f"no setting '{key}'.*{near}"):
        override(TrialConfig(), {key: 1})


def test_the_message_about_an_unknown_setting_without_a_similar_one_lists_known_settings() -> None:
    with pytest.raises(InputError, match=r"Known settings: .*teacher.steps"):
        override(TrialConfig(), {"zzzzzz": 1})


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"teachr": {}}, "'teachr'.*'teacher'"),
        ({"teacher": {"stepz": 3}}, "'teacher.stepz'.*'teacher.steps'"),
        ({"teacher": 3}, "'teacher' should be a group of settings, not 3"),
        ({"teacher": None}, "'teacher' should be a group"),
        ({"seed": {}}, "seed is {}"),
    ],
)
def test_a_tree_with_unknown_keys_or_misplaced_groups_is_refused(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_dict(tree)


def test_a_group_cannot_be_set_as_a_whole() -> None:
    with pytest.raises(InputError, match="no setting 'teacher'"):
        override(TrialConfig(), {"teacher": {"steps": 3}})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", 1.0, "1.0: give a whole number"),
        ("seed", True, "True: give a whole number"),
        ("seed", "1", "'1': give a whole number"),
        ("seed", None, "None: give a whole number"),
        ("corpus.source", 3, "3: give a text"),
        ("corpus.train_rows", "many", "give a whole number or none"),
        ("optimizer.lr", "fast", "give a number"),
        ("optimizer.lr", True, "give a number"),
        ("teacher.tau", [1], "give a number or none"),
        ("loop.keep_checkpoint", 1, "give true or false"),
        ("teacher.schedule", "linaer", "choose one of none, linear, exponential, reciprocal, step"),
        ("teacher.schedule", None, "choose one of none, linear"),
        ("teacher.smoothing", "good_turing", "choose one of mle, add_k"),
        ("teacher.rows", ["all"], "choose one of student, train_split, all"),
        ("tokens.packing", "", "choose one of packed, as_published"),
        ("loop.precision", "fp16", "choose one of auto, float32, bfloat16, float16"),
        ("loop.device", "tpu", "choose one of auto, cpu, cuda"),
    ],
)
def test_wrong_type_or_choice_is_refused_by_name(key: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"{key} is .*{message}"):
        override(TrialConfig(), {key: value})


def test_an_int_is_accepted_for_a_float_and_none_for_an_optional_setting() -> None:
    config = override(TrialConfig(), {"optimizer.lr": 1, "corpus.train_rows": None, "teacher.tau": 2})
    assert type(config.optimizer.lr) is float
    assert type(config.teacher.tau) is float
    assert config.corpus.train_rows is None


def test_settings_added_later_leave_the_identity_of_older_runs_unchanged() -> None:
    """Checkpoints and token blocks are found by the identity of the settings."""
    younger = {"tokens.eos": "<e>", "corpus.split": "x", "corpus.eval_half": "choosing", "model.output_bias": "unigram"}
    younger |= {"model.hidden": 64, "teacher.model.layers": 2, "teacher.model.folder": "trained"}
    assert not set(younger) & set(names.dotted(identity(TrialConfig())))
    for key, value in younger.items():
        changes = {key: value} | ({"tokens.tokenizer": "folder"} if key == "tokens.eos" else {})
        assert names.dotted(identity(override(TrialConfig(), changes)))[key] == value


def test_a_group_within_a_group_has_dotted_keys_of_its_own() -> None:
    config = override(
        TrialConfig(), {"teacher.model.hidden": 96, "teacher.model.lr": from_text("teacher.model.lr", "1")}
    )
    assert config.teacher.model == TeacherModelConfig(hidden=96, lr=1.0)
    assert type(config.teacher.model.lr) is float
    assert identity(config)["teacher"]["model"]["layers"] == 1, "the identity has all of a changed group"
    with pytest.raises(InputError, match=r"no setting 'teacher.model.hiden'.*'teacher.model.hidden'"):
        override(TrialConfig(), {"teacher.model.hiden": 96})
    with pytest.raises(InputError, match=r"no setting 'teacher.model'"):
        override(TrialConfig(), {"teacher.model": {}})
    with pytest.raises(InputError, match=r"'teacher\.model' should be a group of settings, not 3"):
        from_dict({"teacher": {"model": 3}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher.model.layers": 0}, "teacher.model.layers is 0: give at least 1"),
        ({"teacher.model.steps": 0}, "teacher.model.steps is 0: give at least 1"),
        ({"teacher.model.hidden": 60}, "teacher.model.hidden is 60: give a multiple of 8"),
        ({"teacher.model.lr": 0.0}, "teacher.model.lr is 0.0: give a positive"),
        ({"teacher.model.top_k": 0}, "teacher.model.top_k is 0: give a number from 1 to 1024"),
        ({"teacher.model.top_k": 1025}, "teacher.model.top_k is 1025"),
        ({"teacher.kind": "model", "teacher.rows": "all"}, "trained on the student's rows"),
        ({"model.hidden": 0}, "model.hidden is 0: give a multiple of 8"),
        ({"model.hidden": 100}, "model.hidden is 100: give a multiple of 8"),
    ],
)
def test_wrong_settings_of_a_model_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        override(TrialConfig(), changes)


def test_defaults_of_a_group_undo_all_changes_to_it() -> None:
    changed = override(TrialConfig(), {"teacher.kind": "uniform", "teacher.model.hidden": 96, "seed": 1})
    assert override(changed, defaults("teacher")) == TrialConfig(seed=1)


def test_only_the_table_of_kind_model_depends_on_the_settings_of_the_teacher_model() -> None:
    wider = {"teacher.model.hidden": 96}
    bigram, model = TrialConfig(), override(TrialConfig(), {"teacher.kind": "model"})
    assert override(bigram, wider).teacher.table_settings == bigram.teacher.table_settings
    assert override(model, wider).teacher.table_settings != model.teacher.table_settings


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("key", ["optimizer.lr", "optimizer.eps", "teacher.tau", "teacher.min_weight"])
def test_numbers_that_are_not_finite_are_refused(key: str, value: float) -> None:
    """NaN and infinity cannot be written as JSON."""
    with pytest.raises(InputError, match=f"{key} is "):
        override(TrialConfig(), {key: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"corpus.train_rows": 0},
        {"corpus.eval_rows": -1},
        {"corpus.test_fraction": 0.0},
        {"corpus.test_fraction": 1.0},
        {"corpus.split_seed": -1},
        {"corpus.folds": 1},
        {"corpus.fold": 5, "corpus.folds": 5},
        {"corpus.fold": -1, "corpus.folds": 5},
        {"tokens.context": 1},
        {"model.layers": 0},
        {"teacher.min_weight": -0.1},
        {"teacher.min_weight": 1.1},
        {"teacher.tau": 0.0},
        {"teacher.steps": 0, "teacher.schedule": "linear"},
        {"teacher.smoothing_strength": 0.0},
        {"teacher.min_count": 0, "teacher.smoothing": "kneser_ney"},
        {"teacher.min_count": 2, "teacher.smoothing": "mle"},
        {"teacher.steps": 121},
        {"optimizer.lr": 0.0},
        {"optimizer.beta1": 1.0},
        {"optimizer.beta2": -0.1},
        {"optimizer.eps": 0.0},
        {"optimizer.weight_decay": -0.1},
        {"optimizer.clip_norm": 0.0},
        {"optimizer.warmup_steps": -1},
        {"loop.steps": 0},
        {"loop.batch_blocks": 0},
        {"loop.accumulation": 0},
        {"loop.eval_every": 0},
        {"loop.eval_batch_blocks": 0},
        {"loop.checkpoint_every": 0},
        {"loop.checkpoint_every": 30},
        {"seed": -1},
    ],
    ids=lambda changes: " ".join(f"{key}={value}" for key, value in changes.items()),
)
def test_out_of_range_is_refused_by_name_and_value(changes: dict[str, Any]) -> None:
    key, value = next(iter(changes.items()))
    with pytest.raises(InputError, match=f"{key} is {value}") as caught:
        override(TrialConfig(), changes)
    assert str(caught.value).endswith(".")


@given(st.floats(0, 1), st.integers(1, 120), st.sampled_from(["linear", "exponential", "reciprocal", "step"]))
def test_every_value_in_range_is_allowed(min_weight: float, steps: int, schedule: str) -> None:
    changes = {"teacher.min_weight": min_weight, "teacher.steps": steps, "teacher.schedule": schedule}
    assert override(TrialConfig(), changes).teacher.min_weight == min_weight


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrialConfig().seed = 1  # type: ignore[misc]
