"""The studies: what each varies and fixes at both scales (tests/outside/test_study_runs.py runs each of them)."""

import importlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from paths import ROOT
from small_corpus import small_sentences

from sweeps.engine.checks import check_inputs
from sweeps.engine.specs.comparison import Comparison
from sweeps.engine.specs.spec import spec_from_dict
from sweeps.engine.study import TeacherOptions, chosen, run_study
from trainable import names
from trainable.config import TrialConfig, flatten
from trainable.errors import InputError
from trainable.prepare import prepare_runs
from trainable.record.files import sha256_of_file
from trainable.text.sources import found, rows_lines

# Studies whose arms are tuned alike, or come from an earlier run; other files of this folder test these studies.
PROTOCOL = {"content", "content_long", "teacher_order", "small_teacher"}
STUDIES = sorted({path.stem for path in (ROOT / "sweeps").glob("*.py")} - {"__init__", "schedule_search"} - PROTOCOL)
# Studies that repeat the published ones: {study: (trials at laptop scale, arms without the control, depths)}.
REPEATED: dict[str, tuple[int, int, set[int]]] = {
    "early_stage": (9, 2, {3}),
    "full_pretraining": (2, 1, {6}),
    "layer_depth": (10, 1, {1, 2, 3, 4, 5}),
    "schedule_types": (18, 5, {1}),
    "schedule_steps": (12, 3, {2}),
    "kfold": (10, 1, {1}),
    "validation_size": (6, 0, {1}),
    "teacher_controls": (72, 7, {1}),
    "training_budget": (36, 2, {1}),
}


def study(name: str, **options: Any) -> Comparison:
    made = getattr(importlib.import_module(f"sweeps.{name}"), name)(TeacherOptions(**options))
    assert isinstance(made, Comparison)
    return made


def arms_of(comparison: Comparison, seed: int = 0) -> dict[str, TrialConfig]:
    return {plan.arm: plan.config for plan in comparison.plans if plan.config.seed == seed}


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("scale", ["laptop", "published"])
def test_a_study_has_the_name_of_its_file_and_survives_json(name: str, scale: str) -> None:
    """Every file in sweeps/ except schedule_search and PROTOCOL is tested, so a new study is tested at once."""
    comparison = study(name, scale=scale)
    assert comparison.study == name
    assert spec_from_dict(json.loads(json.dumps(comparison.to_dict()))) == comparison


@pytest.mark.parametrize("name", REPEATED)
def test_laptop_scale_has_the_listed_trials_arms_and_depths(name: str) -> None:
    comparison = study(name)
    trials, arms, depths = REPEATED[name]
    assert (comparison.trials, len(comparison.arms) - 1) == (trials, arms)
    assert {plan.config.model.layers for plan in comparison.plans} == depths
    assert {plan.config.model.name for plan in comparison.plans} == {"tiny"}


@pytest.mark.parametrize("name", REPEATED)
def test_published_scale_has_the_published_model_sizes_and_hyper_parameters(name: str) -> None:
    """The settings of the published study; each study has its own depth and budget."""
    config = flatten(study(name, scale="published").base)
    published = {
        "corpus.source": "bookcorpus",
        "corpus.eval_rows": 200_000,
        "model.name": "small-llama2",
        "tokens.context": 1024,
        "optimizer.weight_decay": 0.1,
        "optimizer.clip_norm": 1.0,
        "optimizer.lr": 5e-4,
    }
    if name != "full_pretraining":
        published |= {"corpus.train_rows": 1_000_000, "loop.steps": 588, "optimizer.warmup_steps": 100}
    assert {key: config[key] for key in published} == published
    assert config["loop.batch_blocks"] * config["loop.accumulation"] == 32


def test_published_schedules_have_the_published_steps_and_minimum_weights() -> None:
    early = arms_of(study("early_stage", scale="published"))
    assert [(c.teacher.steps, c.teacher.min_weight) for c in early.values()] == [(0, 0), (100, 0.05), (100, 0)]
    steps = arms_of(study("schedule_steps", scale="published"))
    assert [c.teacher.steps for c in steps.values()] == [0, 240, 300, 360]
    types = arms_of(study("schedule_types", scale="published"))
    assert {(c.teacher.schedule, c.teacher.steps, c.teacher.tau) for c in types.values()} == {
        ("none", 0, None),
        ("linear", 588, None),
        ("exponential", 588, None),
        ("reciprocal", 588, None),
        ("exponential", 588, 1.0),
        ("reciprocal", 588, 1.0),
    }
    full = study("full_pretraining", scale="published").base
    assert (full.loop.steps, full.loop.eval_every, full.optimizer.warmup_steps) == (34_856, 3000, 1000)
    assert full.corpus.train_rows is None


def test_laptop_schedules_are_the_published_ones_in_proportion() -> None:
    steps = arms_of(study("schedule_steps"))
    assert [c.teacher.steps for c in steps.values()] == [0, 60, 75, 90]
    assert steps["linear 240"].loop.steps == 147


def test_kfold_validates_on_every_fold_once_with_the_published_rows() -> None:
    comparison = study("kfold", scale="published")
    corpora = [plan.config.corpus for plan in comparison.plans]
    assert {corpus.folds for corpus in corpora} == {5}
    assert sorted(corpus.fold for corpus in corpora) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert {(corpus.train_rows, corpus.eval_rows) for corpus in corpora} == {(1_000_000, 200_000)}


def test_teacher_controls_tunes_the_learning_rate_of_every_arm_and_of_the_control() -> None:
    comparison = study("teacher_controls")
    assert comparison.tuned == "optimizer.lr"
    rates = {arm: {p.config.optimizer.lr for p in comparison.plans if p.arm == arm} for arm in comparison.arms}
    assert all(values == {1e-3, 3e-3, 9e-3} for values in rates.values())


@pytest.mark.parametrize("form", ["parquet", "txt"])
def test_check_and_preparation_together_read_the_corpus_in_full_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    hashed: list[Path] = []
    monkeypatch.setattr(found, "sha256_of_file", lambda path: hashed.append(path) or sha256_of_file(path))
    scan = rows_lines._scan
    monkeypatch.setattr(rows_lines, "_scan", lambda path, *more: hashed.append(path) or scan(path, *more))
    monkeypatch.setattr(
        found, "SETTLED_SECONDS", -1.0
    )  # the file counts as unchanged for long enough to trust its time
    path = tmp_path / f"rows.{form}"
    if form == "parquet":
        pq.write_table(pa.table({"text": small_sentences(3000)}), path)
    else:
        path.write_text("".join(f"{sentence}\n" for sentence in small_sentences(3000)))
    comparison = study("teacher_controls", corpus=str(path), smoke_test=True, tokenizer="train:512")
    check_inputs(comparison)
    assert len(prepare_runs(comparison.configs(), tmp_path / "cache").tables) > 4
    assert hashed == [path]


def test_training_budget_scales_one_schedule_and_not_the_other() -> None:
    plans = [plan for plan in study("training_budget", seeds=(0,)).plans if plan.role == names.ARM]
    steps = {(plan.arm, plan.config.loop.steps): plan.config.teacher.steps for plan in plans}
    assert [steps["scaled", n] for n in (72, 144, 288, 576)] == [29, 58, 116, 232]
    assert {steps["unscaled", n] for n in (72, 144, 288, 576)} == {29}
    warm_ups = {plan.config.loop.steps: plan.config.optimizer.warmup_steps for plan in plans}
    assert warm_ups == {72: 12, 144: 24, 288: 48, 576: 96}


def test_validation_size_validates_on_the_published_rows_and_on_five_times_as_many() -> None:
    rows = {plan.config.corpus.eval_rows for plan in study("validation_size", scale="published").plans}
    assert rows == {200_000, 1_000_000}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"schedule": "none"}, "the control"),
        ({"seeds": (1, 1)}, "different seeds"),
        ({"seeds": ()}, "different seeds"),
        ({"seeds": (-1,)}, "give a seed from 0"),
        ({"schedule_steps": 500}, "fit in the run"),
        ({"min_weight": 1.5}, "between 0 and 1"),
    ],
)
def test_contradictory_options_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        study("layer_depth", **options)


def test_a_study_runs_the_chosen_arms_and_all_controls() -> None:
    whole = study("teacher_controls")
    some = chosen(whole, ["bigram", "uniform"])
    assert some.arms == ["none", "uniform", "bigram"]
    assert [p for p in some.plans if p.role == names.CONTROL] == [p for p in whole.plans if p.role == names.CONTROL]
    assert chosen(whole, []).plans == whole.plans


def test_an_arm_that_a_study_lacks_is_refused_with_a_list_of_its_arms(capsys: pytest.CaptureFixture[str]) -> None:
    from sweeps.kfold import kfold

    assert run_study(kfold, TeacherOptions, "Folds.", ["--dry-run", "--arms", "trigram"]) == 2
    told = capsys.readouterr().err.replace("\n", " ")
    assert "error: --arms: kfold has no arm 'trigram': give some of 'linear 240'." in told
