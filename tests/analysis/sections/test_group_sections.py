"""Report of a search in groups, for a whole run and for runs that lack trials or arms."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_groups import (
    CHANGES,
    OFFSETS,
    SEEDS,
    add,
    change_record,
    final_loss,
    groups_run,
    tables,
    trial_name,
)

from analysis.kinds import sections
from analysis.plots.group_plots import answer, search_loss
from analysis.report import write_report
from analysis.results import Results, read_findings
from analysis.sections.answer_sections import gate_words
from analysis.sections.document import Section
from analysis.summary import rebuild
from analysis.tables.gate import Gate, gate_of_controls
from trainable import names
from trainable.record.files import read_json, write_json
from trainable.record.ledger import ledger_line
from trainable.record.run_record import TableFacts, read_record


def report(run: Path) -> dict[str, Section]:
    return {section.title: section for section in sections(read_findings(run))}


def verdict(run: Path) -> list[str]:
    return list(report(run)["Verdict"].lines)


def drop(run: Path, pattern: str) -> None:
    gone = [folder for folder in (run / names.TRIALS_FOLDER).iterdir() if re.search(pattern, folder.name)]
    assert gone
    for folder in gone:
        shutil.rmtree(folder)


def diverge(run: Path, arm: str, seed: int) -> str:
    """Make the loss in the last report of a confirmation not a number; return the name of the trial."""
    name = trial_name(arm, 1, seed, 0.003, "" if arm == "control" else "linear", "reporting")
    ledger = run / names.TRIALS_FOLDER / name / names.LEDGER_FILE
    *kept, _ = ledger.read_bytes().splitlines(keepends=True)
    row = {names.STEP: 120, names.EVAL_LOSS: float("nan"), names.GAIN: float("nan"), names.TRAIN_LOSS: 5.0}
    ledger.write_bytes(b"".join([*kept, ledger_line(row)]))
    return name


def test_the_verdict_has_a_sentence_for_each_depth_with_gain_aid_and_content_gain(tmp_path: Path) -> None:
    lines = verdict(groups_run(tmp_path / "run", layers=[1, 2]))
    assert lines[0].startswith("1 layer: bigram: the content helps; gain +0.11")
    assert re.search(
        r"of which aid \+0\.04\d\d \(uniform\) and content gain \+0\.07\d\d \(.* to .*\); 3 seeds\.$", lines[0]
    )
    assert lines[1].startswith("1 layer: the student passed its teacher: the control ended at 5.39")
    assert lines[2].startswith("2 layers: bigram: the content helps; gain")


def test_if_a_rival_gains_as_much_the_verdict_is_an_optimisation_aid(tmp_path: Path) -> None:
    def as_much(arm: str, depth: int, seed: int) -> float:
        return final_loss(arm, depth, seed) - (0.08 if arm == "uniform" else 0.0)

    assert verdict(groups_run(tmp_path / "run", end=as_much))[0].startswith(
        "1 layer: bigram: an optimisation aid; gain"
    )


def test_a_student_that_never_passed_its_teacher_is_told(tmp_path: Path) -> None:
    facts = tables()
    facts["bigram reporting"] |= {"kneser_ney_loss": 5.2}
    line = verdict(groups_run(tmp_path / "run", tables=facts))[1]
    assert re.match(
        r"1 layer: the student never passed its teacher \(5\.2000, the loss of .*, against 5\.39\d\d\)", line
    )
    assert line.endswith("the run is too short to say whether anything lasts.")


def test_each_depth_has_a_table_of_its_arms_with_their_best_settings(tmp_path: Path) -> None:
    found = report(groups_run(tmp_path / "run", layers=[1, 2]))
    for title in ("Arms at 1 layer", "Arms at 2 layers"):
        (table,) = found[title].tables
        rows = {row[0]: dict(zip(table.headings, row, strict=True)) for row in table.rows}
        assert list(rows) == ["control", "uniform (best rival)", "bigram"]
        assert rows["control"]["best setting"] == "lr 0.003, warm-up 10"
        assert rows["bigram"]["best setting"] == "linear, T 40, min weight 0, lr 0.003, warm-up 10"
        assert rows["control"]["gain ± 95 %"] == "-" == rows["uniform (best rival)"]["content gain ± 95 %"]
        assert re.fullmatch(r"\+0\.07\d\d ± 0\.\d{4}", rows["bigram"]["content gain ± 95 %"])


def test_best_settings_name_those_at_an_end_of_their_range_and_count_the_trials(tmp_path: Path) -> None:
    section = report(groups_run(tmp_path / "run"))["Best settings"]
    assert "control (optimizer.warmup_steps); uniform (teacher.steps); bigram (teacher.steps)." in section.lines[2]
    (table,) = section.tables
    assert [row[1] for row in table.rows] == ["control", "uniform", "bigram"]
    assert table.headings[4] == "rise" and all(re.fullmatch(r"[+-]0\.0\d{3}", row[4]) for row in table.rows)
    assert [row[6:] for row in table.rows] == [("6", "0", "0"), ("5", "1", "0"), ("5", "1", "0")]


def test_the_verdict_names_an_arm_that_was_lucky_in_the_search_and_only_that_one(tmp_path: Path) -> None:
    def lucky_uniform(arm: str, depth: int, seed: int) -> float:
        return final_loss(arm, depth, seed) - (0.1 if (arm, seed) == ("uniform", 0) else 0.0)

    assert not [line for line in verdict(groups_run(tmp_path / "even")) if "lucky" in line]
    (line,) = [line for line in verdict(groups_run(tmp_path / "run", lucky_uniform)) if "lucky" in line]
    assert line.startswith("1 layer: uniform may have been lucky in the search. Its setting ended there at 5.2")


def test_stopped_trials_and_step_times_are_told_by_arm_and_costs_by_role(tmp_path: Path) -> None:
    found = report(groups_run(tmp_path / "run"))
    assert [row[0] for row in found["Stopped by ASHA"].tables[0].rows] == ["bigram", "uniform"]
    assert "1 layer, bigram: 1 of 6." in found["Stopped by ASHA"].lines
    spent, times = found["Cost"].tables
    assert [row[:2] for row in spent.rows] == [("control", "4"), ("search", "17"), ("confirm", "6"), ("total", "27")]
    assert [row[:2] for row in times.rows] == [("1", "bigram"), ("1", "uniform")]


def test_diagnostics_are_means_over_the_fresh_seeds_of_an_arm(tmp_path: Path) -> None:
    (table,) = report(groups_run(tmp_path / "run"))["Diagnostics"].tables
    assert table.rows[0] == ("1", "control", "3", "0.500", "25%", "5.100", "0.300", "1.200")
    assert [row[-1] for row in table.rows] == ["1.200", "1.500", "1.500"]


def test_one_fresh_seed_allows_no_claim(tmp_path: Path) -> None:
    run = groups_run(tmp_path / "run", seeds=(1,))
    assert verdict(run)[0].startswith("1 layer: bigram: no claim from one seed; gain +0.12")
    assert "content gain +0.0" in verdict(run)[0]


def test_there_is_no_verdict_before_all_seeds_have_ended(tmp_path: Path) -> None:
    run = groups_run(tmp_path / "run")
    drop(run, "bigram-linear-lr0.003-L1-s3-reporting")
    assert verdict(run)[0].startswith(
        "1 layer: bigram: no verdict before all planned units have ended; so far gain +0.1"
    )
    failed = report(run)["Failed and unfinished trials"].lines
    assert "1 of 27 planned trials missing" in failed[0] and "1 layer: 1 of 3 confirmations of bigram" in failed[1]
    change_record(run, complete=True)
    assert verdict(run)[0].startswith("1 layer: bigram: the content helps; gain +0.1")
    assert "; 2 of 3 seeds." in verdict(run)[0]


def test_a_diverged_seed_is_counted_and_named(tmp_path: Path) -> None:
    run = groups_run(tmp_path / "run")
    name = diverge(run, "uniform", 2)
    lines = verdict(run)
    assert lines[0].startswith("1 layer: bigram: the content helps")
    (line,) = (line for line in lines if "failed on" in line)
    assert line.startswith(f"1 layer: uniform failed on 1 of 3 fresh seeds ({name}: diverged")
    (table,) = report(run)["Arms at 1 layer"].tables
    assert ["2 of 3" in row[1] for row in table.rows if row[0].startswith("uniform")] == [True]


def test_a_diverged_control_removes_the_pairs_of_its_seed(tmp_path: Path) -> None:
    run = groups_run(tmp_path / "run")
    diverge(run, "control", 1)
    assert "; 2 of 3 seeds." in verdict(run)[0]


def test_a_group_without_a_finished_trial_leaves_the_question_open(tmp_path: Path) -> None:
    run = groups_run(tmp_path / "run")
    drop(run, "^uniform")
    add(
        run, "uniform", names.SEARCH, 5.5, against=5.5, control=trial_name("control", 1, 0, 0.003, "", "choosing"),
        until=20, state=names.RUNNING, **{"teacher.schedule": "linear", "teacher.steps": 40, "teacher.kind": "uniform"},
        **{"corpus.eval_half": "choosing"},
    )  # fmt: skip
    lines = verdict(run)
    assert lines[0].startswith("1 layer: bigram: no verdict before all planned units have ended")
    assert "1 layer: whether the content of a teacher helps is unknown: no rival ran" in lines[1]
    assert rebuild(run) == []


def test_a_run_without_content_or_confirmations_has_no_answer_yet(tmp_path: Path) -> None:
    run = groups_run(tmp_path / "run")
    drop(run, "^bigram")
    assert (
        verdict(run)[0]
        == "1 layer: no content arm has finished on a fresh seed together with its control: no answer yet."
    )
    drop(run, "reporting")
    assert report(run)["Arms"].lines == ("No winner has finished on a fresh seed yet.",)
    assert answer(read_findings(run)).panels == ()
    drop(run, ".")
    assert report(run)["Best settings"].lines == ("No trial has finished yet.",)
    assert search_loss(read_findings(run)).panels == ()
    assert rebuild(run) == []
    write_report(run)


def test_without_rivals_the_verdict_says_what_it_cannot_answer(tmp_path: Path) -> None:
    run = groups_run(tmp_path / "run", arms={arm: CHANGES[arm] for arm in ("control", "bigram")})
    first, second, *_ = verdict(run)
    assert first.startswith("1 layer: bigram: better than the control; gain +0.1")
    assert second.endswith("is unknown: no rival ran beside it.")


def test_a_control_with_another_bias_is_a_rival(tmp_path: Path) -> None:
    arms: dict[str, dict[str, Any]] = {
        "control": {},
        "control, unigram bias": {"model.output_bias": "unigram"},
        "bigram": {},
    }
    assert "of which aid +0.0" in (line := verdict(groups_run(tmp_path / "run", arms=arms))[0])
    assert "(control, unigram bias)" in line


def test_a_registered_run_names_its_commit_and_an_unregistered_run_of_such_a_study_says_so(tmp_path: Path) -> None:
    run = groups_run(tmp_path / "run", registered="abc123")
    assert "Rules and plan registered in commit abc123, before the first confirmation trial." in verdict(run)
    asked = groups_run(tmp_path / "asked")
    record = read_json(asked / names.RUN_FILE)
    write_json(asked / names.RUN_FILE, record | {"spec": record["spec"] | {"registered": True}})
    assert any(
        line.startswith("Rules and plan are not registered, though the study asks for it") for line in verdict(asked)
    )


def test_the_gain_in_the_verdict_is_that_of_the_losses_of_the_run(tmp_path: Path) -> None:
    """The gain in the verdict is the mean difference of the losses from which the run was made."""
    gains = [final_loss("control", 1, seed) - final_loss("bigram", 1, seed) for seed in SEEDS]
    assert f"gain {sum(gains) / 3:+.4f} " in verdict(groups_run(tmp_path / "run"))[0]
    assert abs(sum(gains) / 3 + OFFSETS["bigram"]) < 0.004


def test_the_gate_of_a_run_of_controls_alone_compares_the_best_control_with_the_bigram_table(tmp_path: Path) -> None:
    """The gate of the study content_gate takes the finished control with the lowest loss."""
    record = replace(read_record(groups_run(tmp_path / "run")), tables={"t": own_table(4.9)})
    trials = pd.DataFrame(
        {"trial": ["a", "b", "c"], "state": ["finished", "finished", "failed"], "eval_loss": [4.8, 4.7, 1.0]}
    )
    gate = gate_of_controls(Results(trials, pd.DataFrame()), record)
    assert gate == Gate("b", 4.9, True, 4.7) and gate.passed
    words = gate_words(gate, "the bigram table", f"The best of the controls, {gate.arm},")
    assert words.startswith("The best of the controls, b, passed the bigram table: the control ended at 4.7000")


def own_table(loss: float) -> TableFacts:
    return TableFacts(
        **{"rows": "student", "smoothing": "mle", "bigrams": 9, "counted_tokens": 9, "checksum": "0"},
        **{"eval_loss": None, "kneser_ney_loss": loss, "blocks": "b"},
    )


MODEL = {**CHANGES, "model": {"teacher.kind": "model"}}
ANSWERS: dict[str, Any] = {
    **{
        "rows": "student",
        "smoothing": "model of 1 layer, width 64",
        "bigrams": 0,
        "counted_tokens": 9,
        "kind": "model",
    },
    **{"checksum": "3" * 16, "blocks": "reporting", "eval_half": "reporting", "eval_loss": 5.2},
    **{"positions": 1000, "top_k": 16, "truncated_losses": {"8": 5.6, "16": 5.3}},
    **{"train_seconds": 30.0, "answer_seconds": 12.0},
}


def end_with_model(arm: str, depth: int, seed: int) -> float:
    return final_loss("bigram" if arm == "model" else arm, depth, seed) - (0.05 if arm == "model" else 0.0)


def model_run(run: Path, **facts: Any) -> Path:
    """Make a run with an arm whose teacher is a trained model."""
    halves = {half: ANSWERS | facts | {"blocks": half, "eval_half": half} for half in ("choosing", "reporting")}
    others = {key: table | {"kind": key.split()[0]} for key, table in tables().items()}
    with_model = others | {f"model {half}": table for half, table in halves.items()}
    return groups_run(run, end_with_model, arms=MODEL, tables=with_model)


def test_the_cost_of_a_trained_teacher_is_taken_off_the_seconds_that_it_saves(tmp_path: Path) -> None:
    """One run bears the whole cost of its teacher; in a sweep, each of nine guided trials bears a ninth."""
    run = model_run(tmp_path / "run")
    told, saved = report(run)["Cost"].lines[2:]
    assert told == (
        "1 layer, model: before the first trial, its teacher took 30.0 s to train and 12.0 s to answer; shared "
        "by the 9 trials that it taught, 4.7 s each."
    )
    pattern = r"1 layer, model: (\S+) training seconds saved .*; net of its teacher (\S+) s for one run, (\S+) s with"
    match = re.match(pattern, saved)
    assert match is not None
    gross, alone, shared = map(float, match.groups())
    assert alone == pytest.approx(gross - 42, abs=0.06)
    assert shared == pytest.approx(gross - 42 / 9, abs=0.06)


def test_teachers_of_two_sizes_have_a_cost_and_a_loss_each(tmp_path: Path) -> None:
    arms = {**MODEL, "narrow": {"teacher.kind": "model", "teacher.model.hidden": 32}}
    facts = {
        "smoothing": "model of 1 layer, width 32",
        "train_seconds": 9.0,
        "answer_seconds": 0.0,
        "checksum": "4" * 16,
        "truncated_losses": {"16": 5.6},
    }
    halves = {
        f"{size} {half}": ANSWERS | more | {"blocks": half, "eval_half": half}
        for half in ("choosing", "reporting")
        for size, more in (("wide", {}), ("narrow", facts))
    }

    def end(arm: str, depth: int, seed: int) -> float:
        return end_with_model("model" if arm == "narrow" else arm, depth, seed)

    counted = {key: table | {"kind": key.split()[0]} for key, table in tables().items()}
    run = groups_run(tmp_path / "run", end, arms=arms, tables=counted | halves)
    told = [line for line in report(run)["Cost"].lines if "its teacher took" in line]
    assert ["30.0 s to train" in told[0], "9.0 s to train and 0.0 s to answer" in told[1]] == [True, True]
    assert all("shared by the 9 trials" in line for line in told)
    verdict = "\n".join(report(run)["Verdict"].lines)
    assert "(5.3000, " in verdict and "5.6000" in verdict, "an arm is not compared with its own teacher's loss"


def test_a_run_without_a_trained_teacher_tells_no_cost_of_a_teacher(tmp_path: Path) -> None:
    assert len(report(groups_run(tmp_path / "run"))["Cost"].lines) == 2


def test_a_trained_teacher_is_told_with_its_loss_for_each_number_of_kept_tokens(tmp_path: Path) -> None:
    lines = report(model_run(tmp_path / "run"))["Setting"].lines
    assert (
        "Teacher model of 1 layer, width 64, trained on student rows: the 16 likeliest tokens at 1,000 positions; own "
        "validation loss 5.2000 nats per token, with only the k likeliest tokens kept, and bigrams below them, "
        "k = 8: 5.6000, k = 16: 5.3000."
    ) in lines


def test_the_gate_of_each_arm_is_the_loss_of_its_own_teacher(tmp_path: Path) -> None:
    """Each arm finds its teacher by kind, for the smoothing setting is the same in both arms."""
    lines = "\n".join(verdict(model_run(tmp_path / "run")))
    assert "the student passed the teacher of bigram: the control ended at 5.39" in lines
    assert "the student never passed the teacher of model (5.3000, against 5.39" in lines
