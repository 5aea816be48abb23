"""Command analysis.contrasts: four forms of the table, numbers of kept runs, and mistakes in one sentence."""

import io
import json
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run_module
from comparisons import NONE, comparison, name_arm, plan_all
from paths import ROOT
from scipy import stats
from synthetic_groups import groups_run
from synthetic_run import add_trial, realistic_run, spec, write_run

from analysis.contrasts import Format, main
from analysis.results import load
from analysis.tables.contrasts import COLUMNS, compared_trials, contrasts
from trainable import names
from trainable.record.ledger import read_lines
from trainable.record.run_record import read_record

H200 = ROOT / "results" / "record" / "kfold_published_h200"
PUBLISHED = ROOT / "results" / "published"
DRAWN: list[Format] = ["terminal", "markdown", "latex"]
run_command = partial(run_module, "analysis.contrasts")


def printed(run: Path, form: Format, capsys: pytest.CaptureFixture[str], margin: float = 0.03) -> str:
    main(run, margin=margin, format=form)
    return capsys.readouterr().out


def as_csv(*arguments: str) -> pd.DataFrame:
    done = run_command(*arguments, "--format", "csv")
    assert done.returncode == 0, done.stderr
    return pd.read_csv(io.StringIO(done.stdout))


@pytest.mark.parametrize("form", DRAWN)
def test_printed_contrasts_can_be_read_back(form: Format, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(comparison(tmp_path / "run"), form, capsys, margin=0.25)
    plain = text.replace("\\%", "%").replace("$-$", "-").replace("\\\\", "")
    gap = r"[\s|&]+"
    row = gap.join([r"none", r"linear 588", r"(\d+ %|end)", r"(\d+)", r"([+-]\S+)", r"\S.*\S", r"(\d)[\s|]*$"])
    found = re.findall(row, plain, re.MULTILINE)
    assert [one[:2] for one in found] == [("10 %", "12"), ("25 %", "30"), ("50 %", "60"), ("end", "120")]
    assert [float(one[2]) for one in found] == pytest.approx([-0.04, -0.1, -0.2, 0.2])
    assert {one[3] for one in found} == {"3"}
    assert "equivalent within 0.25" in plain


@pytest.mark.parametrize("form", DRAWN)
def test_every_form_says_what_is_compared_and_which_sign_is_better(form: Format) -> None:
    done = run_command(str(H200), "--format", form)
    text = " ".join(done.stdout.replace("\\", "").split())
    assert done.returncode == 0 and done.stderr == ""
    assert "validation loss of the first arm - that of the second" in text
    assert "Above 0, the second arm has the lower loss" in text
    assert "Nadeau and Bengio's corrected t over folds" in text
    assert "adjusted for all 12 tests" in text


@pytest.mark.parametrize("form", DRAWN)
def test_the_kept_run_of_folds_on_one_gpu_has_its_contrast_of_bigram_and_uniform(form: Format) -> None:
    lines = run_command(str(H200), "--format", form).stdout.splitlines()
    (line,) = [line for line in lines if re.search(r"linear 240\W+uniform, linear 240\W+end", line)]
    assert re.findall(r"[+-]?\d+\.\d+", line) == [
        *("+0.0359", "+0.0228", "+0.0490", "0.00162", "0.000811", "0.00324", "0.86"),
    ]
    assert "not shown" in line


def test_contrasts_are_recomputed_from_the_ledgers_by_scipy(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run")
    for seed, loss in enumerate((4.9, 4.95, 5.3)):
        own = {"teacher__schedule": "step", "teacher__steps": 90, "seed": seed}
        name_arm(run, add_trial(run, names.ARM, {0: 8.0, 60: 6.1, 120: loss}, control=NONE, **own), "step 588")
    table = as_csv(str(run))
    ends = table[table["at"] == 1].set_index(["first", "second"])
    final: dict[str, list[float]] = {}
    for name in sorted(path.name for path in (run / names.TRIALS_FOLDER).iterdir()):
        rows = read_lines(run / names.TRIALS_FOLDER / name / names.LEDGER_FILE)
        final.setdefault(name.split("-")[0], []).append(rows[-1][names.EVAL_LOSS])
    for (first, second), row in ends.iterrows():
        a, b = (final[arm.split(" ")[0]] for arm in (first, second))
        if np.ptp(np.subtract(a, b)) < 1e-9:
            continue
        both = stats.ttest_rel(a, b)
        assert row["difference"] == pytest.approx(np.mean(a) - np.mean(b))
        assert (row["low"], row["high"]) == pytest.approx(tuple(both.confidence_interval(0.95)))
        assert row["p"] == pytest.approx(both.pvalue)
    assert len(ends) == 3


def test_csv_has_the_documented_columns_and_a_row_for_each_point_of_the_run(tmp_path: Path) -> None:
    table = as_csv(str(PUBLISHED / "k_fold"), "--margin", "0.1")
    assert list(table.columns) == COLUMNS
    assert list(table["at"]) == [0.1, 0.25, 0.5, 1.0]
    assert table["equivalent"].all()  # all four differences are well below 0.1
    assert not as_csv(str(PUBLISHED / "k_fold"), "--margin", "0.001")["equivalent"].any()


ONE_ARM = ("validation_size",)


@pytest.mark.parametrize("run", sorted(path.parent for path in (ROOT / "results").glob("*/*/trials.*")), ids=str)
def test_every_kept_run_has_contrasts_or_a_sentence_that_says_why_not(run: Path) -> None:
    done = run_command(str(run), "--format", "markdown")
    if run.name in ONE_ARM:
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "has no two arms of the same depth, steps and validation rows" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "")
        assert "nan" not in done.stdout.lower().replace("finan", "")


def test_settings_of_a_run_without_a_teacher_are_compared_without_a_test() -> None:
    text = run_command(str(H200.parent / "content_gate_books"), "--format", "markdown").stdout
    assert "no guided arm: compared are the settings of its controls" in text and "lr: each arm" not in text
    assert (
        "| none, lr 0.002, beta2 0.95 | none, lr 0.004, beta2 0.999 | end | 704 | -0.0793 | - | - | - | - | - | 1 |"
        in text
    )


def test_each_depth_has_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(realistic_run(tmp_path / "run"), "markdown", capsys)
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["How to read this", "1 layer", "2 layers"]
    assert "on the seeds of their confirmations" in text


def test_units_that_lack_an_arm_are_counted_against_the_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = comparison(tmp_path / "run", seeds=5)
    plan_all(run)
    (gone,) = (run / names.TRIALS_FOLDER).glob("linear*-s3")
    shutil.rmtree(gone)
    text = printed(run, "markdown", capsys)
    assert text.count("| 4 of 5 |") == 4
    assert f"{gone.name} did not finish: planned, and not in the results." in text
    done = run_command(str(run), "--format", "csv")
    assert done.stderr == f"{gone.name} did not finish: planned, and not in the results.\n"


def test_arms_with_identical_losses_are_told_without_a_warning_of_python(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    run = comparison(tmp_path / "run", arm="linear 588")
    for seed in range(3):
        losses = {step: loss + 0.1 * seed for step, loss in NONE.items()}
        own = {"teacher__schedule": "step", "teacher__steps": 90, "seed": seed}
        name_arm(run, add_trial(run, names.ARM, losses, control=losses, **own), "step 588")
    text = printed(run, "markdown", capsys)
    assert "none and step 588 have identical losses in every pair at 10 %, 25 %, 50 %, end" in text
    assert "| end | 120 | +0.0000 | +0.0000 to +0.0000 | - | - | - | yes (p 0) | 3 |" in text
    assert not recwarn.list


def test_one_seed_has_a_difference_and_dashes_for_statistics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(comparison(tmp_path / "run", seeds=1), "markdown", capsys)
    assert "| none | linear 588 | end | 120 | +0.2000 | - | - | - | - | - | 1 |" in text
    assert "-: fewer than 2 pairs allow no test." in text


def test_a_live_run_has_the_contrasts_of_the_points_that_it_has_reached(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", seeds=2)
    more = {"teacher__schedule": "linear", "teacher__steps": 90, "seed": 2, "state": names.RUNNING}
    half = {step: NONE[step] for step in (0, 60)}
    name_arm(run, add_trial(run, names.CONTROL, half, seed=2, state=names.RUNNING), "none")
    name_arm(run, add_trial(run, names.ARM, {0: 8.0, 60: 6.3}, control=NONE, **more), "linear 588")
    table = as_csv(str(run)).set_index("at")
    assert list(table["pairs"]) == [3, 3, 3, 2]
    assert set(table["planned"]) == {3}


def test_mistakes_are_one_sentence_and_exit_with_2(tmp_path: Path) -> None:
    unsure = realistic_run(tmp_path / "unsure")
    for trial in (unsure / names.TRIALS_FOLDER).glob("[!n]*-s[123]"):
        shutil.rmtree(trial)
    lacking = tmp_path / "lacking"
    lacking.mkdir()
    load(H200).trials.drop(columns="model.layers").to_parquet(lacking / names.TRIALS_TABLE)
    shutil.copy(H200 / names.CURVES_TABLE, lacking)
    told = {
        (str(tmp_path / "nothing"),): "is not a run folder",
        (str(H200), "--margin", "-0.1"): "--margin is -0.1: give nats per token above 0, such as 0.03.",
        (str(H200), "--margin", "nan"): "--margin is nan",
        (str(unsure),): "is a search whose winners no other seed has confirmed: let it go on, or resume it.",
        (str(lacking),): "lack model.layers: see results/README.md",
        (str(write_run(tmp_path / "empty", spec=spec(kind="comparison", arms=["none"]))),): "has no two arms",
    }
    for arguments, said in told.items():
        done = run_command(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
        assert said in done.stderr


def test_the_contrasts_of_a_search_in_groups_equal_those_of_scipy_on_the_raw_ledgers(tmp_path: Path) -> None:
    """Contrasts equal those from final losses of the fresh seeds that the test itself reads from lines of JSON."""
    run = groups_run(tmp_path / "run")
    losses: dict[str, dict[int, float]] = {}
    for folder in (run / "trials").iterdir():
        facts = json.loads((folder / "trial.json").read_text())
        if facts["config"]["corpus"]["eval_half"] == "reporting":
            last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
            losses.setdefault(facts["arm"], {})[facts["config"]["seed"]] = last["eval_loss"]
    results, record = load(run), read_record(run)
    table = contrasts(compared_trials(results, record), results.curves, record)
    ends = table[table["at"] == 1].set_index(["first", "second"])
    assert list(ends.index) == [("control", "uniform"), ("control", "bigram"), ("uniform", "bigram")]
    every = []
    for (first, second), row in ends.iterrows():
        a, b = ([losses[arm][seed] for seed in (1, 2, 3)] for arm in (first, second))
        test = stats.ttest_rel(a, b)
        interval = test.confidence_interval(0.95)
        found = [row[name] for name in ("difference", "low", "high", "p", "p_one_sided")]
        one_sided = stats.ttest_rel(a, b, alternative="greater").pvalue
        expected = [sum(a) / 3 - sum(b) / 3, interval.low, interval.high, test.pvalue, one_sided]
        assert found == pytest.approx(expected, rel=1e-6)
        gains = [x - y for x, y in zip(a, b, strict=True)]
        above = stats.ttest_1samp(gains, -0.03, alternative="greater").pvalue
        below = stats.ttest_1samp(gains, 0.03, alternative="less").pvalue
        assert row["p_equivalent"] == pytest.approx(max(above, below), rel=1e-6)
        assert (row["pairs"], row["planned"]) == (3, 3)
        every.append(test.pvalue)
    ps = sorted(table["p"])
    least = table.loc[table["p"] == ps[0], "p_holm"].iloc[0]
    assert least == pytest.approx(min(1.0, ps[0] * len(ps)))
