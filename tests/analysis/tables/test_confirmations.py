"""Trials that the verdict uses, and classes of arms: told by settings, whatever the arms are called."""

from pathlib import Path

import pandas as pd
from synthetic_groups import groups_run

from analysis.results import read_findings
from analysis.tables.confirmations import arm_classes, confirmed
from trainable import names


def trials(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["role", "teacher.schedule", "teacher.kind", "model.output_bias"])


def test_the_class_of_an_arm_follows_from_its_teacher_and_its_output_bias() -> None:
    table = trials(
        (names.CONTROL, "none", "bigram", "none"),
        (names.SEARCH, "none", "bigram", "none"),  # in the control's group
        (names.CONFIRM, "none", "bigram", "unigram"),
        (names.CONFIRM, "linear", "uniform", "none"),
        (names.CONFIRM, "linear", "unigram", "none"),
        (names.CONFIRM, "linear", "shuffled", "none"),
        (names.CONFIRM, "linear", "ramp", "none"),
        (names.CONFIRM, "linear", "bigram", "none"),
        (names.CONFIRM, "linear", "trigram", "unigram"),
    )
    expected = ["control"] * 2 + ["rival"] * 5 + ["content"] * 2
    assert list(arm_classes(table)) == expected


def test_old_tables_without_kinds_and_biases_have_the_classes_control_and_content() -> None:
    old = trials((names.CONTROL, "none", "", ""), (names.ARM, "linear", "", ""))
    assert list(arm_classes(old[["role", "teacher.schedule"]])) == ["control", "content"]


def test_only_fresh_seeds_on_the_reporting_half_count_for_the_verdict(tmp_path: Path) -> None:
    found = read_findings(groups_run(tmp_path / "run"))
    kept = confirmed(found.results, found.record)
    assert set(kept.trials["corpus.eval_half"]) == {"reporting"}
    assert sorted(set(kept.trials["seed"])) == [1, 2, 3]
    assert set(kept.trials["arm"]) == {"control", "uniform", "bigram"} and len(kept.trials) == 9
    assert set(kept.curves["trial"]) == set(kept.trials["trial"])
