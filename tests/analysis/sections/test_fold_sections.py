"""Report of folds: verdict, leaks, and how far to trust the statistics, in text and LaTeX."""

import math
import re

import pandas as pd
import pytest
from fold_trials import LINEAR_240, NONE, pair, table, text

from analysis.sections.document import latex
from analysis.sections.fold_sections import kfold_sections
from analysis.tables.folds import kfold_rows, kfold_statistics, left_out
from trainable import names


@pytest.fixture
def five() -> pd.DataFrame:
    return table(*(pair(fold, *losses) for fold, losses in enumerate(zip(NONE, LINEAR_240, strict=True))))


@pytest.mark.parametrize(
    ("absent", "words"), [("corpus.train_rows", "p may be too large"), ("corpus.eval_rows", "p is too small")]
)
def test_a_report_with_an_assumed_ratio_says_in_which_direction_p_is_wrong(
    five: pd.DataFrame, absent: str, words: str
) -> None:
    assert words in text(five.drop(columns=absent))


def test_folds_may_differ_in_their_steps_and_the_report_says_so(five: pd.DataFrame) -> None:
    five.loc[five["corpus.fold"] == 4, "loop.steps"] = 569
    assert kfold_statistics(kfold_rows(five))[0].folds == 5
    assert "Folds differ in loop.steps: 569 to 570." in text(five)


def test_each_arm_has_a_verdict_of_its_own(five: pd.DataFrame) -> None:
    other = five[five["role"] == names.ARM].assign(arm="step 60", eval_loss=5.0, trial=lambda t: "step-" + t["trial"])
    both = pd.concat([five, other], ignore_index=True)
    said = text(both)
    assert said.index("linear 240") < said.index("guided is better") < said.index("step 60") < said.index("is worse")
    assert "One of 2 arms" in said


def test_one_fold_makes_no_claim(five: pd.DataFrame) -> None:
    (found,) = kfold_statistics(kfold_rows(five[:2]))
    assert math.isnan(found.corrected.p)
    said = text(five[:2])
    assert "no claim from one fold: mean gain +0.0409" in said
    assert "Nadeau" not in said
    assert "fold 1, fold 2, fold 3, fold 4" in said


def test_the_report_tells_a_leak_probe(five: pd.DataFrame) -> None:
    assert "LEAK PROBE" in text(five.assign(**{"teacher.rows": "all"}))
    assert "is not recorded" in text(five.drop(columns="teacher.rows"))
    assert "LEAK PROBE" not in text(five)


def test_latex_braces_and_rows_are_balanced(five: pd.DataFrame) -> None:
    tex = latex(kfold_sections(kfold_rows(five), left_out(five)))
    assert tex.count("{") == tex.count("}")
    for tabular in re.findall(r"\\begin\{tabular\}\{(\w+)\}\n(.*?)\\end\{tabular\}", tex, re.DOTALL):
        columns, body = tabular
        rows = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}


def test_a_negative_number_has_a_minus_sign_in_latex(five: pd.DataFrame) -> None:
    assert "saved $-$3,210.0" in latex(kfold_sections(kfold_rows(five), left_out(five)))


def test_standard_errors_are_shown_where_there_are_any(five: pd.DataFrame) -> None:
    assert "& control se &" not in text(five)
    assert "& control se &" in text(five.assign(eval_loss_se=0.01))
